"""Which surges does the controller's stored state tell of?

What is read is made printable and bounded here: whoever may write ConfigMaps may have written it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from konduktor_health.cli.times import when
from parsers.printable import printable

KEY = "surges"  # of the state: fault id -> since, last, scope, released
MOST = 32  # surges that are told
WORD_LIMIT = 128
_TIMES = range(2**63)


@dataclass(frozen=True, slots=True)
class SurgeTold:
    """A fault that many nodes show at once: it is held everywhere in its scope, or let act."""

    fault_id: str
    scope: str  # where: the fleet, a pool, a driver version
    since_ns: int
    last_ns: int  # the newest node that joined
    released: bool  # an operator lets it act


def surges_of(state: Mapping[str, Any]) -> tuple[SurgeTold, ...]:
    """The surges of a stored state, the oldest first; what is damaged is left out."""
    stored = state.get(KEY)
    found = []
    for fault_id, told in stored.items() if isinstance(stored, dict) else ():
        if isinstance(told, dict) and (name := printable(str(fault_id), WORD_LIMIT)):
            found.append(
                SurgeTold(
                    name,
                    printable(str(told.get("scope") or ""), WORD_LIMIT),
                    _time(told.get("since")),
                    _time(told.get("last")),
                    told.get("released") is True,
                )
            )
    found.sort(key=lambda each: (each.since_ns, each.fault_id))
    return tuple(found[:MOST])


def surge_text(surge: SurgeTold) -> str:
    """One surge in a few words."""
    since = when(surge.since_ns)
    text = f"surge of {surge.fault_id}"
    if surge.scope:
        text += f" in {surge.scope}"
    if since:
        text += f" since {since[:19]}Z"
    return f"{text}, {'released: it acts' if surge.released else 'held'}"


def surge_as_json(surge: SurgeTold) -> dict[str, Any]:
    """One surge as JSON (docs/reference/node-json.md)."""
    return {
        "fault_id": surge.fault_id,
        "scope": surge.scope or None,
        "since": when(surge.since_ns),
        "last": when(surge.last_ns),
        "released": surge.released,
    }


def _time(value: object) -> int:
    return value if type(value) is int and value in _TIMES else 0
