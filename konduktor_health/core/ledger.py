"""How is a ledger written down? Text of the annotation <-> ``core.record.Ledger``.

Invariants:
- ``parse(render(ledger)) == ledger`` as long as the ledger fits MAX_BYTES; beyond that texts
  are cut, then history goes (what only faded away, then the oldest), then the least severe,
  latest opened records, and ``dropped`` says how many at least.
- A text of a later version is read if that version says so (``reads``); what it has beside our
  fields is kept and written again, so that going back a version loses nothing.
- Anything else is CorruptLedger, never another error: people edit annotations by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import accumulate
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any

from konduktor_health.core.ledger_json import (
    VERSION,
    dumps,
    from_json,
    past_to_json,
    record_to_json,
    to_json,
)
from konduktor_health.core.record import (
    Ledger,
    Past,
    Record,
    merge,
    open_record,
    worst_first,
    worth_most,
)
from konduktor_health.frozen import replace

__all__ = [
    "MAX_BYTES",
    "CorruptLedger",
    "Ledger",
    "LedgerText",
    "Past",
    "Record",
    "Writes",
    "fitted",
    "merge",
    "open_record",
    "parse",
    "render",
    "worst_first",
    "written",
]

MAX_BYTES = 16 * 1024  # docs/reference/keys.md
MAX_HISTORY = 32
TEXT_LIMIT_CROWDED = 64  # of a ledger that would not fit otherwise
CROWDED_EPISODES = 4
PARSED = 1024  # texts whose ledgers are kept: decisions read the same ones again and again
_BARE = 640  # bytes of names, numbers and signs of a ledger or a record, at most
_BARE_PAST = 320  # the same of a cleared one
_ITEM = 64  # the same of an item of a list


_TEXTS = attrgetter(
    "device", "fault_id", "boot_id", "identity", "why", "source", "text", "rule", "effect", "root"
)
_PAST_TEXTS = attrgetter("device", "fault_id", "boot_id", "identity")


class CorruptLedger(ValueError):
    """The annotation is not a ledger that this version can read."""


class LedgerText(str):
    """The text of an annotation, and what it says: it is not read again where it comes back as it
    is. ``says`` is what ``parse`` would make of the plain text (property-tested)."""

    __slots__ = ("says",)
    says: Ledger

    @classmethod
    def of(cls, text: str, ledger: Ledger) -> LedgerText:
        """This text, which says that."""
        made = cls(text)
        made.says = ledger
        return made


#: How the ledger of an edit becomes text: ``written``, or what is read by ``parse`` alone.
Writes = Callable[[Ledger], LedgerText]


def render(ledger: Ledger) -> str:
    """The annotation's text: compact JSON, at most MAX_BYTES."""
    return dumps(to_json(fitted(ledger)))


def written(ledger: Ledger) -> LedgerText:
    """As ``render``, for a text that is put on a Node: the decision that follows the write is on
    this very text."""
    kept = fitted(ledger)
    return LedgerText.of(dumps(to_json(kept)), kept)


def fitted(ledger: Ledger) -> Ledger:
    """What of the ledger the annotation can hold: itself, if it fits."""
    if _at_most(ledger) <= MAX_BYTES and len(ledger.history) <= MAX_HISTORY:
        return ledger
    bare = replace(ledger, records=(), history=(), dropped=10**9)
    room = MAX_BYTES - len(dumps(to_json(bare)))
    history = worth_most(ledger.history, MAX_HISTORY)
    past_sizes = [len(dumps(past_to_json(past))) + 1 for past in history]
    for crowded in (False, True):
        records = tuple(map(_shortened, ledger.records)) if crowded else ledger.records
        sizes = [len(dumps(record_to_json(record))) + 1 for record in records]
        if sum(sizes) + sum(past_sizes) <= room:
            return replace(ledger, records=records, history=history)
    fits = sum(1 for total in accumulate(sizes) if total <= room)
    left = room - sum(sizes[:fits])
    while history and sum(past_sizes) > left:
        history = worth_most(history, len(history) - 1)
        past_sizes = [len(dumps(past_to_json(past))) + 1 for past in history]
    # Those left out before may be the ones that are seen again: the count is the least there are.
    dropped = max(ledger.dropped, len(records) - fits)
    return replace(ledger, records=records[:fits], history=history, dropped=dropped)


def _at_most(ledger: Ledger) -> int:
    """More bytes than the text can have, without writing it: most ledgers are far smaller than
    what fits. Texts are escaped as JSON escapes them, all at once."""
    records, history = ledger.records, ledger.history
    texts: list[str] = [ledger.uid, ledger.boot_id, *ledger.owned]
    pairs = [*ledger.extra]
    items = len(ledger.owned)
    for record in records:
        texts += _TEXTS(record)
        texts += [owner for _, owner, _ in record.episodes]
        texts += [each.name for each in record.passes]
        texts += [each.what for each in record.missing]
        pairs += [pair for place in (*record.places, record.extra) for pair in place]
        items += 2 * len(record.episodes) + len(record.places) + len(record.repairs)
        items += 2 * len(record.passes) + len(record.missing)
    for past in history:
        texts += _PAST_TEXTS(past)
    for pair in pairs:
        texts += pair
    size = _BARE * (1 + len(records)) + _BARE_PAST * len(history) + _ITEM * (items + len(pairs))
    return size + len(encode_basestring_ascii("".join(texts)))


def _shortened(record: Record) -> Record:
    """Without what can be had again, or is not needed to decide."""
    return replace(
        record,
        text=record.text[:TEXT_LIMIT_CROWDED],
        missing=(),
        episodes=record.episodes[-CROWDED_EPISODES:],
    )


def parse(text: str) -> Ledger:
    """Read the annotation; ledgers of the texts that were read last are kept. Raises CorruptLedger
    for anything that this version cannot read."""
    return text.says if isinstance(text, LedgerText) else _parsed(text)


@lru_cache(maxsize=PARSED)
def _parsed(text: str) -> Ledger:
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or not _readable(data):
            raise CorruptLedger(f"not a ledger that version {VERSION} reads")
        return from_json(data)
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise CorruptLedger(f"ledger: {str(error)[:120]}") from error
    except RecursionError as error:
        raise CorruptLedger("ledger: nested too deeply") from error


def _readable(data: Mapping[str, Any]) -> bool:
    version = data.get("v")
    if type(version) is not int or version < 1:
        return False
    return version == VERSION or (version > VERSION and data.get("reads") == VERSION)
