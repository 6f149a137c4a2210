"""What takes a short way comes to what the long way comes to.

Random pasts are played twice: as they are, and with every short way closed. Each line is heard and
taken by itself then, bursts are looked at line by line, and each of our own writes is decided about
once more.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.model import Fault, Policy, Remedy, Severity
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.again import Runs
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.replay.heard import Told, batches, of_fault
from konduktor_health.runtime.replay.passage import Packer, Passage, one_by_one, unpacked
from konduktor_health.runtime.replay.past_nodes import Inventory
from konduktor_health.runtime.replay.player import Assumed, Player, play
from konduktor_health.runtime.replay.timeline import Moment
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect
from parsers import relate
from tests.support.builders import BOOT, NOW, OTHER_BOOT, fault

KINDS: dict[str, tuple[Severity, Remedy]] = {
    "xid/79": (Severity.FATAL, Remedy.REBOOT),
    "xid/48": (Severity.FATAL, Remedy.DRAIN_RESET),
    "xid/63": (Severity.DEGRADED, Remedy.DRAIN_RESET),
    "xid/94": (Severity.DEGRADED, Remedy.RESET_GPU),
    "xid/31": (Severity.APPLICATION, Remedy.RESTART_APP),
    "xid/45": (Severity.APPLICATION, Remedy.RESTART_APP),
}
POLICIES = (
    Policy(),
    Policy(held_effect=Effect.PREFER_NO_SCHEDULE, repeat_write_interval_s=20.0),
    Policy(surge_min_nodes=2, surge_percent=1.0, surge_quiet_s=60.0),
    Policy(observe={"xid/79": "a doubt"}, rate_per_minute=1),
)

#: A run of one line: node, kind, GPU, pid, how many, how far apart, milliseconds before it, and
#: what of it is odd.
Burst = tuple[str, str, str, str, int, int, int, str]
bursts = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from(list(KINDS)),
    st.sampled_from(["0000:3b:00", "0000:86:00"]),
    st.sampled_from(["7", "7", "8", ""]),
    st.integers(1, 12),
    st.sampled_from([0, 300, 300, 1500, 1500, 40_000, 100_000, 200_000]),
    st.sampled_from([0, 500, 10_000, 200_000, 700_000, 4_000_000, -3000]),
    st.sampled_from(
        ["", "", "", "boot", "no stamp", "no boot", "twice", "program", "worse", "drift", "back"]
    ),
)


def lines_of(past: list[Burst]) -> list[LogEntry]:
    found: list[LogEntry] = []
    at_ms = 0
    for name, kind, gpu, pid, count, apart_ms, before_ms, odd in past:
        at_ms = max(0, at_ms + before_ms)
        severity, remedy = KINDS[kind]
        for number in range(count):
            at_ms += -200 if odd == "back" and number % 4 == 3 else apart_ms
            drift_us = 700_000 * (number % 3) if odd == "drift" else 0
            values: dict[str, Any] = {
                "node": name,
                "device": gpu,
                "severity": Severity.FATAL if odd == "worse" else severity,
                "remedy": remedy,
                "time_ns": NOW + at_ms * 10**6,
                "event_ns": 0,
                "identity": "",
                "uptime_us": None if odd == "no stamp" else (100_000_000 + at_ms) * 1000 - drift_us,
                "boot_id": {"boot": OTHER_BOOT, "no boot": ""}.get(odd, BOOT),
                "injected": odd == "program",
                "count": 3 if odd == "twice" else 1,
                "text": f"{kind} {gpu} {pid}",
                "detail": {"pid": pid} if pid else {},
            }
            found.append(of_fault(fault(kind, **values), "files"))
    return found


def packed(entries: list[LogEntry], lines: int) -> Iterator[Passage]:
    """Passages of so many lines or a few more, as another process hands them over."""
    packer = Packer()
    for poll in batches(entries, Told(), interval_ns=2 * NS):
        packer.add(*poll)
        if len(packer) >= lines:
            yield unpacked(marshal.loads(marshal.dumps(packer.packed())))
            packer = Packer()
    yield unpacked(packer.packed())


def played(
    entries: list[LogEntry], policy: Policy, *, asked_ms: Sequence[int] = (), lines: int = 0
) -> Any:
    """All that came of it; the observer is also asked now and then what it keeps. ``lines``: of a
    passage, if any line may be passed by."""
    moments: list[Moment] = []
    player = Player(
        policy, Inventory(size=6), NOW, moments.append, Assumed(reset_after_ns=1800 * NS)
    )
    observer = player._loop.observer
    told: list[Any] = []
    passages = (
        packed(entries, lines)
        if lines
        else one_by_one(batches(entries, Told(), interval_ns=2 * NS))
    )
    for poll_ns in play(passages, [player]):
        if (poll_ns - NOW) // 10**6 % 7 in asked_ms:
            told.append(kept_by(observer, player.nodes.nodes()))
    player.end(NOW + 40_000 * NS)
    totals = player.timeline.totals
    nodes = {
        name: replace(view, resource_version="") for name, view in player.nodes.nodes().items()
    }
    sums = (totals.nodes, totals.rules, totals.pools, totals.edits, totals.holds, totals.surges)
    counts = observer.drain_faults(), observer.drain_relations(), observer.oldest_pending_ns()
    return moments, sums, nodes, told, counts, kept_by(observer, nodes)


def kept_by(observer: Observer, names: Any) -> Any:
    kept = {name: sorted(map(repr, seen)) for name, seen in observer.sightings(list(names)).items()}
    return kept, observer.kinds.now(0), observer.kinds._seen


@contextmanager
def long_ways() -> Iterator[None]:
    def nothing_rests(fleet: Fleet, names: object) -> bool:
        del names
        return bool(fleet._changed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runs, "begin", lambda *_: None)
        patch.setattr(Fleet, "pass_over", nothing_rests)
        patch.setattr(relate, "_BURST_NS", -1)
        yield


@settings(max_examples=100, deadline=None)
@given(st.lists(bursts, max_size=12), st.sampled_from(POLICIES), st.sampled_from([1, 5, 50, 1000]))
def test_the_same_comes_of_lines_that_are_passed_by(
    past: list[Burst], policy: Policy, lines: int
) -> None:
    with long_ways():
        long = played(lines_of(past), policy)

    assert played(lines_of(past), policy, lines=lines) == long


@settings(max_examples=60, deadline=None)
@given(
    st.lists(bursts, max_size=12),
    st.sampled_from(POLICIES),
    st.lists(st.integers(0, 6), max_size=2),
)
def test_the_same_comes_of_it(past: list[Burst], policy: Policy, asked_ms: list[int]) -> None:
    with long_ways():
        long = played(lines_of(past), policy, asked_ms=asked_ms)

    assert played(lines_of(past), policy, asked_ms=asked_ms) == long


def test_a_node_that_was_passed_over_in_one_plan_may_give_way_in_the_next() -> None:
    """Both are decided at once: the degraded one is held by a surge, and gives way thereafter."""
    gpu = "0000:3b:00"
    past: list[Burst] = [
        ("a", "xid/63", gpu, "7", 1, 0, 0, ""),
        *[(name, "xid/79", gpu, "7", 1, 0, 0, "") for name in ("b", "b", "b", "c")],
        ("a", "xid/79", gpu, "7", 1, 0, 10_000, ""),
        ("b", "xid/48", gpu, "7", 1, 0, 0, ""),
    ]
    surge = POLICIES[2]
    with long_ways():
        long = played(lines_of(past), surge, asked_ms=[])

    moments, *others = played(lines_of(past), surge, asked_ms=[])

    assert "displace" in [each.kind for each in moments]
    assert (moments, *others) == long


def test_a_storm_is_counted_and_each_line_of_it() -> None:
    """Neither vacuous nor lost: hundreds of lines take the short way."""
    taken: list[Fault] = []
    with pytest.MonkeyPatch.context() as patch:
        count = Runs.count

        def counted(runs: Runs, *args: Any) -> Any:
            found = count(runs, *args)
            taken.extend([found[0]] if found else [])
            return found

        patch.setattr(Runs, "count", counted)
        storm: list[Burst] = [("a", "xid/63", "0000:3b:00", "", 400, 1000, 0, "")]
        _, sums, _, _, _, _ = played(lines_of(storm), Policy(), asked_ms=[])

    assert len(taken) > 350
    assert sums[3]["taint"] == 1


def test_polls_that_only_repeat_are_not_heard_one_by_one() -> None:
    """Two storms at a time, of which one is written now and then."""
    polls: list[int] = []
    storms = [
        *lines_of([("a", "xid/63", "0000:3b:00", "", 1500, 1000, 0, "")]),
        *lines_of([("b", "xid/31", "0000:3b:00", "7", 1500, 1000, 300, "")]),
    ]
    entries = sorted(storms, key=lambda entry: entry.time_ns)
    with pytest.MonkeyPatch.context() as patch:
        hear = Player.hear

        def heard(player: Player, poll_ns: int, lines: Sequence[LogEntry]) -> None:
            polls.append(poll_ns)
            hear(player, poll_ns, lines)

        patch.setattr(Player, "hear", heard)
        found = played(entries, Policy(), lines=2000)

    assert len(polls) < 150
    assert found == played(entries, Policy())
    counts = found[4][0]
    assert counts == {
        ("xid/63", "degraded", "files"): 1500,
        ("xid/31", "application", "files"): 1500,
    }


def test_policies_side_by_side_tell_their_moments_in_the_order_of_time() -> None:
    """One may have passed by what the other has to hear."""
    storm: list[Burst] = [
        (name, "xid/63", "0000:3b:00", "", 300, 1000, 0, "") for name in ("a", "b", "c")
    ]
    told: list[Moment] = []
    players = [Player(each, Inventory(size=6), NOW, told.append) for each in POLICIES[:2]]

    for _ in play(packed(lines_of(storm), 1000), players):
        pass

    assert len({each.time_ns for each in told}) > 1
    assert [each.time_ns for each in told] == sorted(each.time_ns for each in told)


def test_late_lines_of_a_boot_that_then_begins_are_heard() -> None:
    """The node was seen in its boot after the first of them, and before the last."""

    def line(name: str, at_ms: int, boot_id: str) -> LogEntry:
        severity, remedy = KINDS["xid/63"]
        return of_fault(
            fault(
                "xid/63",
                node=name,
                severity=severity,
                remedy=remedy,
                time_ns=NOW + at_ms * 10**6,
                event_ns=0,
                identity="",
                uptime_us=(100_000_000 + at_ms) * 1000,
                boot_id=boot_id,
                text="the same",
                detail={},
            ),
            "files",
        )

    entries = [line("a", 100_000, BOOT)]
    for number in range(20):
        entries.append(line("b", 103_000 + 2000 * number, BOOT))
        entries.append(line("a", 95_000 + 500 * number, OTHER_BOOT))

    found = played(entries, Policy(), lines=1000)

    assert found == played(entries, Policy())
    assert [each.kind for each in found[0]].count("boot") == 1
