"""In which words does a node's state appear in its condition and Events?

Messages are stable: they name the fault that was first to act and no counts, so that a
repeating fault does not rewrite the condition.
"""

from __future__ import annotations

from konduktor_health.core.reasons import MEANINGS, named
from konduktor_health.core.record import Ledger, Record, worst_first
from konduktor_health.model import Condition, Hold, HoldReason, Verdict
from konduktor_health.timestamps import NS, rfc3339
from parsers.printable import printable

MESSAGE_LIMIT = 512
PROBE = "probe:"  # begins what is missing where it is passes of a probe

_WHY_HELD = {
    HoldReason.BUDGET: "the budget of tainted nodes is exhausted",
    HoldReason.RATE: "too many nodes were tainted within the last minute",
    HoldReason.SURGE: "many nodes show this fault at once, a common cause is likely",
    HoldReason.TAINT_REMOVED: "somebody removed the taint; waiting for newer evidence",
    HoldReason.OPERATOR: "an operator holds the node",
    HoldReason.MAINTENANCE: "maintenance was declared",
    HoldReason.START_UP: "the node has only just started",
    HoldReason.DRIVER_UPGRADE: "its driver is being upgraded",
    HoldReason.SCALE_DOWN: "an autoscaler is removing the node",
    HoldReason.CORDONED: "somebody else has cordoned the node",
}

_WHAT_IS_MISSING = {
    "repair": "a repair",
    "operator": "an operator's word",
    "quiet": "quiet",
    "observation": "an observed node",
}


def describe(fault_id: str, device: str) -> str:
    """A fault in a few words."""
    return f"{fault_id} on {device}" if device else f"{fault_id} on the node"


def condition_of(
    ledger: Ledger, tainted: bool, hold: Hold | None, verdict: Verdict, test: str = ""
) -> Condition:
    """What our Node condition should say. ``test``: how an invasive test of the node goes on."""
    if hold and hold.reason is HoldReason.LEDGER_CORRUPT:
        return Condition("Unknown", hold.reason.value, "the ledger cannot be read; nothing clears")
    worst = first_to_act(ledger)
    if verdict is Verdict.UNOBSERVED:
        return Condition("Unknown", "Unobserved", "nothing is heard of this node's log")
    if worst is None:
        return Condition("True", "NoActingFault", "no open fault")
    summary = f"{describe(worst.fault_id, worst.device)} ({worst.severity.value}"
    summary += f", remedy {worst.remedy.value}"
    summary += ", injected)" if worst.injected else ")"
    if hold:
        text = f"{summary}; not tainted: {_WHY_HELD.get(hold.reason, hold.reason.value)}"
        return Condition("False", hold.reason.value, _bounded(text, worst))
    if tainted:
        summary += waits_for(worst) + (f"; {test}" if test else "")
    if verdict in (Verdict.FAULTY, Verdict.RECOVERING):
        state = "tainted for" if tainted else "fault"
        text = _bounded(f"{state} {summary}", worst)
        if verdict is Verdict.RECOVERING:
            return Condition("False", "Recovering", text)
        return Condition("False", "FatalFault", text)
    if verdict is Verdict.SUSPECT and worst.asks:
        state = "tainted for" if tainted else "fault"
        return Condition("False", "DegradedFault", _bounded(f"{state} {summary}", worst))
    if verdict is Verdict.SUSPECT:
        why = why_not(worst) or waits_for(worst)
        return Condition("Unknown", "SuspectFault", _bounded(f"{summary}{why}", worst))
    return Condition("True", "NoActingFault", _bounded(f"noted {summary}", worst))


def waits_for(record: Record) -> str:
    """What clearing waits for, and since when: words that waiting does not change."""
    by_time: dict[int, list[str]] = {}
    for each in record.missing:
        by_time.setdefault(each.since_ns // NS, []).append(in_words(each.what))
    waits = [
        ", ".join(names) + (f" (since {rfc3339(since_s * NS)})" if since_s else "")
        for since_s, names in sorted(by_time.items())
    ]
    return f"; to clear: {'; '.join(waits)}" if waits else ""


def in_words(what: str) -> str:
    """What is missing for clearing, in words."""
    return _WHAT_IS_MISSING.get(what) or what.replace(PROBE, "passes of probe ")


def why_not(record: Record) -> str:
    """Why a record is never the reason of a taint, or not yet."""
    reason = named(record.why)
    if reason is None:
        return f"; never acts: {record.why}" if record.why else ""
    if reason is HoldReason.SECONDARY and record.root:
        fault_id, _, device = record.root.partition("|")
        return f"; not acting: it follows {describe(fault_id, device)}"
    rule = f" (rule {record.rule})" if record.acting and record.rule else ""
    return f"; not acting: {MEANINGS[reason].text}{rule}"


def first_to_act(ledger: Ledger) -> Record | None:
    """The record that a node is told by, or None."""
    return min(ledger.records, key=worst_first, default=None)


def _bounded(text: str, record: Record) -> str:
    """As Kubernetes will give it back: a message that came back changed would be written again."""
    return printable(f"{text}: {record.text}" if record.text else text, MESSAGE_LIMIT)
