"""SIGKILL at any write, before or after it takes effect, and a new start: the same final state."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.loki import LokiServer
from konduktor_health.sandbox.nodes import gpu_node
from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, eventually
from tests.support.loglines import LOST, STREAM, otel
from tests.support.proxy import Proxy

# Lease, its renewals, ConfigMap, and for two nodes edit, Event, condition: a start makes fewer.
WRITES = 9
FIELDS = ("fault", "device", "severity", "count", "first", "last", "boot", "id")


class Fleet:
    """An embedded API server and Loki with one fatal and one degraded fault waiting."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.api = KubeApi()
        self.api.start()
        stack.callback(self.api.stop)
        self.loki = stack.enter_context(LokiServer())
        self.api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        for name in ("gpu-a", "gpu-b", "gpu-c"):
            self.api.store.create("nodes", gpu_node(name))
        self.loki.push(
            STREAM,
            [
                otel("gpu-a", uptime_s=100.5),
                otel("gpu-b", LOST.replace(": 79", ": 63"), uptime_s=101.5),
            ],
        )
        self.proxy = stack.enter_context(Proxy(self.api.url))
        self.folder = folder
        (folder / "kubeconfig").write_text(
            self.api.kubeconfig().replace(self.api.url, self.proxy.url)
        )

    def controller(self) -> ControllerProcess:
        return ControllerProcess(
            self.folder,
            kubeconfig=self.folder / "kubeconfig",
            loki=self.loki.url,
            settings={
                "cluster": {"timeout_s": 0.5},
                "lease": {"duration_s": 2.0, "renew_deadline_s": 1.2, "retry_s": 0.1},
            },
        )

    def state(self) -> dict[str, Any]:
        """What counts at the end: everything of ours on the Nodes, and the Events."""
        found: dict[str, Any] = {}
        for node in self.api.store.list("nodes"):
            meta, taints = node["metadata"], node["spec"].get("taints", [])
            ledger = json.loads(meta.get("annotations", {}).get("trainy.konduktor.ai/ledger", "{}"))
            found[meta["name"]] = {
                "taints": [t for t in taints if t["key"] == OUR_KEY],
                "label": meta.get("labels", {}).get("trainy.konduktor.ai/health"),
                "owned": ledger.get("owned"),
                "records": [[r[f] for f in FIELDS] for r in ledger.get("records", [])],
                "condition": [
                    (c["status"], c["reason"], c["message"])
                    for c in node["status"]["conditions"]
                    if c["type"] == "KonduktorHealthy"
                ],
            }
        events = self.api.store.list("events", namespace="default")
        found["events"] = sorted({(e["involvedObject"]["name"], e["reason"]) for e in events})
        return found

    def complete(self) -> bool:
        state = self.state()
        return (
            bool(state["gpu-a"]["condition"])
            and bool(state["gpu-b"]["condition"])
            and bool(self.api.store.list("configmaps", namespace=NAMESPACE))
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(stack, tmp_path)


EXPECTED = {
    "gpu-a": ("faulty", ["NoSchedule"], [("False", "FatalFault")], ["xid/79"]),
    "gpu-b": ("suspect", [], [("Unknown", "SuspectFault")], ["xid/63"]),
    "gpu-c": (None, None, [], []),
}


def check(fleet: Fleet) -> None:
    state = fleet.state()
    for name, (label, owned, conditions, faults) in EXPECTED.items():
        node = state[name]
        assert node["label"] == label
        assert node["owned"] == owned
        assert [condition[:2] for condition in node["condition"]] == conditions
        assert [record[0] for record in node["records"]] == faults
        assert [record[3] for record in node["records"]] == [1] * len(faults)  # counted once
    assert [t["effect"] for t in state["gpu-a"]["taints"]] == ["NoSchedule"]
    assert state["gpu-b"]["taints"] == []
    assert state["events"] == [("gpu-a", "FatalFault"), ("gpu-b", "SuspectFault")]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_a_write_and_started_again_ends_the_same(
    fleet: Fleet, number: int, moment: str
) -> None:
    killed = threading.Event()
    with fleet.controller() as first:

        def strike(_method: str, _path: str, count: int) -> None:
            if count == number:
                first.kill()
                killed.set()

        setattr(fleet.proxy, moment, strike)
        eventually(killed.is_set, f"write {number} is made", timeout_s=20)
    with fleet.controller():
        eventually(fleet.complete, "everything is written", timeout_s=30)
        check(fleet)


def test_not_killed_ends_so(fleet: Fleet) -> None:
    with fleet.controller() as controller:
        eventually(fleet.complete, "everything is written", timeout_s=30)
        check(fleet)
        assert controller.terminate()[0] == 0
    assert fleet.proxy.writes <= WRITES + 12
