"""Never more is claimed than is known: when an observation begins, ends, and goes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.model import NodeView
from konduktor_health.ports import Attendance, Gap, Poll, SourceStatus
from konduktor_health.runtime.coverage import LOOK_S, STALE_S, Observation
from konduktor_health.runtime.sources import Delivery
from konduktor_health.timestamps import NS
from parsers.record import LogRecord
from tests.support.builders import NOW, OTHER_BOOT, node, policy
from tests.support.ledgers import record, sick
from tests.support.memory_loki import FakeClock
from tests.support.world import World

AFTER_S = 900


class Feed:
    """Nodes that are there."""

    def __init__(self, *views: NodeView) -> None:
        self.views = {view.name: view for view in views}

    def nodes(self) -> dict[str, NodeView]:
        return self.views

    def resolve(self, name: str) -> str | None:
        short = name.partition(".")[0]
        return short if short in self.views else None


class Ward:
    """An Observation over some nodes, read through the source ``kmsg``."""

    def __init__(self, *views: NodeView, counted: tuple[str, ...] = (), **rules: Any) -> None:
        self.clock = FakeClock(NOW)
        self.feed = Feed(*views)
        self.rules, self.counted = rules, counted
        self.begin()

    def begin(self) -> None:
        """A new process."""
        feed: Any = self.feed
        self.observation = Observation(
            feed, clock=self.clock, policy=policy(**self.rules), counted=self.counted
        )
        self.observation.look()

    def read(self, source: str = "kmsg", *gaps: Gap, ok: bool = True, behind_s: float = 0) -> None:
        cursor_ns = self.clock.now_ns() - int(behind_s * NS)
        self.observation.read(SourceStatus(source, ok=ok, cursor_ns=cursor_ns, gaps=gaps))

    def later(self, seconds: float, *heard: str, source: str = "kmsg", ok: bool = True) -> None:
        """So much later, with a heartbeat of these nodes each minute meanwhile."""
        end_s = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s:
            self.clock.advance(min(60.0, end_s - self.clock.monotonic()))
            self.read(source, ok=ok)
            for name in heard:
                self.observation.heard(source, name, self.clock.now_ns())

    def since(self, name: str = "gpu-1") -> int | None:
        return self.observation.observed_from([name]).get(name)

    def look(self) -> set[str]:
        """The next look of its own accord."""
        self.clock.advance(LOOK_S)
        for source in list(self.observation._sources):
            self.read(source)
        return self.observation.look()

    def told(self) -> frozenset[str]:
        return self.observation.unobserved(self.feed.views.values())


def test_it_begins_with_the_first_line_and_goes_on_with_the_next() -> None:
    ward = Ward(node())
    ward.read()
    assert ward.since() is None
    ward.observation.heard("kmsg", "gpu-1", NOW - 300 * NS)
    assert ward.since() == NOW - 300 * NS
    ward.later(3600, "gpu-1")
    assert ward.since() == NOW - 300 * NS


def test_it_ends_after_a_silence_and_begins_anew_with_the_next_line() -> None:
    ward = Ward(node())
    ward.later(60, "gpu-1")
    ward.later(AFTER_S - 1)
    assert ward.since() is not None
    ward.later(1)
    assert ward.since() is None
    ward.later(60, "gpu-1")
    assert ward.since() == ward.clock.now_ns()


def test_late_lines_prove_nothing_about_the_time_before_them() -> None:
    ward = Ward(node())
    ward.later(60, "gpu-1")
    ward.observation.heard("kmsg", "gpu-1", NOW - 7200 * NS)
    assert ward.since() == NOW + 60 * NS


def test_a_gap_of_the_source_begins_it_anew_at_its_end() -> None:
    ward = Ward(node())
    ward.later(600, "gpu-1")
    gap = Gap(NOW + 100 * NS, NOW + 200 * NS, "unavailable", permanent=True)
    ward.read("kmsg", gap)
    assert ward.since() == NOW + 200 * NS
    ward.later(3600, "gpu-1")  # a permanent gap blocks nothing later
    ward.read("kmsg", gap)
    assert ward.since() == NOW + 200 * NS


def test_a_gap_of_another_source_is_of_no_concern() -> None:
    ward = Ward(node())
    ward.later(600, "gpu-1")
    ward.read("journal", Gap(NOW, NOW + 500 * NS, "unavailable"), ok=False)
    assert ward.since() == NOW + 60 * NS


def test_of_two_sources_the_one_with_less_decides() -> None:
    ward = Ward(node())
    ward.later(60, "gpu-1")
    ward.later(600, "gpu-1", source="journal")
    ward.read()
    assert ward.since() == NOW + 120 * NS
    ward.read("journal", ok=False)
    assert ward.since() is None


@pytest.mark.parametrize("trouble", [{"ok": False}, {"behind_s": 300}])
def test_while_its_source_is_not_read_nothing_is_observed(trouble: dict[str, Any]) -> None:
    ward = Ward(node())
    ward.later(600, "gpu-1")
    ward.read(**trouble)
    assert ward.since() is None
    ward.read()
    assert ward.since() == NOW + 60 * NS


def test_a_source_of_which_no_word_comes_is_not_read() -> None:
    ward = Ward(node())
    ward.later(60, "gpu-1")
    ward.clock.advance(STALE_S)
    assert ward.since() is None


def test_a_boot_changes_nothing() -> None:
    ward = Ward(node())
    ward.later(600, "gpu-1")
    ward.feed.views["gpu-1"] = node(boot_id=OTHER_BOOT)
    ward.look()
    assert ward.since() == NOW + 60 * NS


def test_the_roll_call_counts_from_its_end_and_keeps_up_from_its_start() -> None:
    ward = Ward(node(), node("gpu-2"))
    ward.read()
    names = frozenset({"gpu-1.example", "stranger"})
    ward.observation.deliver(Attendance("kmsg", names, NOW - 300 * NS, NOW))
    ward.look()
    assert ward.since() == NOW
    assert ward.since("gpu-2") is None
    ward.later(AFTER_S - 300 - LOOK_S - 1)
    assert ward.since() == NOW
    ward.later(1)
    assert ward.since() is None


def test_a_clock_that_is_set_back_does_not_prolong_it() -> None:
    ward = Ward(node())
    ward.later(600, "gpu-1")
    ward.clock.wall_ns -= 3600 * NS
    ward.look()
    since = ward.since()
    assert since is not None
    assert since <= ward.clock.now_ns()
    ward.later(AFTER_S)
    assert ward.since() is None


# ---------------------------------------------------------------- silence


def fleet(count: int = 20, **fields: Any) -> list[NodeView]:
    return [node(f"gpu-{n}", **fields) for n in range(count)]


def test_a_silent_node_is_told_and_told_again_when_it_is_heard() -> None:
    ward = Ward(*fleet())
    others = [f"gpu-{n}" for n in range(1, 20)]
    ward.later(60, "gpu-0", *others)
    ward.look()
    ward.later(AFTER_S - LOOK_S - 1, *others)
    assert not ward.told()
    assert "gpu-0" in ward.look()
    assert ward.told() == {"gpu-0"}
    assert ward.observation.silent_nodes == 1
    assert ward.look() == set()
    ward.later(60, "gpu-0", *others)
    assert ward.told() == frozenset()
    assert ward.look() == {"gpu-0"}


def test_an_outage_of_loki_makes_nobody_silent_even_in_a_pool_of_one() -> None:
    ward = Ward(node("gpu-0"))
    ward.later(60, "gpu-0")
    ward.later(7200, ok=False)
    ward.observation.look()
    assert ward.told() == frozenset()
    assert ward.observation.silent_nodes == 1


def test_after_an_outage_nodes_have_time_to_be_heard_again() -> None:
    ward = Ward(*fleet())
    ward.later(60, *ward.feed.views)
    ward.later(7200, ok=False)
    ward.read("kmsg", Gap(NOW + 60 * NS, ward.clock.now_ns(), "unavailable"))
    others = [f"gpu-{n}" for n in range(1, 20)]
    ward.later(600, *others)
    ward.look()
    assert ward.told() == frozenset()
    ward.later(AFTER_S, *others)
    ward.look()
    assert ward.told() == {"gpu-0"}


def test_a_source_of_which_nobody_is_heard_is_told_once_and_on_no_node() -> None:
    ward = Ward(node("gpu-0"), node("gpu-1"))
    ward.later(60, "gpu-0", "gpu-1")
    ward.later(7200)
    ward.look()
    assert ward.told() == frozenset()
    assert ward.observation.silent_nodes == 2


def test_where_the_roll_is_not_called_any_more_silence_says_nothing() -> None:
    ward = Ward(*fleet(), counted=("kmsg",))
    ward.later(60, *ward.feed.views)
    ward.later(3600, *[f"gpu-{n}" for n in range(1, 20)])
    ward.look()
    assert ward.told() == frozenset()
    now = ward.clock.now_ns()
    ward.observation.deliver(Attendance("kmsg", frozenset(), now - 300 * NS, now))
    ward.look()
    assert ward.told() == {"gpu-0"}


def test_a_node_that_was_never_heard_has_time_from_its_making() -> None:
    ward = Ward(*fleet())
    others = list(ward.feed.views)
    ward.later(3600, *others)
    ward.feed.views["new"] = node("new", created_ns=ward.clock.now_ns())
    ward.later(AFTER_S - LOOK_S - 1, *others)
    ward.look()
    assert ward.told() == frozenset()
    ward.later(60, *others)
    assert ward.look() == {"new"}
    assert ward.told() == {"new"}


def test_a_new_controller_leaves_what_was_told_until_it_knows_better() -> None:
    ward = Ward(*fleet(19), node("gpu-19", health_label="unobserved"))
    others = [f"gpu-{n}" for n in range(19)]
    assert ward.told() == {"gpu-19"}
    ward.later(60, *others)
    ward.look()
    assert ward.told() == {"gpu-19"}
    ward.later(AFTER_S, *others)
    ward.look()
    assert ward.told() == {"gpu-19"}
    ward.later(60, *others, "gpu-19")
    assert ward.told() == frozenset()
    assert "gpu-19" in ward.look()


def test_a_node_that_was_decided_about_unobserved_is_due_once_it_is_observed() -> None:
    ward = Ward(sick(record()), node("gpu-2"))
    ward.read()
    assert ward.observation.for_decision(ward.feed.views) == {}
    ward.later(60, "gpu-1", "gpu-2")
    assert ward.look() == {"gpu-1"}  # gpu-2 has no ledger: nothing waits
    assert ward.observation.for_decision(ward.feed.views).keys() == {"gpu-1", "gpu-2"}
    assert ward.look() == set()


def test_an_outage_makes_nobody_due() -> None:
    ward = Ward(sick(record()), node("gpu-2"))
    ward.later(60, "gpu-1", "gpu-2")
    ward.observation.for_decision(ward.feed.views)
    ward.look()
    for ok in (False, True, False, True):
        ward.later(600, "gpu-1", "gpu-2", ok=ok)
        ward.read(ok=ok)
        assert ward.observation.look() == set()


# ---------------------------------------------------------------- through the loop


def cycles(world: World, seconds: float, *, ok: bool = True, silent: str = "") -> None:
    """Cycles with a heartbeat of each node each minute, while the source is read."""
    end_s = world.clock.monotonic() + seconds
    while world.clock.monotonic() < end_s:
        world.clock.advance(20)
        beats = LogRecord(text="heartbeat", heartbeat=True)
        names = [name for name in world.names if ok and name != silent]
        entries = tuple(world.line(name, record=beats) for name in names)
        now = world.clock.now_ns()
        status = SourceStatus("kmsg", ok=ok, cursor_ns=now if ok else now - 900 * NS)
        world.loop.cycle([Delivery("kmsg", Poll(entries, status), None)])
        world.feed.sync()


def test_an_outage_of_loki_writes_no_node() -> None:
    world = World(20)
    world.hear(world.line("gpu-3"))
    cycles(world, 1200)
    assert world.tainted() == ["gpu-3"]
    world.cluster.writes.clear()
    cycles(world, 7200, ok=False)
    cycles(world, 3600)
    assert set(world.cluster.writes) <= {"state"}
    assert world.observation.silent_nodes == 0


def test_a_silent_node_is_told_so_on_its_node_and_others_are_not() -> None:
    world = World(20)
    cycles(world, 120)
    world.cluster.writes.clear()
    cycles(world, 1200, silent="gpu-3")
    labels = {name: view.health_label for name, view in world.cluster.nodes.items()}
    assert labels.pop("gpu-3") == "unobserved"
    assert set(labels.values()) == {None}
    told = len(world.cluster.writes)
    cycles(world, 3600, silent="gpu-3")
    assert [w for w in world.cluster.writes[told:] if w != "state"] == []
    cycles(world, 120)
    assert world.cluster.nodes["gpu-3"].health_label is None
    assert {write.rpartition(" ")[2] for write in world.cluster.writes} <= {"gpu-3", "state"}


# ---------------------------------------------------------------- a change of leader


def stored(ward: Ward) -> Any:
    ward.look()
    return ward.observation.state()


def test_another_controller_goes_on_with_what_was_stored() -> None:
    ward = Ward(sick(record()), node("gpu-2"))
    ward.later(3600, "gpu-1", "gpu-2")
    state = stored(ward)
    assert list(state["nodes"]) == ["gpu-1"]  # others wait for nothing
    ward.begin()
    ward.observation.restore(state)
    ward.later(120, "gpu-1", "gpu-2")
    assert ward.since() == NOW + 60 * NS
    assert ward.since("gpu-2") == ward.clock.now_ns() - 60 * NS


@pytest.mark.parametrize("change", ["late", "another uid", "gap", "damaged"])
def test_what_may_have_been_interrupted_begins_anew(change: str) -> None:
    ward = Ward(sick(record()))
    ward.later(3600, "gpu-1")
    state = stored(ward)
    ward.begin()
    if change == "late":
        ward.clock.advance(AFTER_S)
    if change == "another uid":
        ward.feed.views["gpu-1"] = replace(ward.feed.views["gpu-1"], uid="other")
    if change == "damaged":
        state = {"at": state["at"], "nodes": {"gpu-1": 7}}
    ward.observation.restore(state)
    ward.later(60, "gpu-1")
    if change == "gap":
        now = ward.clock.now_ns()
        ward.read("kmsg", Gap(now - 30 * NS, now, "unavailable"))
    assert ward.since() == ward.clock.now_ns()


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), st.lists, max_leaves=6))
def test_damaged_state_counts_as_none(damage: Any) -> None:
    ward = Ward(sick(record()))
    for state in (damage, {"at": damage, "nodes": {}}, {"at": 1, "nodes": damage}):
        ward.observation.restore(state)
    ward.later(60, "gpu-1")
    assert ward.since() == NOW + 60 * NS


# ---------------------------------------------------------------- any history

STEP = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 1200)),
    st.tuples(st.just("line"), st.integers(0, 600)),
    st.tuples(st.just("roll"), st.just(300)),
    st.tuples(st.just("gap"), st.integers(1, 600)),
    st.tuples(st.just("down"), st.integers(1, 600)),
)


@given(st.lists(STEP, max_size=30))
def test_an_observation_never_spans_a_silence_or_a_gap(steps: list[tuple[str, int]]) -> None:
    """Whatever happens: within what is claimed there is no gap, and at most ``AFTER_S`` between two
    times at which the node was heard."""
    ward = Ward(node())
    ward.read()
    heard: list[tuple[int, int]] = []  # within [start, end]
    whole_ns, up = 0, True
    for what, seconds in steps:
        now, span = ward.clock.now_ns(), seconds * NS
        if what == "wait":
            ward.clock.advance(seconds)
            ward.read(ok=up)
            ward.observation.look()
        elif what == "line":
            ward.observation.heard("kmsg", "gpu-1", now - span)
            heard.append((now - span, now - span))
        elif what == "roll":
            names = frozenset({"gpu-1"})
            ward.observation.deliver(Attendance("kmsg", names, now - span, now))
            ward.clock.advance(5)
            ward.read(ok=up)
            ward.observation.look()
            heard.append((now - span, now))
        elif what == "gap":
            ward.read("kmsg", Gap(now - span, now, "unavailable", permanent=True), ok=up)
            whole_ns = max(whole_ns, now)
        else:
            up = not up
            ward.read(ok=up)
    since, now = ward.since(), ward.clock.now_ns()
    if since is None:
        return
    assert up
    assert whole_ns <= since <= now
    for early, late in ((0, 0), (1, 1), (0, 1), (1, 0)):  # a roll call does not tell when
        when = [(end if (early, late)[n % 2] else start) for n, (start, end) in enumerate(heard)]
        before = max((at for at in when if at <= since), default=since)
        times = [before, *sorted(at for at in when if at > since), now]
        assert all(b - a <= AFTER_S * NS for a, b in pairwise(times))
