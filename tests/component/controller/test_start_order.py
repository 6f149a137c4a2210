"""A controller that starts misses nothing, in whatever order its surroundings answer."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.support.controller import eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, otel


def test_fault_logged_before_a_slow_node_list_taints(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, "gpu-a")
        around.api.faults.delay(1.5, method="GET", path=r"^/api/v1/nodes(\?|$)", times=1)
        around.loki.push(STREAM, [otel("gpu-a")])
        with around.controller():
            eventually(lambda: around.tainted() == ["gpu-a"], "gpu-a tainted", timeout_s=10)
