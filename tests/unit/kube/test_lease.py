"""Does at most one replica lead, whatever the network and the clocks do?"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.lease import LeaseElector, LeaseTimes, new_identity
from konduktor_health.clock import NS
from konduktor_health.errors import (
    ClusterForbidden,
    ClusterUnavailable,
    ConfigError,
    Conflict,
    LeadershipLost,
)

TIMES = LeaseTimes(duration=15, renew_deadline=10, retry=2, call=5)
EPOCH = 1_800_000_000


class World:
    """True time, one Lease on the server, and electors that step when they are due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0
        self.pending: list[tuple[float, Callable[[], object]]] = []
        self.replicas: list[Replica] = []

    def replica(self, name: str, *, mono: float = 0.0, wall: float = 0.0) -> Replica:
        made = Replica(self, name, mono, wall)
        self.replicas.append(made)
        return made

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.25)
            for due in [each for each in self.pending if each[0] <= self.now]:
                self.pending.remove(due)
                due[1]()
            self.check()
            for replica in self.replicas:
                replica.step_if_due()
                self.check()
                replica.restart_if_lost()

    def check(self) -> None:
        leaders = [replica for replica in self.replicas if replica.elector.is_leader()]
        assert len(leaders) <= 1, [replica.name for replica in leaders]
        for replica in leaders:
            replica.led_at = self.now
            for other in self.replicas:
                # what the other began while it led has ended by now: no effects overlap
                since = self.now - other.led_at
                assert other is replica or other.released or since >= TIMES.call

    def replace(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        if self.lease is None or lease["metadata"] != self.lease["metadata"]:
            raise Conflict("stale")
        return self._store(lease)

    def create(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        if self.lease is not None:
            raise Conflict("exists")
        return self._store({"spec": dict(spec)})

    def _store(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        self.lease = copy.deepcopy({**lease, "metadata": {"resourceVersion": str(self.version)}})
        return copy.deepcopy(self.lease)

    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return dict(self.lease["spec"])


@dataclass
class Trip:
    """How one request fares: seconds there and back, and what happens to it."""

    there: float = 0.0
    back: float = 0.0
    fate: str = "ok"  # ok, lost, unanswered (applied), late (applied after the time-out)


class Replica:
    """An elector with clocks and a wire of its own; its requests take true time."""

    def __init__(self, world: World, name: str, mono: float, wall: float) -> None:
        self.world = world
        self.name = name
        self.mono = mono
        self.wall = wall
        self.trips: deque[Trip] = deque()
        self.due = 0.0
        self.busy = False
        self.running = True
        self.released = False
        self.led_at = float("-inf")
        self.error: Exception | None = None
        self.elector = LeaseElector(self, name, TIMES, self)

    # Clock
    def now_ns(self) -> int:
        return int((EPOCH + self.world.now + self.wall) * NS)

    def monotonic(self) -> float:
        return self.world.now + self.mono

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.world.advance(seconds)
        return event.is_set()

    # LeaseApi
    def get(self, timeout_s: float) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._call(
            lambda: copy.deepcopy(self.world.lease), timeout_s
        )
        return found

    def create(self, spec: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        sent = copy.deepcopy(dict(spec))
        stored: dict[str, Any] = self._call(lambda: self.world.create(sent), timeout_s)
        return stored

    def replace(self, lease: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        sent = copy.deepcopy(dict(lease))
        stored: dict[str, Any] = self._call(lambda: self.world.replace(sent), timeout_s)
        return stored

    def _call(self, apply: Callable[[], Any], timeout_s: float) -> Any:
        if self.error is not None:
            raise self.error
        trip = self.trips.popleft() if self.trips else Trip()
        there = min(trip.there, timeout_s)
        if trip.fate in ("lost", "late"):
            if trip.fate == "late":
                late = self.world.now + timeout_s + trip.there
                self.world.pending.append((late, lambda: _ignoring_conflict(apply)))
            self.world.advance(timeout_s)
            raise ClusterUnavailable("no answer")
        self.world.advance(there)
        answer = apply()
        self.world.advance(min(trip.back, timeout_s - there))
        if trip.fate == "unanswered":
            raise ClusterUnavailable("connection broke")
        return answer

    def step_if_due(self) -> None:
        if self.running and not self.busy and self.world.now >= self.due:
            self.step()

    def step(self) -> None:
        self.busy = True
        try:
            self.elector.step()
        finally:
            self.busy = False
            self.due = self.world.now + self.elector.seconds_until_due()

    def restart_if_lost(self) -> None:
        """What becomes of a process that has lost the Lease."""
        try:
            self.elector.assert_not_lost()
        except LeadershipLost:
            self.elector = LeaseElector(self, self.name, TIMES, self)

    def release(self) -> None:
        self.released = True
        self.running = False
        self.elector.release()


def _ignoring_conflict(apply: Callable[[], object]) -> None:
    try:
        apply()
    except Conflict:
        return


@pytest.fixture
def world() -> World:
    return World()


def test_the_wire_format_is_client_gos(world: World) -> None:
    world.replica("a").step()
    assert world.spec() == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2027-01-15T08:00:00.000000Z",
        "renewTime": "2027-01-15T08:00:00.000000Z",
        "leaseTransitions": 0,
    }


def test_renewing_moves_only_the_renew_time_and_is_one_request(world: World) -> None:
    a = world.replica("a")
    a.step()
    before, writes = world.spec(), world.writes
    world.advance(2)
    after = world.spec()
    assert after.pop("renewTime") > before.pop("renewTime")
    assert after == before
    assert world.writes == writes + 1


def test_fields_of_others_survive_and_transitions_are_counted(world: World) -> None:
    world.create({"holderIdentity": "", "leaseTransitions": 6, "strategy": "OldestEmulation"})
    world.replica("a").step()
    assert world.spec()["strategy"] == "OldestEmulation"
    assert world.spec()["leaseTransitions"] == 7


def test_a_dead_holder_is_followed_after_its_own_duration_from_what_we_saw(world: World) -> None:
    """Its renewTime is hours ahead and its duration is longer than ours: neither misleads us."""
    world.create(
        {
            "holderIdentity": "other",
            "leaseDurationSeconds": 40,
            "renewTime": "2099-01-01T00:00:00.000000Z",
        }
    )
    a = world.replica("a")
    a.step()
    world.advance(39)
    assert not a.elector.is_leader()
    world.advance(4)
    assert a.elector.is_leader()
    assert world.spec()["holderIdentity"] == "a"


def test_a_living_holder_is_never_displaced(world: World) -> None:
    a, b = world.replica("a"), world.replica("b", mono=1000, wall=-4000)
    world.advance(100)
    assert (a.elector.is_leader(), b.elector.is_leader()) == (True, False)
    assert b.elector.holder() == "a"
    with pytest.raises(LeadershipLost, match="a leads"):
        b.elector.assert_leader()


def test_release_lets_the_next_take_over_at_once(world: World) -> None:
    a, b = world.replica("a"), world.replica("b")
    world.advance(4)
    assert a.elector.is_leader()
    a.release()
    assert not a.elector.is_leader()
    assert world.spec()["holderIdentity"] == ""
    world.advance(2.25)
    assert b.elector.is_leader()
    a.elector.step()
    assert world.spec()["holderIdentity"] == "b"


def test_releasing_what_is_another_s_writes_nothing(world: World) -> None:
    a, b = world.replica("a"), world.replica("b")
    world.advance(4)
    writes = world.writes
    b.release()
    assert world.writes == writes
    assert a.elector.is_leader()


def test_leading_ends_with_the_renew_deadline_when_the_server_is_away(world: World) -> None:
    a = world.replica("a")
    a.step()
    a.error = ClusterUnavailable("down")
    world.advance(9.75)
    a.elector.assert_leader()
    world.advance(0.25)
    with pytest.raises(LeadershipLost):
        a.elector.assert_leader()
    assert isinstance(a.elector.last_error(), ClusterUnavailable)
    a.error = None
    world.advance(2)
    assert a.elector.is_leader()
    assert a.elector.last_error() is None


def test_leading_counts_from_sending_not_from_the_answer(world: World) -> None:
    """Others may count from the moment the server took it up, long before we read the answer."""
    a, b = world.replica("a"), world.replica("b")
    a.trips.extend([Trip(), Trip(back=4.5)])
    world.advance(4.5)
    assert a.elector.is_leader()
    a.running = False
    world.advance(5.25)
    assert a.elector.is_leader()
    world.advance(0.25)
    assert not a.elector.is_leader()
    world.advance(10)  # the world checks that no effects overlap
    assert b.elector.is_leader()


def test_a_stolen_lease_ends_leading_at_the_next_try(world: World) -> None:
    a = world.replica("a")
    a.step()
    assert world.lease is not None
    world.replace({**world.lease, "spec": {**world.spec(), "holderIdentity": "thief"}})
    a.step()
    assert not a.elector.is_leader()
    assert a.elector.holder() == "thief"


def test_waking_up_from_suspend_we_do_not_lead(world: World) -> None:
    """The monotonic clock stood still meanwhile."""
    a = world.replica("a")
    a.step()
    a.wall += 3600
    assert not a.elector.is_leader()
    a.step()
    assert a.elector.is_leader()


def test_a_wall_clock_set_back_changes_nothing(world: World) -> None:
    a = world.replica("a")
    a.step()
    a.wall -= 3600
    world.advance(9)
    assert a.elector.is_leader()


def test_who_was_paused_past_its_lease_reads_before_it_writes(world: World) -> None:
    a = world.replica("a")
    a.step()
    a.running = False
    world.advance(20)
    b = world.replica("b")
    world.advance(16)
    assert b.elector.is_leader()
    writes = world.writes
    a.elector.step()
    assert world.writes == writes
    with pytest.raises(LeadershipLost, match="b leads"):
        a.elector.assert_not_lost()


def test_who_was_followed_never_leads_again_in_this_process(world: World) -> None:
    """Not even when the one who followed has gone since: what we remember is older."""
    a = world.replica("a")
    a.step()
    a.running = False
    world.advance(20)
    b = world.replica("b")
    world.advance(16)
    b.release()
    elector = a.elector
    elector.step()
    elector.step()
    assert not elector.is_leader()
    with pytest.raises(LeadershipLost):
        elector.assert_not_lost()
    assert world.spec()["holderIdentity"] == ""


def test_whose_lease_ran_out_leads_again_when_nobody_came_between(world: World) -> None:
    a = world.replica("a")
    a.step()
    a.error = ClusterUnavailable("down")
    world.advance(60)
    assert not a.elector.is_leader()
    a.error = None
    world.advance(2)
    a.elector.assert_not_lost()
    assert a.elector.is_leader()
    assert world.spec()["leaseTransitions"] == 0


def test_whose_lease_was_deleted_ends_and_takes_no_new_one(world: World) -> None:
    """Somebody may have led, and released it, meanwhile."""
    a = world.replica("a")
    a.step()
    world.lease = None
    elector = a.elector
    elector.step()
    elector.step()
    assert not elector.is_leader()
    with pytest.raises(LeadershipLost):
        elector.assert_not_lost()
    assert world.lease is None


def test_whose_time_is_over_releases_nothing(world: World) -> None:
    """Woken after a pause: another may lead, and a request would be one that begins too late."""
    a = world.replica("a")
    a.step()
    a.running = False
    world.advance(11)
    writes = world.writes
    a.release()
    assert world.writes == writes


def test_a_standby_tries_at_the_moment_the_holders_time_is_over(world: World) -> None:
    a, b = world.replica("a"), world.replica("b")
    world.advance(4)
    assert a.elector.is_leader()
    a.running = False  # right after a renewal, the worst moment
    died = world.now
    while not b.elector.is_leader():
        world.advance(0.25)
    assert world.now - died <= TIMES.duration + TIMES.retry / 2 + 0.5
    b.error = ClusterUnavailable("down")
    b.step()
    assert b.elector.seconds_until_due() == TIMES.retry


def test_missing_rights_are_shown(world: World) -> None:
    a = world.replica("a")
    a.error = ClusterForbidden("not allowed to get leases")
    a.step()
    assert isinstance(a.elector.last_error(), ClusterForbidden)
    assert not a.elector.wait_leader(1)


@pytest.mark.parametrize(
    "spec", [None, [], {"holderIdentity": 3}, {"leaseDurationSeconds": None}, {"x": {}}]
)
def test_an_odd_lease_is_one_that_nobody_holds(world: World, spec: Any) -> None:
    world._store({"spec": spec})
    a = world.replica("a")
    a.step()
    assert a.elector.is_leader()


@pytest.mark.parametrize(
    ("duration", "renew", "retry", "call", "said"),
    [
        (15, 12, 2, 5, "exceed the lease duration"),
        (1.5, 1, 0.5, 0.1, "whole seconds"),
        (15, 5, 5, 5, "must be shorter"),
    ],
)
def test_times_that_are_not_safe_together_are_refused(
    duration: float, renew: float, retry: float, call: float, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        LeaseTimes(duration, renew, retry, call)


def test_identities_differ_between_processes_of_one_host() -> None:
    assert new_identity() != new_identity()
    assert "_" in new_identity()


TRIPS = st.builds(
    Trip,
    there=st.sampled_from([0.0, 0.5, 2.0, 4.5, 20.0]),
    back=st.sampled_from([0.0, 0.5, 2.0, 4.5, 20.0]),
    fate=st.sampled_from(["ok", "ok", "ok", "lost", "unanswered", "late"]),
)
ACTS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 3.0, 9.0, 16.0])),
    st.tuples(st.just("freeze"), st.integers(0, 1)),
    st.tuples(st.just("resume"), st.integers(0, 1)),
    st.tuples(st.just("jump"), st.sampled_from([-3600.0, -7.0, 7.0, 3600.0])),
)


@given(
    trips=st.tuples(st.lists(TRIPS, max_size=30), st.lists(TRIPS, max_size=30)),
    acts=st.lists(ACTS, min_size=1, max_size=12),
    skew=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
)
def test_two_never_lead_and_one_leads_in_the_end(
    trips: tuple[list[Trip], list[Trip]],
    acts: list[tuple[str, Any]],
    skew: tuple[float, float],
) -> None:
    world = World()
    pair = [world.replica("a"), world.replica("b", mono=skew[0], wall=skew[1])]
    for replica, planned in zip(pair, trips, strict=True):
        replica.trips.extend(planned)
    for what, value in acts:
        match what:
            case "wait":
                world.advance(value)
            case "freeze":  # the thread hangs, is_leader() is asked all the same
                pair[value].running = False
            case "resume":
                pair[value].running = True
            case "jump":
                pair[1].wall += value
    for replica in pair:
        replica.running = True
        replica.trips.clear()
    world.pending.clear()
    world.advance(40)
    assert [replica.elector.is_leader() for replica in pair].count(True) == 1
