"""SIGKILL at any write, before or after it takes effect, and a new start: the same final state."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import LOST, STREAM, otel
from tests.support.proxy import Proxy

# Lease and ConfigMap are created; two nodes get edit, Event and condition. That these are all
# is checked below; renewals of the Lease change nothing else and are not counted.
WRITES = 8
FIELDS = ("fault", "device", "severity", "count", "first", "last", "boot", "id")


def _is_no_renewal(method: str, path: str) -> bool:
    return not (method == "PUT" and "/leases/" in path)


class Fleet(Embedded):
    """One fatal and one degraded fault are waiting; writes go through a proxy."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        super().__init__(stack, folder)
        degraded = LOST.replace(": 79", ": 63")
        self.loki.push(
            STREAM, [otel("gpu-a", uptime_s=100.5), otel("gpu-b", degraded, uptime_s=101.5)]
        )
        self.proxy = stack.enter_context(Proxy(self.api.url, _is_no_renewal))
        self.kubeconfig.write_text(self.api.kubeconfig().replace(self.api.url, self.proxy.url))

    def started(self) -> ControllerProcess:
        """Its Lease is taken over soon."""
        return self.controller(
            cluster={"timeout_s": 0.5},
            policy={"budget_percent": 100},  # room for both, whichever is decided first
            lease={"duration_s": 2.0, "renew_deadline_s": 1.2, "retry_s": 0.1},
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
    "gpu-b": ("suspect", ["PreferNoSchedule"], [("False", "DegradedFault")], ["xid/63"]),
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
    assert [t["effect"] for t in state["gpu-b"]["taints"]] == ["PreferNoSchedule"]
    assert state["events"] == [("gpu-a", "FatalFault"), ("gpu-b", "DegradedFault")]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_a_write_and_started_again_ends_the_same(
    fleet: Fleet, number: int, moment: str
) -> None:
    killed = threading.Event()
    with fleet.started() as first:

        def strike(_method: str, _path: str, count: int) -> None:
            if count == number:
                first.kill()
                killed.set()

        setattr(fleet.proxy, moment, strike)
        eventually(killed.is_set, f"write {number} is made", timeout_s=20)
    with fleet.started():
        eventually(fleet.complete, "everything is written", timeout_s=30)
        check(fleet)


def test_not_killed_ends_so(fleet: Fleet) -> None:
    with fleet.started() as controller:
        eventually(fleet.complete, "everything is written", timeout_s=30)
        check(fleet)
        assert fleet.proxy.writes == WRITES  # the walk above leaves none out
        assert controller.terminate()[0] == 0
