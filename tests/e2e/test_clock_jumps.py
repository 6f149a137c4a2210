"""The wall clock jumps by an hour under two replicas; the boot-time clock is the real one."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Replica, Stage
from tests.servers import debs
from tests.support.controller import eventually, steadily
from tests.support.loglines import otel

HOUR_S = 3600
TIMES = {"duration_s": 4.0, "renew_deadline_s": 2.5, "retry_s": 0.3}


class WallClock:
    """The wall clock of processes that run under libfaketime: moved while they run."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "wall-clock"
        self.set(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """So far from the real one. The file is never seen half written."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    library = debs.faketime()
    if library is None:
        pytest.skip("libfaketime is not there: make servers")
    return WallClock(library, tmp_path)


def one_leads(pair: tuple[Replica, Replica]) -> bool:
    return [replica.leads() for replica in pair].count(True) == 1


@pytest.mark.parametrize("hours", [1, -1])
def test_one_replica_leads_and_no_fault_is_lost_or_counted_twice(
    stage: Stage, wall: WallClock, hours: int
) -> None:
    """A line that is written while the clock is wrong may wait until it is right again: Loki is
    asked by the controller's clock."""
    stage.nodes(*(f"gpu-{n}" for n in range(12)))
    settings = {
        "lease": TIMES,
        "cluster": {"timeout_s": 1.0},
        "policy": {"budget_percent": 100},
    }
    first = stage.replica(environ=wall.environ, **settings)
    first.process.leading()
    pair = first, stage.replica(environ=wall.environ, **settings).standing_by()
    stage.push(otel("gpu-0"))
    stage.until_tainted("gpu-0")

    wall.set(hours * HOUR_S)
    stage.push(otel("gpu-1"))
    eventually(lambda: one_leads(pair), "one leads after the jump", 10)
    steadily(lambda: [r.leads() for r in pair].count(True) <= 1, "never two", 3.0)
    renewed = datetime.fromisoformat(stage.lease()["renewTime"]).timestamp()
    assert abs(renewed - time.time() - hours * HOUR_S) < 60  # it did jump

    wall.set(0)
    stage.push(otel("gpu-2"))
    eventually(lambda: one_leads(pair), "one leads after the jump back", 10)
    stage.until_tainted("gpu-0", "gpu-1", "gpu-2", timeout_s=90)
    for name in ("gpu-0", "gpu-1", "gpu-2"):
        eventually(partial(stage.condition, name), "all is written")
        assert stage.records(name) == [("xid/79", 1)]
        assert [event["reason"] for event in stage.kube.events(name)] == ["FatalFault"]
    assert sum(replica.process.running() for replica in pair) >= 1
    transitions = stage.lease()["leaseTransitions"]
    assert transitions == sum(not replica.process.running() for replica in pair)
