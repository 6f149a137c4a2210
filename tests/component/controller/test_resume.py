"""``resume`` as a person runs it, beside a controller that holds a mass event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import NAMESPACE, cli, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, otel

NODES = tuple(f"gpu-{n}" for n in range(6))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with ExitStack() as stack:
        yield Embedded(stack, tmp_path, *NODES)


def resume(cluster: Embedded, *arguments: str) -> Any:
    return cli("resume", *arguments, "--kubeconfig", str(cluster.kubeconfig))


def state(cluster: Embedded) -> Any:
    (found,) = [
        each
        for each in cluster.api.store.list("configmaps")
        if each["metadata"]["namespace"] == NAMESPACE
    ]
    return found


def held(cluster: Embedded) -> list[str]:
    if not cluster.api.store.list("configmaps"):
        return []
    return [each["fault"] for each in json.loads(state(cluster)["data"].get("surges", "[]"))]


def test_held_surge_is_listed_let_act_and_taken_up_by_the_running_leader(
    cluster: Embedded,
) -> None:
    with cluster.controller(policy={"budget_percent": 100}) as controller:
        controller.leading()
        cluster.loki.push(STREAM, [otel(name) for name in NODES])
        eventually(lambda: held(cluster) == ["xid/79"], controller.tail)
        assert cluster.tainted() == []

        listed = resume(cluster, "--all", "--dry-run")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert "xid/79 on 6 nodes, since 20" in listed.stdout
        other = resume(cluster, "--surge", "xid/48")
        assert other.returncode == 1
        assert "'xid/48': not held; held: xid/79" in other.stderr
        assert "annotations" not in state(cluster)["metadata"]

        done = resume(cluster, "--surge", "xid/79")
        assert (done.returncode, done.stderr) == (0, "")
        eventually(lambda: cluster.tainted() == sorted(NODES), controller.tail)
        again = resume(cluster, "--all")
        assert (again.returncode, again.stdout) == (0, "no surge is held\n")
        reasons = {
            each["reason"]
            for each in cluster.api.store.list("events")
            if each["involvedObject"]["kind"] == "Namespace"
        }
        assert reasons == {"Surge", "SurgeResumed"}
    assert cluster.api.failures == []


@pytest.mark.parametrize("arguments", [(), ("--all", "--surge", "xid/79")])
def test_what_to_resume_has_to_be_said(cluster: Embedded, arguments: tuple[str, ...]) -> None:
    done = resume(cluster, *arguments)
    assert done.returncode == 2
    assert "name the fault ids that are held, or say --all" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_no_controller_ever_ran_nothing_is_held(cluster: Embedded) -> None:
    assert resume(cluster, "--all").stdout == "no surge is held\n"
    missing = resume(cluster, "--surge", "xid/\x1b[2J79")
    assert missing.returncode == 1
    assert "\x1b" not in missing.stderr
