"""Whatever is not the line before once more is taken by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.fold import add, key_of
from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.record import Past
from konduktor_health.model import Fault, NodeView, Severity, Sighting, Trust
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.again import Run, Runs
from konduktor_health.runtime.domains import RecentKinds
from konduktor_health.runtime.kin import Kin
from konduktor_health.timestamps import NS
from parsers import tables
from parsers.layer import LogRecord
from tests.support.builders import BOOT, NOW, fault, node
from tests.support.ledgers import record
from tests.support.world import LOST, World

VIEW = node("gpu-1")
XID = LOST.replace(" 79, ", " {}, ")
FAULT = fault("xid/63", severity=Severity.DEGRADED, boot_id=BOOT, detail={"pid": "7"})


def line(after_s: float = 0.0, **fields: Any) -> LogEntry:
    at_ns = NOW + int(after_s * NS)
    record = LogRecord(
        FAULT.text,
        uptime_us=fields.pop("uptime_us", 1_000_000_000 + int(after_s * 10**6)),
        boot_id=fields.pop("boot_id", BOOT),
        repeated=fields.pop("repeated", 1),
    )
    values: dict[str, Any] = {"source": "kmsg", "trust": Trust.KERNEL, "pod": False, **fields}
    return LogEntry("gpu-1", fields.pop("time_ns", at_ns), record, f"line {after_s}", **values)


def begun() -> Run:
    kept: dict[Any, Sighting] = {}
    add(kept, FAULT, acting=True)
    key = key_of(FAULT, True)
    limits = (NOW + 120 * NS, 1_120_000_000)
    counted = frozenset({"counted"})
    return Run(VIEW, FAULT, FAULT, key, kept[key], *limits, line(), NOW, counted, NOW - NS)


def takes(
    run: Run,
    entry: LogEntry,
    *,
    decoded: Fault = FAULT,
    view: NodeView = VIEW,
    seen: Sighting | None = None,
    event_ns: int | None = None,
) -> bool:
    at_ns = entry.time_ns if event_ns is None else event_ns
    return run.takes(decoded, entry, at_ns, view, seen or run.seen)


def test_the_same_line_a_little_later_only_counts() -> None:
    run = begun()

    assert takes(run, line(1))
    assert takes(run, line(1), decoded=replace(FAULT, time_ns=NOW + NS, uptime_us=5, count=3))
    assert takes(run, line(0))


@pytest.mark.parametrize(
    ("entry", "more"),
    [
        (line(-1), {}),
        (line(1, uptime_us=999_000_000), {}),  # the uptime fell
        (line(1, uptime_us=None), {}),
        (line(121), {}),
        (line(1), {"event_ns": NOW + 121 * NS}),
        (line(1, uptime_us=1_121_000_000), {}),
        (line(-1), {"event_ns": NOW}),  # it is older, though not what it tells of
        (line(1, boot_id=""), {}),
        (line(1, boot_id="b" * 32), {}),
        (line(1, source="journal"), {}),
        (line(1, trust=Trust.ATTESTED), {}),
        (line(1, pod=True), {}),
        (replace(line(1), identity="counted"), {}),  # by the node's ledger
        (line(1), {"view": replace(VIEW, reset_at="2026-01-01T00:00:00Z")}),
        (line(1), {"seen": Sighting(FAULT, NOW, NOW, 1)}),  # another one since: it was settled
        (line(1), {"decoded": replace(FAULT, text="another")}),
        (line(1), {"decoded": replace(FAULT, fault_id="xid/64")}),
        (line(1), {"decoded": replace(FAULT, device="0000:86:00")}),
        (line(1), {"decoded": replace(FAULT, severity=Severity.FATAL)}),
        (line(1), {"decoded": replace(FAULT, injected=True)}),
        (line(1), {"decoded": replace(FAULT, detail={"pid": "8"})}),
    ],
)
def test_any_other_line_does_more(entry: LogEntry, more: dict[str, Any]) -> None:
    assert not takes(begun(), entry, **more)


def test_a_line_after_a_long_silence_begins_an_episode() -> None:
    run = begun()
    run.until_ns, run.until_us = NOW + 1000 * NS, 10**10

    assert takes(run, line(179))
    assert not takes(run, line(181))


def test_lines_are_folded_when_they_are_asked_for() -> None:
    kin, pending = Kin(tables.recorded()), {"gpu-1": dict[Any, Sighting]()}
    runs = Runs(pending, kin, RecentKinds(600.0))
    for _ in range(2):  # the first of its kind says something of the GPU's memory
        kin.hear(FAULT)
    add(pending["gpu-1"], FAULT, acting=True)
    runs.begin(FAULT, FAULT, line(), VIEW, Ledger())

    for entry in (line(1), line(2, repeated=4)):
        assert runs.count([FAULT], entry, entry.time_ns, VIEW, NOW) is not None
    (before,) = pending["gpu-1"].values()
    runs.catch_up(["gpu-1", "gpu-2"])

    (after,) = pending["gpu-1"].values()
    assert (before.count, after.count) == (1, 6)
    assert (after.first_ns, after.last_ns) == (NOW, NOW + 2 * NS)
    assert after.fault.identity == "line 2"
    assert after.episodes == ((NOW + 2 * NS, "7", NOW),)


def test_a_line_that_the_ledger_has_counted_hides_none_before_it() -> None:
    """Shown only, cleared, and read again after a restart: the lines before the newest may act."""
    world = World()
    lines = [world.line("gpu-1", XID.format(48), ago_s=60 - n) for n in range(4)]
    newest = lines[-1]
    past = Past(
        "0000:3b:00",
        "xid/48",
        last_ns=newest.time_ns,
        cleared_ns=newest.time_ns,
        log_ns=newest.time_ns,
        uptime_us=newest.record.uptime_us,
        boot_id=BOOT,
        identity=newest.identity,
        shown=True,
    )
    world.change("gpu-1", ledger=render(Ledger(uid="uid-gpu-1", boot_id=BOOT, history=(past,))))

    world.hear(*lines)

    assert world.tainted() == ["gpu-1"]


def test_lines_go_on_being_related_where_what_was_seen_is_forgotten_between_them() -> None:
    """The watch tells of a reset while lines are read: they are heard of the Node as it is then."""
    world = World()
    world.hear(world.line("gpu-1", XID.format(48)))
    world.clock.advance(10)
    world.observer.take([world.line("gpu-1", XID.format(48))])
    world.observer._kin.forget("gpu-1")
    world.clock.advance(1)
    world.observer.take([world.line("gpu-1", XID.format(48))])

    world.observer.take([world.line("gpu-1", XID.format(63))])

    seen = world.observer.sightings(["gpu-1"])["gpu-1"]
    assert {each.fault.fault_id: each.fault.severity for each in seen} == {
        "xid/48": Severity.FATAL,
        "xid/63": Severity.FATAL,  # as bad as the two are together
    }


def until(run_of: Runs, after_s: float) -> tuple[int, int] | None:
    entry = line(after_s)
    return run_of.until([FAULT], entry, entry.time_ns, VIEW)


@pytest.mark.parametrize(("counted_s", "whole"), [(None, True), (-60.0, True), (0.5, False)])
def test_many_at_once_only_count_beyond_what_the_ledger_has_counted(
    counted_s: float | None, *, whole: bool
) -> None:
    """Of many it is not looked at each, whether it is the very line that was counted."""
    kin, pending = Kin(tables.recorded()), {"gpu-1": dict[Any, Sighting]()}
    runs = Runs(pending, kin, RecentKinds(600.0))
    for _ in range(2):  # the first of its kind says something of the GPU's memory
        kin.hear(FAULT)
    add(pending["gpu-1"], FAULT, acting=True)
    known = record(fault_id=FAULT.fault_id, device=FAULT.device, identity="counted")
    counted_ns = NOW + int((counted_s or 0.0) * NS)
    records = () if counted_s is None else (replace(known, last_ns=counted_ns),)
    runs.begin(FAULT, FAULT, line(), VIEW, Ledger(records=records))

    assert (until(runs, 1.0) is not None) is whole
    assert until(runs, 3.0) is not None
    kin.forget("gpu-1")
    assert until(runs, 3.0) is None
