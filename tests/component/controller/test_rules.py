"""A kernel line that a rule names goes the whole way: Loki's filter, decoder, Node."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from konduktor_health.model import Keys
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, ago, otel

LINES = {
    "acts": "NVRM: GPU 0000:98:00.0: RmInitAdapter failed! (0x62:0xffff:2477)",
    "doubted": "XFS (nvme0n1p1): Log I/O Error Detected. Shutting down filesystem",
    "degraded": "watchdog: BUG: soft lockup - CPU#94 stuck for 26s! [swapper/94:0]",
    "info": "Out of memory: Killed process 7 (python3) total-vm:1kB",
    "quoted": "python3: NVRM: RmInitAdapter failed! (0x62:0xffff:2477)",
}


def test_each_line_does_what_its_rule_says(tmp_path: Path) -> None:
    with ExitStack() as stack:
        around = Embedded(stack, tmp_path, *LINES)
        around.loki.push(STREAM, [otel(name, text, ns=ago(5)) for name, text in LINES.items()])

        with around.controller("--once", policy={"budget_max_nodes": 5}) as controller:
            assert controller.wait(60) == 0, controller.tail()

        def records(name: str) -> list[tuple[Any, Any]]:
            annotations = around.api.store.get("nodes", name)["metadata"].get("annotations", {})
            ledger = json.loads(annotations.get(Keys().ledger, '{"records": []}'))
            return [(each["fault"], each.get("visible_only")) for each in ledger["records"]]

        assert around.tainted() == ["acts"]
        assert {name: records(name) for name in LINES} == {
            "acts": [("kernel/gpu-init-failed", None)],
            "doubted": [("kernel/xfs-shutdown", "InObservation")],
            "degraded": [("kernel/soft-lockup", None)],
            "info": [],
            "quoted": [],
        }
