"""What does an operator's reset change on a node, and what does it mean for later faults?

Only nodes that carry our taint or a ledger are touched. The ledger goes, every taint with our
key goes (adopted ones too), and ``reset-at`` says which faults are history from now on. A hold
and a declared maintenance are a person's word about the future: they stay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from konduktor_health.core.declared import describe_declared, parse_declared
from konduktor_health.core.ledger import CorruptLedger, Ledger, parse
from konduktor_health.frozen import replace
from konduktor_health.model import (
    Condition,
    EditKind,
    EditNode,
    Fault,
    Keys,
    NodeEdit,
    NodeView,
    Taint,
)
from konduktor_health.timestamps import NS, parse_rfc3339, rfc3339_micro

#: Earlier resets are remembered while the log is read again (6 hours), and an hour longer,
EARLIER_NS = 7 * 3600 * NS
#: but no more of them, and with no more faults in all: an annotation is small.
MOST_EARLIER = 32
MOST_EARLIER_FAULTS = 256


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
    earlier: tuple[ResetAt, ...] = ()  # resets before this one, newest first

    def covers(self, fault: Fault, boot_id: str) -> bool:
        """The line is not newer than what the ledger had counted. ``boot_id`` is the line's."""
        same_boot = bool(self.boot_id) and boot_id == self.boot_id
        if same_boot and fault.uptime_us is not None and self.uptime_us is not None:
            return fault.uptime_us <= self.uptime_us
        return fault.time_ns <= self.log_ns

    def knew(self, fault: Fault, boot_id: str) -> bool:
        """This line was in a ledger that was reset, now or before, as far as we know."""
        name = f"{fault.fault_id}|{fault.device}"
        return any(
            (each.faults is None or name in each.faults) and each.covers(fault, boot_id)
            for each in (self, *self.earlier)
        )


def render_reset_at(reset: ResetAt) -> str:
    """The annotation's text."""
    return json.dumps(_to_json(reset), separators=(",", ":"))


def _to_json(reset: ResetAt) -> dict[str, Any]:
    data: dict[str, Any] = {"time": rfc3339_micro(reset.time_ns), "boot": reset.boot_id}
    if reset.uptime_us is not None:
        data["uptime_us"] = reset.uptime_us
    if reset.log_ns:
        data["log"] = reset.log_ns
    if reset.faults is not None:
        data["faults"] = list(reset.faults)
    if reset.earlier:
        data["earlier"] = [_to_json(each) for each in reset.earlier]
    return data


@lru_cache(maxsize=1024)  # a node keeps its own for good
def parse_reset_at(text: str | None) -> ResetAt | None:
    """Read the annotation: our JSON or a bare RFC 3339 time; None for anything else."""
    if not text:
        return None
    try:
        if not text.startswith("{"):
            return ResetAt(parse_rfc3339(text.strip()))
        data = json.loads(text)
        earlier = tuple(_from_json(each) for each in data.get("earlier", ())[:MOST_EARLIER])
        return replace(_from_json(data), earlier=earlier)
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _from_json(data: Any) -> ResetAt:
    uptime, faults = data.get("uptime_us"), data.get("faults")
    return ResetAt(
        time_ns=parse_rfc3339(data["time"]),
        boot_id=str(data.get("boot", "")),
        uptime_us=None if uptime is None else int(uptime),
        log_ns=int(data.get("log", 0)),
        faults=tuple(map(str, faults)) if isinstance(faults, list) else None,
    )


def _still_worth_knowing(before: ResetAt | None, now_ns: int) -> tuple[ResetAt, ...]:
    """Earlier resets whose lines may be read again."""
    if before is None:
        return ()
    kept: list[ResetAt] = []
    faults = 0
    for each in (replace(before, earlier=()), *before.earlier):
        faults += len(each.faults or ())
        late = not 0 <= now_ns - each.time_ns <= EARLIER_NS
        if late or len(kept) == MOST_EARLIER or faults > MOST_EARLIER_FAULTS:
            break
        if each.faults != ():
            kept.append(each)
    return tuple(kept)


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
        _still_worth_knowing(parse_reset_at(view.reset_at), now_ns),
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


def declared_left(view: NodeView) -> tuple[str, ...]:
    """What a reset leaves of an operator's, in words."""
    declared = (("hold", view.hold), ("maintenance", view.maintenance))
    return tuple(
        f"{name} {describe_declared(found)}"
        for name, text in declared
        if (found := parse_declared(text)) is not None
    )


def _readable(text: str | None) -> Ledger:
    if text is None:
        return Ledger()
    try:
        return parse(text)
    except CorruptLedger:
        return Ledger()
