"""What becomes of the records of a node? Rules are looked up, proofs counted, records cleared.

Opened, seen often enough, asking for an effect, repaired, proven, cleared into the history, opened
again: docs/design/decide.md has the states as a table.

Invariants:
- A record that we have tainted for keeps asking until its clear rule is met, whatever becomes of
  the policy: the taint goes only when all are cleared.
- What asks for nothing fades away; it is never the reason of a taint, so no proof is needed.
- What was repaired before it was granted anything asks for nothing any more: a hold that ends
  carries out no backlog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.core.clearing import (
    Watch,
    fades_at,
    is_mended,
    seen_repairs,
    still_missing,
    told,
    with_probes,
    with_repairs,
)
from konduktor_health.core.facts import LabelsOf, facts_of
from konduktor_health.core.record import Ledger, Past, Record, altered, worth_most
from konduktor_health.core.wording import describe
from konduktor_health.frozen import replace
from konduktor_health.model import (
    Hold,
    HoldReason,
    NodeView,
    Policy,
    ProbeResult,
    RepairSeen,
    Severity,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Mode, Repeat, Rule, Treatment, choose

MAX_HISTORY = 32


@dataclass(frozen=True, slots=True)
class Tended:
    """A ledger after its records have been looked after."""

    ledger: Ledger
    cleared: tuple[Record, ...] = ()  # by their clear rules; what only faded away is not here
    again_ns: int | None = None  # when time alone may change the answer


def tended(
    ledger: Ledger,
    view: NodeView,
    repairs: Iterable[RepairSeen],
    results: Iterable[ProbeResult],
    watch: Watch,
    policy: Policy,
    now_ns: int,
    *,
    clears: bool,
) -> Tended:
    """Look after each record: rule, repeats, repairs, probes, clearing. Times are Unix ns."""
    labels = LabelsOf(view)
    seen, proven = tuple(repairs), tuple(results)
    cleared: list[Record] = []
    again: list[int] = []
    ledger = altered(ledger, history=_young(ledger.history, policy, now_ns))
    for record in ledger.records:
        rule = choose(policy.rules, facts_of(record, labels))
        treatment = rule.treatment
        current = judged(with_repairs(record, seen), rule, owned=bool(ledger.owned))
        late = current.asks and _is_late(current, treatment, watch, ledger)
        at_ns: int | None = None
        if current.asks:
            current = with_probes(current, treatment, proven, watch)
            pending = still_missing(current, treatment, watch, policy, now_ns)
            if clears and not pending.missing:
                cleared.append(current)
                ledger = _cleared(ledger, current, watch, now_ns, faded=False)
                continue
            current = told(current, pending, now_ns)
            current = replace(current, reached=False) if late else current
            at_ns = pending.again_ns
        elif current.missing:
            current = replace(current, missing=())
        if not current.asks:
            fades_ns = fades_at(current, treatment, watch)
            if clears and fades_ns is not None and fades_ns <= now_ns:
                ledger = _cleared(ledger, current, watch, now_ns, faded=True)
                continue
            at_ns = min((each for each in (at_ns, fades_ns) if each is not None), default=None)
        if at_ns is not None and at_ns > now_ns:  # else nothing but the hold is waited for
            again.append(at_ns)
        if current is not record:
            ledger = ledger.with_record(current)
    return Tended(ledger, tuple(cleared), min(again, default=None))


def _is_late(record: Record, treatment: Treatment, watch: Watch, ledger: Ledger) -> bool:
    """Its remedy has happened, and it was granted nothing before: to act on it now would be to
    carry out a backlog. It stays to be seen, and a newer line acts."""
    granted = bool(ledger.owned) and (bool(record.effect) or ledger.soft)
    by_hand = record.last_ns <= ledger.removed_ns  # somebody has decided about it already
    return not granted and not by_hand and is_mended(record, treatment, watch)


def judged(record: Record, rule: Rule, *, owned: bool) -> Record:
    """The record with what its rule says: does it ask for an effect?"""
    treatment = rule.treatment
    granted = owned and bool(record.effect)
    acts = treatment.mode is Mode.ACT
    often = record.reached or treatment.repeat is None or _often(record, treatment.repeat)
    reached = granted or (acts and often)
    why = record.why
    if record.acting:
        quiet = HoldReason.BELOW_REPEAT if acts else HoldReason.BY_POLICY
        why = "" if reached else quiet.value
    if (record.rule, record.reached, record.why) == (rule.name, reached, why):
        return record
    return replace(record, rule=rule.name, reached=reached, why=why)


def asks_for_nothing(
    node: str, before: Ledger, after: Ledger, policy: Policy, labels: Mapping[str, str]
) -> tuple[Hold, ...]:
    """Why fatal faults that may act ask for nothing, where that is news: the policy observes them,
    or wants to see them more often."""
    holds = []
    for record in after.records:
        if record.severity is not Severity.FATAL or record.asks or not record.acting:
            continue
        known = before.record(record.key)
        if known is not None and (known.rule, known.why) == (record.rule, record.why):
            continue
        repeat = choose(policy.rules, facts_of(record, labels)).treatment.repeat
        if record.why == HoldReason.BELOW_REPEAT.value and repeat is not None:
            reason = HoldReason.BELOW_REPEAT
            message = f"rule {record.rule} acts on {repeat.count} within {repeat.within_s:g} s"
        else:
            reason, message = HoldReason.BY_POLICY, f"rule {record.rule} observes it"
        evidence = (describe(record.fault_id, record.device),)
        holds.append(Hold(node, reason, message, evidence=evidence))
    return tuple(holds)


def reopened(record: Record, past: Past | None) -> Record:
    """A record of a fault that was cleared before. What was repaired and came back did not hold;
    evidence that never acts does not say so."""
    if past is None:
        return record
    undone = record.acting and past.repaired_ns > 0
    attempts = max(record.attempts, past.attempts + int(undone))
    return replace(record, flaps=past.times, attempts=attempts)


def _often(record: Record, repeat: Repeat) -> bool:
    """Seen in so many episodes within the window that ends with the newest line."""
    oldest_ns = record.last_ns - int(repeat.within_s * NS)
    episodes = [owner for time_ns, owner, _ in record.episodes if time_ns > oldest_ns]
    if not repeat.other_owner:
        return len(episodes) >= repeat.count
    named = {owner for owner in episodes if owner}
    return len(named) + episodes.count("") >= repeat.count


def _young(history: tuple[Past, ...], policy: Policy, now_ns: int) -> tuple[Past, ...]:
    if not history:
        return history
    oldest_ns = now_ns - int(policy.history_s * NS)
    return tuple(past for past in history if past.cleared_ns >= oldest_ns)


def _cleared(ledger: Ledger, record: Record, watch: Watch, now_ns: int, *, faded: bool) -> Ledger:
    """The record becomes history: when it was cleared, and what tells its lines."""
    before = ledger.past(record.key)
    others = [each for each in ledger.history if each.key != record.key]
    ledger = ledger.without(record.key)
    if not record.acting and before is not None and not before.shown:
        # what was cleared says more than what was only shown since
        again = replace(before, count=before.count + record.count)
        return replace(ledger, history=worth_most((again, *others), MAX_HISTORY))
    past = Past(
        device=record.device,
        fault_id=record.fault_id,
        last_ns=record.last_ns,
        cleared_ns=now_ns,
        log_ns=record.log_ns,
        uptime_us=record.uptime_us,
        boot_id=record.boot_id,
        identity=record.identity,
        repaired_ns=max(seen_repairs(record, watch).values(), default=0),
        times=(before.times if before else 0) + (0 if faded else 1),
        attempts=record.attempts,
        count=(before.count if before else 0) + record.count,
        shown=not record.acting,
    )
    return replace(ledger, history=worth_most((past, *others), MAX_HISTORY))
