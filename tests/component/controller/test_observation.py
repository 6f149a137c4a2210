"""The running controller knows who ships, and remembers a machine that was deleted with a fault."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from konduktor_health.adapters.kube.cluster import STATE_NAME
from tests.support.controller import NAMESPACE, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, ago, otel

LOST = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, GPU has fallen off the bus."
MACHINE = "4C4C4544-0051-3510-8052-B4C04F4D3132"
OBSERVED = "konduktor_health_observed_nodes"


def test_quiet_nodes_that_ship_are_observed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a", "gpu-b", "gpu-c")
        quiet = [otel(name, "usb 1-1: new device", ns=ago(5)) for name in ("gpu-a", "gpu-b")]
        around.loki.push(STREAM, quiet)
        reading = {"coverage_interval_s": 0.5}
        with around.controller(reading=reading) as controller:
            controller.leading()
            eventually(lambda: controller.metric(OBSERVED) == 2, controller.tail)
            assert controller.metric("konduktor_health_unobserved_nodes") == 0  # not for long
        asked = [one for one in around.loki.requests if one.path == "/loki/api/v1/query"]
        assert asked
        assert {one.status for one in asked} == {200}
        assert around.tainted() == []


def test_a_loki_without_metric_queries_costs_a_count_and_no_fault(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a", "gpu-b", "gpu-c")
        around.loki.faults.status(400, path="/loki/api/v1/query", times=10_000)
        around.loki.push(STREAM, [otel("gpu-a", LOST, ns=ago(5))])
        with around.controller(reading={"coverage_interval_s": 0.5}) as controller:
            eventually(lambda: around.tainted() == ["gpu-a"], controller.tail)
            eventually(lambda: controller.metric(OBSERVED) == 1, controller.tail)
            failures = controller.metric("konduktor_health_roll_call_failures_total")
            assert failures == 1  # not again for ten minutes
            assert controller.readiness()[0] == 200


def test_a_deleted_nodes_machine_is_in_the_state_soon(tmp_path: Path) -> None:
    def with_machine(node: Any) -> None:
        node["status"]["nodeInfo"]["systemUUID"] = MACHINE

    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a", "gpu-b", "gpu-c")
        around.api.store.edit("nodes", "gpu-a", with_machine)
        around.loki.push(STREAM, [otel("gpu-a", LOST, ns=ago(5))])
        with around.controller() as controller:
            eventually(lambda: around.tainted() == ["gpu-a"], controller.tail)
            around.api.store.delete("nodes", "gpu-a")
            deleted_at = time.time()

            def stored() -> Any:
                state = around.api.store.get("configmaps", STATE_NAME, namespace=NAMESPACE)
                return json.loads(state["data"].get("tombstones", "null"))

            found = eventually(stored, controller.tail)
            ((machine, entry),) = found.items()
            assert machine == MACHINE.replace("-", "").lower()
            assert (entry[0], entry[4]) == ("gpu-a", ["xid/79|0000:3b:00"])
            assert abs(entry[2] - deleted_at) < 60
