"""What does a fault mean when its line says nothing more? The fault tables, read from data.

The tables lie beside this module as JSON and are read when first asked for:

====================  ==========================================================
``xids``, ``sxids``   entries by code
``uncoded``           entries of faults without a code, by fault id: ``others``, and the rules
``controller``        entries of faults that no line tells, by fault id
``relations``         what clears, explains, follows or counts with what
``directives``        values of Xid 154
``registers``         bits of Xid 74
``nvlink_rules``      units of Xid 144 to 150
====================  ==========================================================

Severities follow the classes of docs/concepts/severity.md; the driver's own word in a line
outranks them (parsers.xid, parsers.sxid). Invariant: a table that is loaded is complete and
valid, or CatalogError.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from parsers.catalog import read
from parsers.catalog.entry import CatalogError, Entry, FaultClass
from parsers.catalog.relations import Relation, related

if TYPE_CHECKING:
    from parsers.catalog.rules import Directive, RegisterBit, Unit

__all__ = [
    "CatalogError",
    "Entry",
    "FaultClass",
    "Relation",
    "controller",
    "directives",
    "entry",
    "load",
    "nearest",
    "nvlink_rules",
    "others",
    "registers",
    "relations",
    "sxids",
    "uncoded",
    "xids",
]


@cache
def xids() -> Mapping[int, Entry]:
    """The Xid table, by code. Raises CatalogError when the data file is damaged."""
    return load("xids", read.content("xid.json"))


@cache
def sxids() -> Mapping[int, Entry]:
    """The SXid table, by code. Raises CatalogError when the data file is damaged."""
    return load("sxids", read.content("sxid.json"))


@cache
def others() -> Mapping[str, Entry]:
    """Faults that neither a code nor a rule names. Raises CatalogError for a damaged data file."""
    return MappingProxyType(read.entries("others", read.content("other.json")))


@cache
def controller() -> Mapping[str, Entry]:
    """Faults that the controller finds by itself. Raises CatalogError for a damaged data file."""
    return MappingProxyType(read.entries("controller", read.content("controller.json")))


@cache
def uncoded() -> Mapping[str, Entry]:
    """Faults of lines without a code, by fault id. Raises CatalogError for a damaged data file."""
    from parsers.catalog import ruled  # reads a hundred rules: only when they are asked for

    return MappingProxyType({**others(), **ruled.entries()})


def load(table: str, text: str) -> Mapping[int, Entry]:
    """Decode and validate a table of codes (``xids`` or ``sxids``). Raises CatalogError."""
    return MappingProxyType({each.code: each for each in read.entries(table, text).values()})


def entry(fault_id: str) -> Entry | None:
    """The entry of a fault id (``xid/79``, ``sxid/12028``, ``kernel/xfs-shutdown``), or None."""
    kind, _, name = fault_id.partition("/")
    if kind in ("xid", "sxid"):
        if not (name.isascii() and name.isdigit() and len(name) <= 10):
            return None
        return (xids() if kind == "xid" else sxids()).get(int(name))
    return uncoded().get(fault_id) or controller().get(fault_id)


def nearest(fault_id: str) -> list[str]:
    """Fault ids without a code that this may be a slip of the pen for, likeliest first."""
    from difflib import get_close_matches

    asked, known = fault_id[:80], [*uncoded(), *controller()]
    begun = [each for each in known if len(asked) > len("kernel/") and each.startswith(asked)]
    return [*begun, *get_close_matches(asked, known, n=3, cutoff=0.75)][:3]


def relations(fault_id: str) -> tuple[Relation, ...]:
    """How a fault relates to others; read from either end."""
    return related(fault_id)


def directives() -> Mapping[int, Directive]:
    """Directives of Xid 154, by value. Raises CatalogError."""
    from parsers.catalog import rules  # its classes cost a tenth of the import of the parsers

    return rules.directives()


def registers() -> Mapping[int, tuple[RegisterBit, ...]]:
    """Known bits of Xid 74, by register (1 to 7), worst first. Raises CatalogError."""
    from parsers.catalog import rules

    return rules.registers()


def nvlink_rules() -> tuple[Unit, ...]:
    """Units of Xid 144 to 150 with their rules. Raises CatalogError."""
    from parsers.catalog import rules

    return rules.nvlink_rules()
