"""What does an operator's reset change on a node, and what does it mean for later faults?

Only nodes that carry our taint or a ledger are touched. The ledger goes, every taint with our
key goes (adopted ones too), and ``reset-at`` says which faults are history from now on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from konduktor_health.core.ledger import CorruptLedger, Ledger, parse
from konduktor_health.model import Condition, EditKind, EditNode, Keys, NodeEdit, NodeView, Taint
from konduktor_health.timestamps import parse_rfc3339, rfc3339_micro


@dataclass(frozen=True, slots=True)
class ResetAt:
    """Faults up to here are history: by time, and by kernel uptime within the boot.

    What the ledger had counted is known history; the rest was never seen before the reset.
    """

    time_ns: int
    boot_id: str = ""
    uptime_us: int | None = None  # highest that the ledger had counted in ``boot_id``
    log_ns: int = 0  # newest log time that it had counted
    faults: tuple[str, ...] | None = None  # its "fault id|device"; None: not known

    def had(self, fault_id: str, device: str) -> bool:
        """The ledger that was removed had a record of it, as far as we know."""
        return self.faults is None or f"{fault_id}|{device}" in self.faults


def render_reset_at(reset: ResetAt) -> str:
    """The annotation's text."""
    data: dict[str, Any] = {"time": rfc3339_micro(reset.time_ns), "boot": reset.boot_id}
    if reset.uptime_us is not None:
        data["uptime_us"] = reset.uptime_us
    if reset.log_ns:
        data["log"] = reset.log_ns
    if reset.faults is not None:
        data["faults"] = list(reset.faults)
    return json.dumps(data, separators=(",", ":"))


def parse_reset_at(text: str | None) -> ResetAt | None:
    """Read the annotation: our JSON or a bare RFC 3339 time; None for anything else."""
    if not text:
        return None
    try:
        if not text.startswith("{"):
            return ResetAt(parse_rfc3339(text.strip()))
        data = json.loads(text)
        uptime, faults = data.get("uptime_us"), data.get("faults")
        return ResetAt(
            time_ns=parse_rfc3339(data["time"]),
            boot_id=str(data.get("boot", "")),
            uptime_us=None if uptime is None else int(uptime),
            log_ns=int(data.get("log", 0)),
            faults=tuple(map(str, faults)) if isinstance(faults, list) else None,
        )
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def our_taints(view: NodeView, keys: Keys) -> tuple[Taint, ...]:
    """Taints with our key, whatever their effect and whoever put them there."""
    return tuple(taint for taint in view.taints if taint.key == keys.taint)


def damaged_ledger(keys: Keys) -> str:
    """Annotation that keeps a ledger which could not be read, until the next reset."""
    return keys.ledger_corrupt


def needs_reset(view: NodeView, keys: Keys) -> bool:
    """True for a node that carries our taint or a ledger."""
    return bool(our_taints(view, keys)) or view.ledger is not None


def plan_reset(view: NodeView, keys: Keys, now_ns: int) -> EditNode | None:
    """The edit that resets a node; None when the node carries nothing of ours."""
    if not needs_reset(view, keys):
        return None
    taints = our_taints(view, keys)
    ledger = _readable(view.ledger)
    uptimes = [
        record.uptime_us
        for record in ledger.records
        if record.uptime_us is not None and record.boot_id == view.boot_id
    ]
    reset_at = ResetAt(
        now_ns,
        view.boot_id,
        max(uptimes, default=None),
        max((record.log_ns for record in ledger.records), default=0),
        tuple(f"{record.fault_id}|{record.device}" for record in ledger.records),
    )
    removed = [f"taint {taint.key}={taint.value}:{taint.effect}" for taint in taints]
    if view.ledger is not None:
        count = len(ledger.records)
        removed.append(f"ledger ({count} record{'s' if count != 1 else ''})")
    return EditNode(
        node=view.name,
        basis=view,
        edit=NodeEdit(
            remove_taints=taints,
            annotations={
                keys.ledger: None,
                damaged_ledger(keys): None,
                keys.reset_at: render_reset_at(reset_at),
            },
            labels={keys.health: None},
        ),
        kind=EditKind.RESET,
        message="removed " + " and ".join(removed),
        evidence=tuple(f"{record.fault_id} {record.device}".strip() for record in ledger.records),
    )


def condition_after_reset(now_ns: int) -> Condition:
    """Our condition once an operator has vouched for the node."""
    return Condition("True", "Reset", f"reset by an operator at {rfc3339_micro(now_ns)}")


def _readable(text: str | None) -> Ledger:
    if text is None:
        return Ledger()
    try:
        return parse(text)
    except CorruptLedger:
        return Ledger()
