"""``konduktor-health probe`` through a real API server's pod proxy, with the rights it asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.probe_on_servers import ADDRESSES

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("probe")
    addresses = " && ".join(f"ip addr add {each}/32 dev lo" for each in ADDRESSES.values())
    program = f"{sys.executable} -m tests.support.probe_on_servers {folder}"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"ip link set lo up && {addresses} && exec {program}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_signed_requests_and_what_agents_say_come_through(told: Any) -> None:
    assert told["run"]["code"] == 0, told["run"]
    assert told["run"]["out"].splitlines()[-1] == "1 node: 1 done; 1 pass"
    assert told["refused"]["code"] == 4
    assert "unknown_check" in told["refused"]["out"]


def test_an_agent_that_does_not_listen_is_told_from_one_that_refuses(told: Any) -> None:
    nodes = {each["node"]: each for each in json.loads(told["all"]["out"])["nodes"]}
    assert told["all"]["code"] == 4
    assert {name: each["state"] for name, each in nodes.items()} == {
        "gpu-a": "done", "gpu-dead": "silent",
    }  # fmt: skip
    assert "the API server does not reach the agent" in nodes["gpu-dead"]["message"]


def test_who_may_only_read_can_start_nothing(told: Any) -> None:
    assert told["read"]["code"] == 0, told["read"]
    assert told["start"]["code"] == 1
    assert "grant verb 'get' on resource 'secrets'" in told["start"]["err"]


def test_an_etag_comes_through_both_ways(told: Any) -> None:
    assert (told["raw"]["first"], told["raw"]["again"]) == (200, 304)
    assert told["raw"]["etag"]
