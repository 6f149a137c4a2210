"""What do the values inside a line ask for? Xid 154, the registers of 74, the units of 144-150.

Read from ``xid154.json``, ``xid74.json`` and ``nvlink5.json``. How a line is matched against
these rules: parsers.nvlink4 and parsers.nvlink5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from parsers.catalog.entry import CatalogError
from parsers.catalog.read import content, decode, named, rows
from parsers.fault import Remedy, Severity


@dataclass(frozen=True, slots=True)
class Directive:
    """A value of Xid 154: what the driver orders."""

    value: int
    text: str  # as the driver prints it
    severity: Severity
    remedy: Remedy
    meaning: str


@dataclass(frozen=True, slots=True)
class RegisterBit:
    """A bit of the seven words of Xid 74 (registers from 1, bits from 0)."""

    register: int
    bit: int
    kind: str
    asks: str
    rank: int  # 0 is the worst kind
    harmless: bool  # with such bits alone there is nothing to do, whatever the word
    remedy: Remedy  # when the line's word is fatal


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule of Xid 144 to 150 asks for."""

    name: str  # reset, follow, ignore
    severity: Severity
    remedy: Remedy
    meaning: str


@dataclass(frozen=True, slots=True)
class UnitRule:
    """One row: a status bit, a status value or a sub-reason, and what follows."""

    match: int | None  # None: any status
    action: Action
    promoted: Action | None  # instead of ``action`` when the intrinfo has the promoting bit
    look: str  # what to look at next
    word: str  # the word that the driver is said to print: fatal or nonfatal


@dataclass(frozen=True, slots=True)
class Unit:
    """The rules of one unit. ``v1`` and ``v2`` are its numbers in the two intrinfo layouts."""

    xid: int
    names: frozenset[str]  # in lower case; a line prints one or several of them
    title: str
    v1: int
    v2: int
    by: str  # what is matched: bits, value, reason, any
    promoting_v1: int  # mask of the promoting bit in layout 1; 0: none
    promoting_v2: int
    rules: tuple[UnitRule, ...]


@cache
def directives() -> Mapping[int, Directive]:
    """Directives of Xid 154, by value. Raises CatalogError."""
    return load_directives(content("xid154.json"))


@cache
def registers() -> Mapping[int, tuple[RegisterBit, ...]]:
    """Known bits of Xid 74, by register (1 to 7), worst first. Raises CatalogError."""
    return load_registers(content("xid74.json"))


@cache
def nvlink_rules() -> tuple[Unit, ...]:
    """Units of Xid 144 to 150 with their rules. Raises CatalogError."""
    return load_nvlink_rules(content("nvlink5.json"))


def load_directives(text: str) -> Mapping[int, Directive]:
    """Decode and validate the directives. Raises CatalogError."""
    data = decode("directives", text)
    with named("directives"):
        found = [
            Directive(
                value=int(row["value"]),
                text=row["text"],
                severity=Severity(row["severity"]),
                remedy=Remedy(row["remedy"]),
                meaning=row["meaning"],
            )
            for row in rows("directives", data)
        ]
    return MappingProxyType({each.value: each for each in found})


def load_registers(text: str) -> Mapping[int, tuple[RegisterBit, ...]]:
    """Decode and validate the register bits. Raises CatalogError."""
    data = decode("registers", text)
    with named("registers"):
        kinds = {kind["name"]: (rank, kind) for rank, kind in enumerate(rows("kinds", data))}
        found: dict[int, list[RegisterBit]] = {}
        for row in rows("registers", data):
            for bit in row["bits"]:
                known = _register_bit(row["register"], bit, *kinds[row["kind"]])
                found.setdefault(known.register, []).append(known)
    return MappingProxyType(
        {n: tuple(sorted(bits, key=lambda b: (b.rank, b.bit))) for n, bits in found.items()}
    )


def _register_bit(register: int, bit: int, rank: int, kind: Mapping[str, Any]) -> RegisterBit:
    if not (1 <= register <= 7 and 0 <= bit < 32):
        raise CatalogError(f"registers: no such bit: {register}.{bit}")
    return RegisterBit(
        register=register,
        bit=bit,
        kind=kind["name"],
        asks=kind["asks"],
        rank=rank,
        harmless=kind["harmless"],
        remedy=Remedy(kind["remedy"]),
    )


def load_nvlink_rules(text: str) -> tuple[Unit, ...]:
    """Decode and validate the units. Raises CatalogError."""
    data = decode("units", text)
    with named("units"):
        actions = {
            name: Action(name, Severity(row["severity"]), Remedy(row["remedy"]), row["meaning"])
            for name, row in data["actions"].items()
        }
        return tuple(_unit(row, actions, data["looks"]) for row in rows("units", data))


def _unit(row: Mapping[str, Any], actions: Mapping[str, Action], looks: Mapping[str, str]) -> Unit:
    if row["by"] not in ("bits", "value", "reason", "any"):
        raise CatalogError(f"units: {row['units']}: by {row['by']!r}")
    promoting = row.get("promoted_by")
    return Unit(
        xid=row["xid"],
        names=frozenset(name.lower() for name in row["units"]),
        title="/".join(row["units"]),
        v1=int(row["v1"], 16),
        v2=int(row["v2"], 16),
        by=row["by"],
        promoting_v1=1 << promoting["v1"] if promoting else 0,
        promoting_v2=1 << promoting["v2"] if promoting else 0,
        rules=tuple(
            UnitRule(
                match=int(rule["match"], 0) if "match" in rule else None,
                action=actions[rule["action"]],
                promoted=actions[rule["promoted"]] if "promoted" in rule else None,
                look=looks[rule["look"]],
                word=rule["word"],
            )
            for rule in row["rules"]
        ),
    )
