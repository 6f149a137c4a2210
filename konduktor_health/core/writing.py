"""What of a decision is written on the Node, and when? Pure.

The ledger is written at once when something but counts and times has changed; counts alone wait
for their interval, so that a fault that repeats does not write the Node each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from konduktor_health.core.assess import Assessment
from konduktor_health.core.effects import (
    Standing,
    TaintChange,
)
from konduktor_health.core.invasive_note import is_testing
from konduktor_health.core.labels import labels_after_reset, labels_due, labels_for
from konduktor_health.core.ledger import Writes, written
from konduktor_health.core.record import Ledger, Record
from konduktor_health.core.reset import damaged_ledger
from konduktor_health.core.wording import describe
from konduktor_health.model import (
    EditKind,
    EditNode,
    NodeEdit,
    NodeView,
    Policy,
    Trust,
    Verdict,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect

UNOBSERVED = Verdict.UNOBSERVED.value


class Due(Enum):
    """When the ledger has to be written."""

    NOW = "now"
    LATER = "later"
    NO = "no"


def labels_of(
    view: NodeView,
    after: Ledger,
    now: Standing,
    change: TaintChange,
    verdict: Verdict,
    policy: Policy,
) -> Mapping[str, str | None]:
    """What the node's labels should be. Of one that never had a record, only that nothing is
    heard of it is told; of one of which nothing is left to remember, nothing."""
    if not after.records and not after.history and not after.owned:
        told = verdict.value if verdict is Verdict.UNOBSERVED else None
        if view.ledger is not None:
            return {**labels_for(None, None, policy), policy.keys.health: told}
        again = labels_after_reset(view, policy)
        if UNOBSERVED not in (told, view.health_label):
            return again
        return {**again, policy.keys.health: told}
    effects = (now.present - {taint.effect for taint in change.remove}) | {
        taint.effect for taint in change.add
    }
    strongest = Standing(effects, ()).strongest_taint
    return labels_for(verdict, strongest, policy, testing=is_testing(view.testing))


def write_due(
    node: Assessment,
    after: Ledger,
    change: TaintChange,
    labels: Mapping[str, str | None],
    policy: Policy,
    now_ns: int,
) -> Due:
    """When the node\'s ledger and labels have to be written."""
    relabel = labels_due(node.view, labels, policy)
    if not after.records and (node.view.ledger is None or node.corrupt):
        # nothing else is told of a node that never had a record, or whose ledger is damaged
        return Due.NOW if relabel and not node.corrupt else Due.NO
    if (
        change.add
        or change.remove
        or node.news
        or after.owned != node.before.owned
        or after.removed_ns != node.before.removed_ns
        # a reboot that nobody saw: when it was noticed has to be known from now on
        or (bool(after.records) and after.noticed_ns != node.before.noticed_ns)
        or relabel
        or (node.corrupt and bool(after.records))
    ):
        return Due.NOW
    if after.records == node.before.records:
        return Due.NO
    waited_ns = now_ns - node.before.written_ns
    waits = 0 <= waited_ns < policy.repeat_write_interval_s * NS  # the clock may have gone back
    return Due.LATER if waits else Due.NOW


def edit_of(
    node: Assessment,
    after: Ledger,
    change: TaintChange,
    labels: Mapping[str, str | None],
    policy: Policy,
    remarks: tuple[str, ...],
    writes: Writes = written,
) -> EditNode:
    """The patch: ledger, taints and labels at once. ``remarks``: what supports the evidence."""
    keys = policy.keys
    annotations: dict[str, str | None] = {}
    if after.records or after.history or after.owned:
        annotations[keys.ledger] = writes(after)
    elif node.view.ledger is not None and not node.corrupt:
        annotations[keys.ledger] = None  # nothing is left to remember
    if node.corrupt and after.records:
        annotations[damaged_ledger(keys)] = (node.view.ledger or "")[:4096]
    records = node.wanting or after.records or node.cleared
    what = describe(records[0].fault_id, records[0].device) if records else "no open fault"
    if change.add and not change.remove:
        kind, verb = EditKind.TAINT, "taint for"
    elif change.add or change.remove:
        worse = change.add and change.remove and _stronger(change)
        kind, verb = (EditKind.TAINT, "taint for") if worse else (EditKind.CLEAR, "cleared")
        records = records if worse else (node.cleared or records)
        what = describe(records[0].fault_id, records[0].device) if records else what
    else:
        kind, verb = EditKind.RECORD, "record"
    return EditNode(
        node=node.view.name,
        basis=node.view,
        edit=NodeEdit(
            add_taints=change.add,
            remove_taints=change.remove,
            annotations=annotations,
            labels=labels,
        ),
        kind=kind,
        message=f"{verb} {what}",
        # what pods and other nodes say only ever supports what was seen on the node itself
        evidence=evidence_of(records)
        + (remarks if any(each.trust is not Trust.POD for each in records) else ()),
    )


def _stronger(change: TaintChange) -> bool:
    rank = {effect.value: effect.rank for effect in Effect}
    added = max(rank.get(taint.effect, 0) for taint in change.add)
    return added > max(rank.get(taint.effect, 0) for taint in change.remove)


def evidence_of(records: Iterable[Record]) -> tuple[str, ...]:
    """The lines that records rest on, and the rules that decide about them; at most eight."""
    return tuple(
        f"{describe(record.fault_id, record.device)}: {record.text}"
        + (f" (rule {record.rule})" if record.rule else "")
        for record in records
    )[:8]
