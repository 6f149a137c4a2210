"""What does a node's ledger say once its sightings are folded in? Pure.

Each sighting is judged (``core.guards``): it acts, is only shown, or is history. What acts and
what is only shown never mix in one record: a record acts on acting evidence alone. Copies of a
line that two shippers deliver count once: of several sources the one with most lines counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

from konduktor_health.core.fold import already_counted
from konduktor_health.core.guards import Judgement, NodeHistory, Outcome, judge
from konduktor_health.core.ledger import (
    CorruptLedger,
    Ledger,
    Record,
    fitted,
    merge,
    open_record,
    parse,
)
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.core.wording import describe
from konduktor_health.model import (
    Hold,
    HoldReason,
    NodeView,
    Policy,
    Severity,
    Sighting,
    Snapshot,
)

Judged = tuple[Sighting, Judgement]


@dataclass(frozen=True, slots=True)
class Assessment:
    """One node: what its ledger says once the sightings are folded in."""

    view: NodeView
    before: Ledger
    after: Ledger
    corrupt: bool
    holds: tuple[Hold, ...]  # sightings that may not act
    news: bool  # more than counts has changed

    @property
    def wanting(self) -> tuple[Record, ...]:
        """Acting fatal records with evidence newer than a removal of the taint by hand."""
        return tuple(
            record for record in acting_fatal(self.after) if record.last_ns > self.after.removed_ns
        )


def acting_fatal(ledger: Ledger) -> Iterable[Record]:
    """Records that may be the reason of a taint."""
    return (r for r in ledger.records if r.acting and r.severity is Severity.FATAL)


def read_ledger(view: NodeView) -> tuple[Ledger, bool]:
    """The node's ledger and whether its annotation is corrupt.

    A ledger of another Node UID (the node was deleted and came back) counts as none.
    """
    if view.ledger is None:
        return Ledger(), False
    try:
        ledger = parse(view.ledger)
    except CorruptLedger:
        return Ledger(), True
    return (ledger if ledger.uid == view.uid else Ledger()), False


def assess(view: NodeView, snapshot: Snapshot, policy: Policy, now_ns: int) -> Assessment:
    """Judge the node's sightings and fold them into its ledger."""
    before, corrupt = read_ledger(view)
    changed_ns, noticed_ns = _reboot(view, before, snapshot, now_ns)
    history = NodeHistory(view, before, parse_reset_at(view.reset_at), changed_ns, noticed_ns)
    after = replace(
        _now_observed(_boot_now_known(before, view, policy), policy),
        rebooted_ns=changed_ns,
        noticed_ns=noticed_ns,
        removed_ns=min(before.removed_ns, now_ns),  # the clock may have been set back
    )
    holds: list[Hold] = []
    judged: dict[tuple[str, str], list[Judged]] = {}
    for sighting in snapshot.sightings.get(view.name, ()):
        fault = sighting.fault
        if already_counted(before, fault, view.boot_id):
            continue  # the write went through although its answer was lost
        judgement = judge(sighting, history, policy, now_ns)
        if judgement.reason and fault.severity is Severity.FATAL:
            evidence = (describe(fault.fault_id, fault.device),)
            holds.append(Hold(view.name, judgement.reason, judgement.why, evidence=evidence))
        if judgement.outcome is not Outcome.DROP:
            judged.setdefault(fault.key, []).append((sighting, judgement))
    for seen in judged.values():
        record = _record(seen, view)
        known = after.record(record.key)
        after = after.with_record(merge(known, record) if known else record)
    after = fitted(after)
    return Assessment(view, before, after, corrupt, tuple(holds), _is_news(before, after))


def _reboot(view: NodeView, ledger: Ledger, snapshot: Snapshot, now_ns: int) -> tuple[int, int]:
    """Between which times the last reboot that we know of happened; (0, 0): none."""
    changed_ns = max(snapshot.boot_changed_ns.get(view.name, 0), ledger.rebooted_ns)
    noticed_ns = max(snapshot.boot_noticed_ns.get(view.name, 0), ledger.noticed_ns)
    if ledger.boot_id and view.boot_id and ledger.boot_id != view.boot_id:
        changed_ns = max(changed_ns, ledger.written_ns)
        noticed_ns = snapshot.boot_noticed_ns.get(view.name, now_ns)
    return changed_ns, noticed_ns


def _record(seen: list[Judged], view: NodeView) -> Record:
    """One record of all sightings of a (device, fault id): of those that act, if any do."""
    acting = [each for each in seen if each[1].outcome is Outcome.ACT]
    lines: Counter[str] = Counter()
    records: list[Record] = []
    for sighting, judgement in sorted(acting or seen, key=lambda each: each[0].first_ns):
        why = judgement.reason.value if judgement.reason else ""
        records.append(open_record(sighting, view.boot_id, bool(acting), why))
        lines[sighting.fault.source] += sighting.count
    return replace(reduce(merge, records), count=max(lines.values()))


def _boot_now_known(ledger: Ledger, view: NodeView, policy: Policy) -> Ledger:
    """Records that waited for the Node to report their boot act as soon as it does, unless their
    fault is in observation."""
    for record in ledger.records:
        waited = record.why == HoldReason.BOOT_UNKNOWN.value and not record.acting
        if waited and record.boot_id == view.boot_id:
            why = HoldReason.OBSERVED.value if record.fault_id in policy.observe else ""
            ledger = ledger.with_record(replace(record, acting=not why, why=why))
    return ledger


def _now_observed(ledger: Ledger, policy: Policy) -> Ledger:
    """Records that acted before their fault was in observation act no longer. Not where we have
    tainted: the reason of a taint stays to be seen."""
    if ledger.owned:
        return ledger
    for record in ledger.records:
        if record.acting and record.fault_id in policy.observe:
            why = HoldReason.OBSERVED.value
            ledger = ledger.with_record(replace(record, acting=False, why=why))
    return ledger


def _is_news(before: Ledger, after: Ledger) -> bool:
    def essence(ledger: Ledger) -> set[tuple[object, ...]]:
        return {(*r.key, r.severity, r.remedy, r.acting, r.boot_id) for r in ledger.records}

    return essence(before) != essence(after)
