"""Which surges does an operator let act? What `resume` asks, and what becomes of it.

The request names each surge as the controller has stored it: fault id, scope, name, and when it
began. So it is good for exactly these: read twice it changes nothing more, and one that comes too
late releases no later surge. It is an annotation of the controller's ConfigMap, because the
controller replaces the data of that object and keeps its annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from konduktor_health.core.surge import MAX_SURGES
from konduktor_health.frozen import replace
from konduktor_health.model import Scope, Surge
from parsers.printable import printable

Named = tuple[str, Scope, str, int]  # fault id, scope, name, since_ns
NAME_LIMIT = 400
_TIMES = range(2**63)


def name_of(surge: Surge) -> Named:
    """What tells this surge from all others, those before and after it too."""
    return (*surge.key, surge.since_ns)


def render_request(named: Iterable[Named]) -> str:
    """The annotation's text."""
    wanted = sorted(set(named), key=lambda each: (each[0], each[1].value, *each[2:]))
    rows = [[fault, scope.value, name, since] for fault, scope, name, since in wanted]
    return json.dumps({"surges": rows[:MAX_SURGES]}, separators=(",", ":"))


def parse_request(text: str | None) -> frozenset[Named]:
    """What the annotation asks for. What cannot be read asks for nothing."""
    try:
        rows = json.loads(text)["surges"] if text else []
        return frozenset(
            (str(fault), Scope(scope), str(name), int(since))
            for fault, scope, name, since in rows[:MAX_SURGES]
        )
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return frozenset()


def released(surges: Iterable[Surge], named: frozenset[Named], now_ns: int) -> tuple[Surge, ...]:
    """The surges once those named are let act; one that has been keeps its time."""
    return tuple(
        replace(each, released_ns=now_ns)
        if not each.released_ns and name_of(each) in named
        else each
        for each in surges
    )


def render_surges(surges: Iterable[Surge]) -> list[dict[str, Any]]:
    """As the state ConfigMap keeps them."""
    return [
        {
            "fault": each.fault_id,
            "scope": each.scope.value,
            "name": each.name,
            "since": each.since_ns,
            "last": each.last_ns,
            "nodes": each.nodes,
            "released": each.released_ns,
        }
        for each in surges
    ]


def parse_surges(stored: object) -> tuple[Surge, ...]:
    """What the state ConfigMap keeps; entries that cannot be read are left out."""
    rows = stored if isinstance(stored, list) else []
    return tuple(found for row in rows[:MAX_SURGES] if (found := _surge(row)) is not None)


def _surge(row: object) -> Surge | None:
    if not isinstance(row, Mapping):
        return None
    try:
        return Surge(
            printable(str(row["fault"]), NAME_LIMIT),
            Scope(row["scope"]),
            printable(str(row["name"]), NAME_LIMIT),
            _number(row["since"]),
            _number(row["last"]),
            _number(row.get("nodes", 0)),
            _number(row.get("released", 0)),
        )
    except (ArithmeticError, LookupError, ValueError, TypeError):
        return None


def _number(value: Any) -> int:
    number = int(value)
    if number not in _TIMES:
        raise ValueError("a number out of range")
    return number
