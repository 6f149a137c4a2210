"""A volume is claimed and given back, once for all who ask, and told in Autopilot's words."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from konduktor_health.adapters.autopilot.claims import AGAIN_S, Claims
from konduktor_health.errors import LeadershipLost
from konduktor_health.model import ProbeStatus
from tests.support.memory_loki import FakeClock

NOW = 1_800_000_000 * 10**9


@dataclass(frozen=True)
class Told:
    status: ProbeStatus
    message: str
    ended_ns: int


class Volumes:
    def __init__(self, last: Told | None) -> None:
        self.last = last
        self.asked: list[float] = []
        self.leads = True

    def fresh(self, oldest_s: float) -> Told | None:
        self.asked.append(oldest_s)
        if not self.leads:
            raise LeadershipLost("somebody else leads")
        return self.last


@pytest.mark.parametrize(
    ("status", "message", "text"),
    [
        (
            ProbeStatus.PASS,
            "bound within 4 s, and deleted",
            "[PVC Create-Delete] PVC SUCCESS\nbound within 4 s, and deleted",
        ),
        (
            ProbeStatus.FAIL,
            "the claim is not bound within 60 s (Pending)",
            "[PVC Create-Delete] FAIL\nthe claim is not bound within 60 s (Pending)",
        ),
        (
            ProbeStatus.ERROR,
            "create claim: FAIL ABORT SUCCESS",
            "[PVC Create-Delete] Create PVC Failed. ABORT\ncreate claim: fail abort success",
        ),
        (
            ProbeStatus.SKIP,
            "binds for a pod only",
            "[PVC Create-Delete] PVC was not bound. ABORT\nbinds for a pod only",
        ),
    ],
)
def test_each_outcome(status: ProbeStatus, message: str, text: str) -> None:
    volumes = Volumes(Told(status, message, NOW))
    assert Claims(volumes, FakeClock(NOW), starts=True)("gpu-1") == text
    assert volumes.asked == [AGAIN_S]


def test_by_itself_nothing_is_claimed_and_the_newest_result_is_told_with_its_age() -> None:
    volumes = Volumes(Told(ProbeStatus.PASS, "bound", NOW - 90 * 10**9))
    text = Claims(volumes, FakeClock(NOW), starts=False)("gpu-1")
    assert text == (
        "[PVC Create-Delete] PVC SUCCESS\nbound\nmeasured at 2027-01-15T07:58:30Z, 90 s ago"
    )
    assert volumes.asked == []


@pytest.mark.parametrize("starts", [True, False])
def test_without_a_result_it_is_an_abort(starts: bool) -> None:
    text = Claims(Volumes(None), FakeClock(NOW), starts=starts)("gpu-1")
    assert text == "[PVC Create-Delete] Storage was not tested yet. ABORT"


def test_whoever_leads_no_more_says_so() -> None:
    volumes = Volumes(None)
    volumes.leads = False
    text = Claims(volumes, FakeClock(NOW), starts=True)("gpu-1")
    assert text == "[PVC Create-Delete] Another replica leads: ask again. ABORT"
