"""What does a node's ledger say once everything that was heard of it is folded in? Pure.

Each sighting is judged (``core.guards``): it acts, is only shown, or is history. What acts and
what is only shown never mix in one record: a record acts on acting evidence alone. Copies of a
line that two shippers deliver count once: of several sources the one with most lines counts.
Then repairs and probe results are counted, and each record is either kept with what clearing it
still waits for, or moved into the history.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce

from konduktor_health.core.clearing import Watch
from konduktor_health.core.corroboration import corroborated, question_of, waits_until
from konduktor_health.core.facts import LabelsOf, facts_of
from konduktor_health.core.fold import already_counted
from konduktor_health.core.guards import Judgement, NodeHistory, Outcome, judge
from konduktor_health.core.ledger import CorruptLedger, fitted, parse
from konduktor_health.core.lifecycle import asks_for_nothing, reopened, tended
from konduktor_health.core.record import (
    REGISTRATION_NS,
    Ledger,
    Record,
    altered,
    merge,
    open_record,
)
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.core.roots import ROOT, acting_roots, speaks_for
from konduktor_health.core.wording import describe
from konduktor_health.frozen import replace
from konduktor_health.model import (
    Fault,
    Hold,
    HoldReason,
    NodeView,
    Policy,
    Remedy,
    Severity,
    Sighting,
    Snapshot,
    Tombstone,
)
from konduktor_health.treatment import Mode, choose

Judged = tuple[Sighting, Judgement]


@dataclass(frozen=True, slots=True)
class Assessment:
    """One node: what its ledger says once everything is folded in."""

    view: NodeView
    before: Ledger
    after: Ledger
    corrupt: bool
    holds: tuple[Hold, ...]  # sightings that may not act, records that ask for nothing
    news: bool  # more than counts has changed
    cleared: tuple[Record, ...] = ()
    noticed_ns: int = 0  # when the present boot was noticed; 0: no reboot known
    again_ns: int | None = None  # when time alone may change the answer
    waits: bool = False  # a line waits for its boot to be reported: it has to be kept

    @property
    def wanting(self) -> tuple[Record, ...]:
        """Records that ask for an effect, with evidence newer than a removal of the taint by hand,
        the worst first."""
        return tuple(
            record
            for record in self.after.records
            if record.asks and record.last_ns > self.after.removed_ns
        )


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


def assess(
    view: NodeView, snapshot: Snapshot, policy: Policy, now_ns: int, *, clears: bool = True
) -> Assessment:
    """Fold everything that was heard of the node into its ledger. ``clears`` False: nothing is
    cleared now (an operator holds the node)."""
    before, corrupt = read_ledger(view)
    changed_ns, noticed_ns = _reboot(view, before, snapshot, now_ns)
    repairs = snapshot.repairs.get(view.name, ())
    history = NodeHistory(
        view, before, parse_reset_at(view.reset_at), changed_ns, noticed_ns, repairs
    )
    after = altered(
        _now_observed(_boot_now_known(_in_this_boot(before, view), view, policy), policy),
        rebooted_ns=changed_ns,
        noticed_ns=noticed_ns,
        removed_ns=min(before.removed_ns, now_ns),  # the clock may have been set back
    )
    after = _returned(after, view, snapshot.tombstones.get(view.system_uuid))
    after, holds, waits_ns = _folded(after, history, snapshot, policy, now_ns)
    watch = Watch(
        view.boot_id,
        noticed_ns,
        snapshot.observed_from_ns.get(view.name),
        None if snapshot.agents is None else view.name in snapshot.agents,
    )
    results = snapshot.probes.get(view.name, ())
    done = tended(after, view, repairs, results, watch, policy, now_ns, clears=clears)
    after = fitted(done.ledger)
    quiet = asks_for_nothing(view.name, before, after, policy, LabelsOf(view))
    return Assessment(
        view,
        before,
        after,
        corrupt,
        (*holds, *quiet),
        _is_news(before, after),
        done.cleared,
        noticed_ns,
        min(filter(None, (done.again_ns, waits_ns)), default=None),
        waits=waits_ns is not None,
    )


def _folded(
    after: Ledger, history: NodeHistory, snapshot: Snapshot, policy: Policy, now_ns: int
) -> tuple[Ledger, tuple[Hold, ...], int | None]:
    """The ledger with the node's sightings, why some of them may not act, and until when some are
    waited for."""
    view, before = history.view, history.ledger
    holds: list[Hold] = []
    judged: dict[tuple[str, str], list[Judged]] = {}
    fresh, waits_ns = _judged(history, snapshot, policy, now_ns)
    if not fresh:
        return after, (), waits_ns
    follow = any(ROOT in sighting.fault.detail for sighting, _ in fresh)
    roots = _roots(view, before, fresh, policy) if follow else frozenset()
    for sighting, first in fresh:
        fault = sighting.fault
        follows = first.outcome is Outcome.ACT and speaks_for(fault, roots)
        judgement = _secondary(fault) if follows else first
        if judgement.reason and fault.severity is Severity.FATAL:
            evidence = (describe(fault.fault_id, fault.device),)
            holds.append(Hold(view.name, judgement.reason, judgement.why, evidence=evidence))
        if judgement.outcome is not Outcome.DROP:
            judged.setdefault(fault.key, []).append((sighting, judgement))
    for key, seen in judged.items():
        known, past = after.record(key), after.past(key)
        waits_ns = max(filter(None, (waits_ns, _awaited(seen, known, now_ns))), default=None)
        record = _record(seen, view)
        opened = record if known is None else merge(known, record)
        if known is None or known.acting is not opened.acting:
            opened = reopened(opened, past)
        after = after.with_record(opened)
    return after, tuple(holds), waits_ns


def _judged(
    history: NodeHistory, snapshot: Snapshot, policy: Policy, now_ns: int
) -> tuple[list[Judged], int | None]:
    """The sightings that the ledger has not counted, each with its judgement, and until when the
    agent's word about others is waited for."""
    view, before = history.view, history.ledger
    told = snapshot.attestations.get(view.name, {})
    fresh: list[Judged] = []
    waits_ns: int | None = None
    for seen in snapshot.sightings.get(view.name, ()):
        if already_counted(before, seen.fault, view.boot_id):
            continue  # the write went through although its answer was lost
        said = told.get(question_of(seen.fault))
        until_ns = waits_until(said, policy, now_ns)
        if until_ns is not None:
            waits_ns = max(until_ns, waits_ns or 0)
            continue
        sighting = corroborated(seen, said)
        fresh.append((sighting, judge(sighting, history, policy, now_ns, said)))
    return fresh, waits_ns


def _awaited(seen: list[Judged], known: Record | None, now_ns: int) -> int | None:
    """Until when lines of a boot that the Node does not report yet wait. A record that acts cannot
    show them: they would be lost, and the reboot be taken for a repair of what came after it."""
    acts = (known is not None and known.acting) or any(
        judgement.outcome is Outcome.ACT for _, judgement in seen
    )
    ends = [
        sighting.last_ns + REGISTRATION_NS
        for sighting, judgement in seen
        if acts and judgement.reason is HoldReason.BOOT_UNKNOWN
    ]
    return max((end_ns for end_ns in ends if end_ns > now_ns), default=None)


def _secondary(fault: Fault) -> Judgement:
    """Another fault of the node decides."""
    return Judgement(Outcome.SHOW, HoldReason.SECONDARY, f"follows {fault.detail[ROOT]}")


def _roots(
    view: NodeView, before: Ledger, fresh: list[Judged], policy: Policy
) -> frozenset[tuple[str, str]]:
    """Keys of what may speak for its followers: what asks for an effect, and not what the policy
    only observes, or wants to see more often first."""
    labels = LabelsOf(view)
    acting = []
    for sighting, judgement in fresh:
        fault = sighting.fault
        if judgement.outcome is Outcome.ACT:
            treatment = choose(policy.rules, facts_of(fault, labels)).treatment
            if treatment.mode is Mode.ACT and treatment.repeat is None:
                acting.append(fault)
    return acting_roots((record for record in before.records if record.asks), acting)


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
    if len(acting or seen) == 1:
        ((sighting, judgement),) = acting or seen
        why = judgement.reason.value if judgement.reason else ""
        return open_record(sighting, view.boot_id, bool(acting), why)
    lines: Counter[str] = Counter()
    records: list[Record] = []
    for sighting, judgement in sorted(acting or seen, key=lambda each: each[0].first_ns):
        why = judgement.reason.value if judgement.reason else ""
        records.append(open_record(sighting, view.boot_id, bool(acting), why))
        lines[sighting.fault.source] += sighting.count
    return replace(reduce(merge, records), count=max(lines.values()))


def _returned(ledger: Ledger, view: NodeView, tombstone: Tombstone | None) -> Ledger:
    """This machine was deleted with open records and is back: it starts suspect."""
    if tombstone is None or tombstone.uid == view.uid:
        return ledger
    for name in tombstone.faults:
        fault_id, _, device = name.partition("|")
        if ledger.record((device, fault_id)) is None and ledger.past((device, fault_id)) is None:
            record = Record(
                device=device,
                fault_id=fault_id,
                severity=Severity.FATAL,
                remedy=Remedy.INSPECT,
                first_ns=tombstone.deleted_ns,
                last_ns=tombstone.deleted_ns,
                count=1,
                acting=False,
                why=HoldReason.RETURNED.value,
                text=f"open when Node {tombstone.node} was deleted",
            )
            ledger = ledger.with_record(record)
    return ledger


def _in_this_boot(ledger: Ledger, view: NodeView) -> Ledger:
    """What was proven in another boot than the present one proves nothing any more."""
    if not (ledger.boot_id and view.boot_id) or ledger.boot_id == view.boot_id:
        return ledger
    return replace(ledger, records=tuple(replace(each, passes=()) for each in ledger.records))


def _boot_now_known(ledger: Ledger, view: NodeView, policy: Policy) -> Ledger:
    """Records that waited for the Node to report their boot act as soon as it does, unless their
    fault is in observation."""
    for record in ledger.records:
        waited = record.why == HoldReason.BOOT_UNKNOWN.value and not record.acting
        if waited and record.boot_id == view.boot_id:
            why = HoldReason.OBSERVED.value if record.fault_id in policy.observe else ""
            known = replace(record, acting=not why, why=why)
            ledger = ledger.with_record(reopened(known, ledger.past(record.key)))
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


def essence(record: Record) -> tuple[object, ...]:
    """What of a record reaches the Node at once: all but counts and times."""
    return (
        *record.key,
        record.severity,
        record.remedy,
        record.acting,
        record.boot_id,
        record.rule,
        record.reached,
        record.why,
        record.effect,
        record.places,
        record.root,
        tuple(repair for repair, _ in record.repairs),
        tuple((each.name, each.count, each.since_ns) for each in record.passes),
        tuple(each.what for each in record.missing),
        record.attempts,
        record.flaps,
    )


def _is_news(before: Ledger, after: Ledger) -> bool:
    if before.records == after.records and before.history == after.history:
        return False

    if before.history == after.history and len(before.records) == len(after.records):
        pairs = zip(before.records, after.records, strict=True)
        if all(one is other or essence(one) == essence(other) for one, other in pairs):
            return False

    def whole(ledger: Ledger) -> tuple[object, ...]:
        history = {(*past.key, past.cleared_ns) for past in ledger.history}
        return {essence(record) for record in ledger.records}, history

    return whole(before) != whole(after)
