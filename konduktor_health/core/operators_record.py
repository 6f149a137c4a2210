"""What is an operator's own record in a ledger? A word of a person, not a fault that was seen.

It stands there like any other record, of the fault OPERATOR_TAINT on the node itself, so that the
controller keeps the taint for it; the policy's rule for ``operator/*`` clears it for nobody. What
it asks for is the operator's choice, kept in the field that says what a record was granted.
"""

from __future__ import annotations

from konduktor_health.core.record import TEXT_LIMIT, Record
from konduktor_health.model import Remedy, Severity, Trust
from konduktor_health.treatment import Effect

OPERATOR_TAINT = "operator/taint"
KEY = ("", OPERATOR_TAINT)
SOURCE = "operator"
_EFFECTS = {effect.value: effect for effect in Effect}


def is_operators(record: Record) -> bool:
    """The record is an operator's word."""
    return record.fault_id.startswith("operator/")


def asked_effect(record: Record) -> Effect | None:
    """The effect that the operator asked for; None for any other record."""
    return _EFFECTS.get(record.effect) if record.fault_id == OPERATOR_TAINT else None


def operators_record(text: str, effect: Effect, boot_id: str, first_ns: int, now_ns: int) -> Record:
    """The record of a taint that an operator asks for now, and first asked for at ``first_ns``."""
    return Record(
        device="",
        fault_id=OPERATOR_TAINT,
        severity=Severity.FATAL,
        remedy=Remedy.INSPECT,
        first_ns=first_ns,
        last_ns=now_ns,
        count=1,
        boot_id=boot_id,
        trust=Trust.KERNEL,
        source=SOURCE,
        text=text[:TEXT_LIMIT],
        effect=effect.value,
    )
