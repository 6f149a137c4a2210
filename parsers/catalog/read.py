"""How does a fault table's text become entries? Decoded, completed from its class, validated.

Invariant: what is returned is complete and valid; otherwise CatalogError names table, entry and
field. A table is JSON: ``version``, and a list of rows under the table's name. ``words.json``
holds what rows refer to by key: classes, investigations and sources.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from parsers.catalog.entry import SCOPES, CatalogError, Entry, FaultClass
from parsers.fault import Remedy, Severity

VERSION = 2
TEXT_BOUND = 240

#: How the faults of a table are called; those without a code have their whole name in the row.
_PREFIX = {"xids": "xid", "sxids": "sxid", "others": "", "controller": ""}
_REQUIRED = frozenset({"mnemonic", "class", "meaning", "sources"})
_OPTIONAL = frozenset({
    "severity", "remedy", "nonfatal", "scope", "investigate", "alias", "vendor", "gpus", "guide",
    "prints", "repeats_on", "examples", "counter_examples",
})  # fmt: skip
_GUIDE = ("", "fatal", "always_fatal", "non_fatal", "notable")
_PRINTS = frozenset({"fatal", "non_fatal", "fatal_if_contained"})


@contextmanager
def named(table: str) -> Iterator[None]:
    """What is wrong with a row becomes a CatalogError that names the table."""
    try:
        yield
    except CatalogError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CatalogError(f"{table}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Words:
    """What the rows of all tables refer to by key."""

    classes: Mapping[str, FaultClass]
    investigations: Mapping[str, str]
    sources: Mapping[str, str]


def content(name: str) -> str:
    """The text of a data file beside this module."""
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read()


def decode(table: str, text: str) -> dict[str, Any]:
    """The JSON object of a data file. Raises CatalogError when it is damaged or of the future."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CatalogError(f"{table}: not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise CatalogError(f"{table}: expected version {VERSION}")
    return data


def rows(table: str, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table, each an object. Raises CatalogError."""
    found = data.get(table)
    if not isinstance(found, list) or not found or not all(isinstance(r, dict) for r in found):
        raise CatalogError(f"{table}: expected a list of entries")
    return found


@cache
def words() -> Words:
    """The shipped words. Raises CatalogError."""
    return load_words(content("words.json"))


def load_words(text: str) -> Words:
    """Decode and validate the words. Raises CatalogError."""
    data = decode("words", text)
    with named("words"):
        classes = {
            name: FaultClass(
                name=name,
                severity=Severity(row["severity"]),
                remedy=Remedy(row["remedy"]),
                nonfatal=Severity(row["nonfatal"]),
                scope=row["scope"],
                investigate=row["investigate"],
                action=_text(row, "action"),
            )
            for name, row in data["classes"].items()
        }
        known = data["investigations"]
        if odd := {each.investigate for each in classes.values()} - known.keys():
            raise CatalogError(f"words: no such investigation: {', '.join(sorted(odd))}")
        return Words(classes, known, data["sources"])


def entries(table: str, text: str) -> dict[str, Entry]:
    """Entries of a table (a key of ``_PREFIX``) by fault id. Raises CatalogError."""
    known = words()
    found: dict[str, Entry] = {}
    for row in rows(table, decode(table, text)):
        fault_id, code = _name(table, row)
        try:
            entry = _entry(fault_id, code, row, known)
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogError(f"{table}: {fault_id}: {error}") from error
        if fault_id in found:
            raise CatalogError(f"{table}: {fault_id} twice")
        found[fault_id] = entry
    return found


def _name(table: str, row: Mapping[str, Any]) -> tuple[str, int]:
    prefix = _PREFIX[table]
    if not prefix:
        fault_id = row.get("fault_id")
        if not isinstance(fault_id, str) or "/" not in fault_id:
            raise CatalogError(f"{table}: an entry without fault_id: {str(row)[:80]}")
        return fault_id, 0
    code = row.get("code")
    if not isinstance(code, int) or isinstance(code, bool) or code < 1:
        raise CatalogError(f"{table}: code {str(code)[:20]!r} is not a positive number")
    return f"{prefix}/{code}", code


def _entry(fault_id: str, code: int, row: Mapping[str, Any], known: Words) -> Entry:
    fields = row.keys() - {"code" if code else "fault_id"}
    if odd := (_REQUIRED - fields) | (fields - _REQUIRED - _OPTIONAL):
        raise ValueError(f"missing or unknown: {', '.join(sorted(odd))}")
    group = known.classes[row["class"]]
    entry = Entry(
        fault_id=fault_id,
        code=code,
        mnemonic=_text(row, "mnemonic"),
        meaning=_text(row, "meaning"),
        severity=Severity(row["severity"]) if "severity" in row else group.severity,
        remedy=Remedy(row["remedy"]) if "remedy" in row else group.remedy,
        nonfatal=Severity(row["nonfatal"]) if "nonfatal" in row else group.nonfatal,
        fault_class=group.name,
        action=group.action,
        scope=row.get("scope", group.scope),
        investigation=known.investigations[row.get("investigate", group.investigate)],
        sources=tuple(known.sources[key] for key in row["sources"]),
        alias=row.get("alias", ""),
        vendor=_texts(row, "vendor"),
        gpus=_texts(row, "gpus"),
        guide=row.get("guide", ""),
        prints=_texts(row, "prints"),
        repeats_on=_texts(row, "repeats_on"),
        examples=_texts(row, "examples"),
        counter_examples=_texts(row, "counter_examples"),
    )
    if (
        entry.scope not in SCOPES
        or entry.guide not in _GUIDE
        or not _PRINTS.issuperset(entry.prints)
    ):
        raise ValueError("scope, guide or prints is not one of the known words")
    if not entry.sources:
        raise ValueError("no source")
    return entry


def _text(row: Mapping[str, Any], name: str) -> str:
    return _short(row[name], name)


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    if name not in row:
        return ()
    if not isinstance(row[name], list):
        raise TypeError(f"{name} is not a list")
    return tuple(_short(each, name) for each in row[name])


def _short(text: object, name: str) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= TEXT_BOUND or not text.isprintable():
        raise ValueError(f"{name} is not a short printable text")
    return text
