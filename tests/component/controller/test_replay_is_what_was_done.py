"""The controller acts on lines of the embedded Loki; a replay of what Loki holds does the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import cli, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, ago, otel

DEGRADED = (
    "NVRM: Xid (PCI:0000:5d:00): 63, pid='<unknown>', name=<unknown>, Row Remapper: New row "
    "(0x00000001a5b3c000) marked for remapping, reset gpu to activate."
)
NAMES = tuple(f"gpu-{n}" for n in range(12))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Embedded]:
    with ExitStack() as stack:
        yield Embedded(stack, tmp_path, *NAMES)


def test_a_replay_taints_and_holds_the_nodes_that_the_controller_did(
    world: Embedded, tmp_path: Path
) -> None:
    world.loki.push(
        STREAM,
        [
            otel("gpu-1", ns=ago(60)),
            otel("gpu-2", DEGRADED, ns=ago(50)),
            otel("gpu-3", ns=ago(40)),
            otel("gpu-4", ns=ago(30)),
        ],
    )
    with world.controller() as process:
        eventually(lambda: len(world.tainted()) == 2, lambda: f"two taints: {process.tail()}")
        eventually(lambda: _reason(world, "gpu-4") != "", lambda: f"all told: {process.tail()}")
        eventually(lambda: _reason(world, "gpu-2") != "", lambda: f"all told: {process.tail()}")
    listed = tmp_path / "nodes.json"
    listed.write_text(json.dumps({"items": world.api.store.list("nodes")}))

    done = cli(
        "replay", "--loki", "--since", "1h", "--nodes", str(listed), "-o", "json",
        "--config", str(process.config),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # the controller read all lines at once; in the replay gpu-2 had its taint, and gpu-3 was held,
    # until gpu-3 took its place
    assert _tainted_at_the_end(told) == world.tainted()
    held = [name for name in NAMES if _reason(world, name) == "BudgetExhausted"]
    assert sorted(set(_nodes(told, "hold")) - set(world.tainted())) == held


def _tainted_at_the_end(told: Any) -> list[str]:
    effects: dict[str, str] = {}
    for each in told["moments"]:
        if each["kind"] != "hold":
            effects[each["node"]] = each["effect"] if each["kind"] == "taint" else ""
    return sorted(name for name, effect in effects.items() if effect)


def _nodes(told: Any, kind: str) -> list[str]:
    return sorted(each["node"] for each in told["moments"] if each["kind"] == kind)


def _reason(world: Embedded, name: str) -> str:
    """Of our condition."""
    node = next(each for each in world.api.store.list("nodes") if each["metadata"]["name"] == name)
    ours = [each for each in node["status"]["conditions"] if each["type"] == "KonduktorHealthy"]
    return ours[0]["reason"] if ours else ""
