"""A volume is claimed, bound and given back; what cannot be measured neither passes nor fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from konduktor_health.errors import ClusterForbidden, Conflict, LeadershipLost, NotFound
from konduktor_health.job_ports import StorageClass, VolumeClaim
from konduktor_health.model import ProbeStatus, PublishEvent
from konduktor_health.runtime.volume_check import VolumeCheck
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock

PASS, FAIL, SKIP, ERROR = (
    ProbeStatus.PASS,
    ProbeStatus.FAIL,
    ProbeStatus.SKIP,
    ProbeStatus.ERROR,
)


class WaitingClock(FakeClock):
    """Waiting takes time, and no longer; ``then`` is called after each wait."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.then: Callable[[], None] = lambda: None

    def wait(self, event: object, seconds: float) -> bool:
        self.advance(seconds)
        self.then()
        return isinstance(event, threading.Event) and event.is_set()


class Storage:
    """Claims in memory: bound after ``binds_s``, gone ``goes_s`` after they are deleted."""

    def __init__(self, clock: WaitingClock) -> None:
        self.clock = clock
        self.wanted: StorageClass | None = StorageClass("fast")
        self.there: dict[str, VolumeClaim] = {}
        self.made = 0
        self.binds_s: float | None = 4.0
        self.goes_s: float | None = 4.0
        self.phase = "Pending"
        self._since_s: dict[str, float] = {}
        self.error: Exception | None = None

    def storage_class(self) -> StorageClass:
        if self.error is not None:
            raise self.error
        if self.wanted is None:
            raise NotFound("storageclass")
        return self.wanted

    def claims(self) -> tuple[VolumeClaim, ...]:
        self._follow()
        return tuple(self.there.values())

    def make(self) -> VolumeClaim:
        if "ours" in self.there:
            raise Conflict("ours")
        self.made += 1
        claim = VolumeClaim("ours", f"uid-{self.made}", self.phase)
        self.there["ours"] = claim
        self._since_s["ours"] = self.clock.monotonic()
        return claim

    def look(self, name: str) -> VolumeClaim:
        self._follow()
        if name not in self.there:
            raise NotFound(name)
        return self.there[name]

    def remove(self, claim: VolumeClaim) -> None:
        self.there[claim.name] = replace(claim, going=True)
        self._since_s[claim.name] = self.clock.monotonic()

    def _follow(self) -> None:
        for name, claim in list(self.there.items()):
            age_s = self.clock.monotonic() - self._since_s.get(name, 0.0)
            if claim.going and self.goes_s is not None and age_s >= self.goes_s:
                del self.there[name]
            elif not claim.going and self.binds_s is not None and age_s >= self.binds_s:
                self.there[name] = replace(claim, phase="Bound")


class Scene:
    def __init__(self) -> None:
        self.clock = WaitingClock()
        self.storage = Storage(self.clock)
        self.stop = threading.Event()
        self.events: list[PublishEvent] = []
        self.counted: list[ProbeStatus] = []
        self.leading = True
        self.check = VolumeCheck(
            self.storage,
            clock=self.clock,
            interval_s=3600.0,
            timeout_s=60.0,
            assert_leader=self.assert_leader,
            publish=self.events.append,
            counted=self.counted.append,
        )

    def assert_leader(self) -> None:
        if not self.leading:
            raise LeadershipLost("somebody else leads")

    def once(self) -> tuple[ProbeStatus, str]:
        result = self.check.once(self.stop)
        assert result is not None
        return result.status, result.message


def test_a_claim_that_is_bound_and_goes_passes_and_nothing_is_left() -> None:
    scene = Scene()
    assert scene.once() == (PASS, "bound within 4 s, and deleted")
    assert (scene.storage.there, scene.events, scene.counted) == ({}, [], [PASS])


def test_a_claim_that_is_not_bound_in_time_fails_and_is_deleted() -> None:
    scene = Scene()
    scene.storage.binds_s = None
    began_s = scene.clock.monotonic()
    assert scene.once() == (FAIL, "the claim is not bound within 60 s (Pending)")
    assert scene.clock.monotonic() - began_s < 75
    assert scene.storage.there == {}


def test_a_claim_that_loses_its_volume_or_is_deleted_by_others_fails() -> None:
    scene = Scene()
    scene.storage.binds_s, scene.storage.phase = None, "Lost"
    assert scene.once() == (FAIL, "the claim has lost its volume")
    scene.storage.phase = "Pending"
    scene.clock.then = scene.storage.there.clear
    assert scene.once() == (FAIL, "the claim was deleted by somebody else")


def test_a_claim_that_does_not_go_fails_within_bounds_and_no_second_one_is_made() -> None:
    scene = Scene()
    scene.storage.goes_s = None
    assert scene.once() == (FAIL, "the claim is not deleted within 60 s")
    began_s = scene.clock.monotonic()
    assert scene.once() == (FAIL, "a claim is not deleted within 60 s")
    assert scene.clock.monotonic() - began_s < 70
    assert scene.storage.made == 1


def test_a_claim_that_was_left_behind_is_deleted_first() -> None:
    scene = Scene()
    scene.storage.there["old"] = VolumeClaim("old", "uid-old", "Bound")
    assert scene.once()[0] is PASS
    assert scene.storage.there == {}


def test_a_class_that_binds_for_a_pod_only_is_said_to_be_and_not_waited_for() -> None:
    scene = Scene()
    scene.storage.wanted, scene.storage.binds_s = StorageClass("late", waits_for_a_pod=True), None
    began_s = scene.clock.monotonic()
    status, message = scene.once()
    assert status is SKIP
    assert message.startswith("class late binds for a pod only (WaitForFirstConsumer)")
    assert message.endswith("made and deleted, not bound")
    assert scene.clock.monotonic() - began_s < 10
    assert (scene.storage.made, scene.storage.there) == (1, {})


def test_a_class_that_keeps_volumes_is_not_tested() -> None:
    scene = Scene()
    scene.storage.wanted = StorageClass("keeps", keeps_volumes=True)
    status, message = scene.once()
    assert (status, scene.storage.made) == (ERROR, 0)
    assert "each test would leave one behind" in message


@pytest.mark.parametrize(
    "why",
    [None, ClusterForbidden("not allowed to get storageclasses fast")],
    ids=["absent", "no right"],
)
def test_what_cannot_be_measured_is_an_error_and_no_event(why: Exception | None) -> None:
    scene = Scene()
    scene.storage.wanted, scene.storage.error = None, why
    assert scene.once()[0] is ERROR
    assert (scene.events, scene.counted) == ([], [ERROR])


def test_an_event_tells_when_it_begins_to_fail_and_when_it_is_well_again() -> None:
    scene = Scene()
    for binds_s in (4.0, None, None, 4.0, 4.0):
        scene.storage.binds_s = binds_s
        scene.once()
    assert [(event.type, event.reason, event.node) for event in scene.events] == [
        ("Warning", "VolumeCheckFailed", ""),
        ("Normal", "VolumeCheckPassed", ""),
    ]
    assert scene.counted == [PASS, FAIL, FAIL, PASS, PASS]


def test_the_end_of_the_controller_ends_a_test_and_tells_nothing() -> None:
    scene = Scene()
    scene.clock.then = scene.stop.set
    assert scene.check.once(scene.stop) is None
    assert (scene.counted, scene.check.last) == ([], None)


def test_who_does_not_lead_claims_nothing() -> None:
    scene = Scene()
    scene.leading = False
    with pytest.raises(LeadershipLost):
        scene.once()
    assert scene.storage.made == 0


def test_whoever_asks_gets_a_result_that_is_young_enough_or_a_test() -> None:
    scene = Scene()
    assert scene.check.fresh(300) is None  # nobody tests here yet
    scene.check._stop = scene.stop  # as ``start`` does, without its thread
    first = scene.check.fresh(300)
    assert first is not None
    assert first.status is PASS
    scene.clock.advance(299)
    assert scene.check.fresh(300) is first
    scene.clock.advance(2)
    again = scene.check.fresh(300)
    assert again is not None
    assert again is not first
    assert scene.storage.made == 2
    scene.stop.set()
    assert scene.check.fresh(300) is None


def test_many_who_ask_at_once_have_one_claim_made() -> None:
    scene = Scene()
    scene.check._stop = scene.stop
    threads = [threading.Thread(target=scene.check.fresh, args=(300,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert scene.storage.made == 1
