"""What is a node, by what we know of it, and how is that told? Verdict, condition, Event."""

from __future__ import annotations

import hashlib

from konduktor_health.core.invasive_note import words_of_test
from konduktor_health.core.record import Ledger, Record
from konduktor_health.core.wording import condition_of
from konduktor_health.model import (
    Action,
    Hold,
    HoldReason,
    NodeView,
    PublishEvent,
    SetCondition,
    Severity,
    Verdict,
)

_DOUBTFUL = frozenset({Severity.FATAL, Severity.DEGRADED, Severity.UNKNOWN})
_NOTHING_SEEN = frozenset({"repair", "operator"})


def verdict_of(
    ledger: Ledger,
    tainted: bool,
    held: HoldReason | None,
    boot_id: str = "",
    *,
    unobserved: bool = False,
) -> Verdict:
    """What a node is by its ledger, our taint, and why one was not set. ``boot_id``: the Node's.

    Recovering: every fatal record that asks has been repaired as far as can be seen, and the
    proof is not complete yet.
    """
    if held is HoldReason.TAINT_REMOVED:
        return Verdict.SUSPECT
    fatal = [each for each in ledger.records if each.asks and each.severity is Severity.FATAL]
    if fatal:
        recovering = tainted and all(is_repaired(each, boot_id) for each in fatal)
        return Verdict.RECOVERING if recovering else Verdict.FAULTY
    if tainted or any(record.severity in _DOUBTFUL for record in ledger.records):
        return Verdict.SUSPECT
    return Verdict.UNOBSERVED if unobserved else Verdict.HEALTHY


def is_repaired(record: Record, boot_id: str) -> bool:
    """Something was done about it since it was last seen, and no person is asked for."""
    rebooted = bool(record.boot_id and boot_id and record.boot_id != boot_id)
    waits = {each.what for each in record.missing}
    return (bool(record.repairs) or rebooted) and not waits & _NOTHING_SEEN


def publish(
    view: NodeView, after: Ledger, tainted: bool, hold: Hold | None, verdict: Verdict
) -> list[Action]:
    """Event and condition, if the Node does not show this state yet. The Event comes first:
    after a crash between the two it is published again under the same name."""
    condition = condition_of(after, tainted, hold, verdict, words_of_test(view.testing))
    if condition == view.condition:
        return []
    parts = (view.uid, condition.status, condition.reason, condition.message, str(after.since_ns))
    dedupe = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    kind = "Normal" if condition.status == "True" else "Warning"
    return [
        PublishEvent(view.name, view.uid, kind, condition.reason, condition.message, dedupe),
        SetCondition(view.name, view, condition),
    ]
