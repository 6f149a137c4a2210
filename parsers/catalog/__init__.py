"""What does a code mean when its line says nothing more? The fault tables, read from data.

``xid.json`` and ``sxid.json`` lie beside this module. Their severities follow the classes of
docs/concepts/severity.md; the driver's own word in a line outranks them (parsers.xid and
parsers.sxid). Invariant: a table that is loaded is complete and valid, or CatalogError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from parsers.fault import Remedy, Severity

_VERSION = 1
_TEXT_BOUND = 200


class CatalogError(ValueError):
    """A fault table is damaged: the message names the table, the entry and the field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One code. ``nonfatal`` is the severity when an SXid line prints Non-fatal."""

    code: int
    mnemonic: str
    meaning: str
    severity: Severity
    remedy: Remedy
    nonfatal: Severity = Severity.DEGRADED


@cache
def xids() -> Mapping[int, Entry]:
    """The Xid table, by code. Raises CatalogError when the data file is damaged."""
    return load("xids", _content("xid.json"))


@cache
def sxids() -> Mapping[int, Entry]:
    """The SXid table, by code. Raises CatalogError when the data file is damaged."""
    return load("sxids", _content("sxid.json"))


def load(table: str, content: str) -> Mapping[int, Entry]:
    """Decode and validate one table (``xids`` or ``sxids``). Raises CatalogError."""
    try:
        data = json.loads(content)
    except ValueError as error:
        raise CatalogError(f"{table}: not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise CatalogError(f"{table}: expected version {_VERSION}")
    rows = data.get(table)
    if not isinstance(rows, list) or not rows:
        raise CatalogError(f"{table}: expected a list of entries")
    entries: dict[int, Entry] = {}
    for row in rows:
        entry = _entry(table, row)
        if entry.code in entries:
            raise CatalogError(f"{table}: code {entry.code} twice")
        entries[entry.code] = entry
    return MappingProxyType(entries)


def _content(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _entry(table: str, row: Any) -> Entry:
    fields = {"code", "mnemonic", "meaning", "severity", "remedy"}
    if table == "sxids":
        fields.add("nonfatal")
    if not isinstance(row, dict) or set(row) != fields:
        raise CatalogError(f"{table}: an entry has exactly {sorted(fields)}: {str(row)[:80]}")
    code = row["code"]
    if not isinstance(code, int) or isinstance(code, bool) or code < 1:
        raise CatalogError(f"{table}: code {str(code)[:20]!r} is not a positive number")
    for name in ("mnemonic", "meaning"):
        text = row[name]
        if not isinstance(text, str) or not 0 < len(text) <= _TEXT_BOUND or not text.isprintable():
            raise CatalogError(f"{table}: code {code}: {name} is not a short printable text")
    try:
        return Entry(
            code=code,
            mnemonic=row["mnemonic"],
            meaning=row["meaning"],
            severity=Severity(row["severity"]),
            remedy=Remedy(row["remedy"]),
            nonfatal=Severity(row.get("nonfatal", Severity.DEGRADED.value)),
        )
    except ValueError as error:
        raise CatalogError(f"{table}: code {code}: {error}") from error
