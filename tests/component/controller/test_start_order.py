"""A controller that starts misses nothing, in whatever order its surroundings answer."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from konduktor_health.sandbox.kubeapi.faults import Request
from tests.support.controller import eventually, steadily
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, otel


def test_fault_logged_before_a_slow_node_list_taints(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a")
        around.api.faults.delay(1.5, method="GET", path=r"^/api/v1/nodes(\?|$)", times=1)
        around.loki.push(STREAM, [otel("gpu-a")])
        with around.controller():
            eventually(lambda: around.tainted() == ["gpu-a"], "gpu-a tainted", timeout_s=10)


def writes(around: Embedded) -> list[Request]:
    return around.api.requests.matching("PATCH", "^/api/v1/nodes/gpu-a$")


def test_a_node_is_written_once_however_late_the_agents_are_known(tmp_path: Path) -> None:
    """And not by a guess at first, and again with another Event when it is known."""
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a")
        late = "/daemonsets/"
        around.api.faults.delay(1.5, method="GET", path=late, times=1)
        around.loki.push(STREAM, [otel("gpu-a")])
        with around.controller() as process:
            eventually(lambda: around.tainted() == ["gpu-a"], "gpu-a tainted", timeout_s=10)
            eventually(lambda: bool(around.api.requests.matching("GET", late)), "agents looked up")
            steadily(lambda: len(writes(around)) == 1, "written once", 2.0)
            process.terminate()
        assert [event["reason"] for event in around.api.store.list("events")] == ["FatalFault"]


def test_agents_that_cannot_be_looked_up_keep_no_fault_from_its_taint(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a")
        around.api.faults.answer(403, method="GET", path="/daemonsets/", times=None)
        around.loki.push(STREAM, [otel("gpu-a")])
        with around.controller() as process:
            eventually(lambda: around.tainted() == ["gpu-a"], "gpu-a tainted", timeout_s=20)
            assert "deciding without" in process.tail()
