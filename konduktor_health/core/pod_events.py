"""What do the pods of a node have to be told when we taint it? Pure.

A job's owner looks at their pods, not at Nodes: where a GPU fails, its pods say so. Told are faults
of GPUs and their switches that are the reason of the taint; an operator's taint is theirs to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.core.ledger import CorruptLedger, Record, parse, worst_first
from konduktor_health.core.wording import describe
from konduktor_health.model import EditKind, EditNode, Keys
from parsers.printable import printable

#: Reason of the Events: an interface (docs/reference/events-and-conditions.md).
REASON = "GpuFault"
MESSAGE_LIMIT = 512
_OF_GPUS = ("xid/", "sxid/", "probe/", "kernel/gpu-", "kernel/gsp-", "kernel/nvlink-")


@dataclass(frozen=True, slots=True)
class PodNews:
    """What every pod on the node that asks for GPUs is told."""

    node: str
    message: str
    transition: str  # names the taint: a repetition is the same news


def news_for_pods(action: EditNode, keys: Keys) -> PodNews | None:
    """The news of an edit that taints a node for a fault of a GPU; None: there is none."""
    text = action.edit.annotations.get(keys.ledger)
    if action.kind is not EditKind.TAINT or not action.edit.add_taints or text is None:
        return None
    try:
        ledger = parse(text)
    except CorruptLedger:
        return None
    reasons = sorted((r for r in ledger.records if r.acting and _is_of_gpu(r)), key=worst_first)
    if not reasons:
        return None
    effect = action.edit.add_taints[0].effect
    transition = "|".join((action.basis.uid, effect, str(ledger.tainted_ns)))
    return PodNews(action.node, _message(action.node, effect, reasons), transition)


def _is_of_gpu(record: Record) -> bool:
    return record.fault_id.startswith(_OF_GPUS)


def _message(node: str, effect: str, reasons: list[Record]) -> str:
    first = reasons[0]
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    what = f"{describe(first.fault_id, first.device)}{more}"
    done = f"node {node} was tainted ({effect})"
    what_for = f"{first.severity.value}, remedy {first.remedy.value}"
    text = f"{what} ({what_for}); {done}. This pod asks for GPUs of the node"
    return printable(f"{text}: {first.text}" if first.text else text, MESSAGE_LIMIT)
