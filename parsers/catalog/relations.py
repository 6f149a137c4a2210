"""How do faults relate? Each pair is written once in ``relations.json`` and read from both ends.

A later layer that counts, or that clears, asks here; nothing is derived from texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from parsers.catalog.entry import CatalogError
from parsers.catalog.read import content, decode

#: Name of a relation, and of the same seen from the other end.
INVERSE = {
    "clears": "cleared_by",
    "secondary_to": "explains",
    "followed_by": "follows",
    "counts_with": "counts_with",
    "same_event": "same_event",  # one happening told twice, of one device
    "companion_of": "accompanied_by",  # told beside it, of any device of the node
}


@dataclass(frozen=True, slots=True)
class Relation:
    """``kind`` reads from the asked fault to ``fault_id``: it <kind> that."""

    kind: str
    fault_id: str


def related(fault_id: str) -> tuple[Relation, ...]:
    """Relations of a fault, in the order of the table. Raises CatalogError."""
    return _table().get(fault_id, ())


@cache
def _table() -> dict[str, tuple[Relation, ...]]:
    data = decode("relations", content("relations.json"))
    found: dict[str, list[Relation]] = {}
    for kind, inverse in INVERSE.items():
        for group in data.get(kind, ()):
            if not isinstance(group, list) or len(group) < 2:
                raise CatalogError(f"relations: {kind}: not a group of fault ids: {group!r}")
            pairs = (
                [(a, b) for a in group for b in group if a != b]
                if kind == inverse
                else [(group[0], each) for each in group[1:]]
            )
            for a, b in pairs:
                found.setdefault(a, []).append(Relation(kind, b))
                if kind != inverse:
                    found.setdefault(b, []).append(Relation(inverse, a))
    return {fault_id: tuple(each) for fault_id, each in found.items()}
