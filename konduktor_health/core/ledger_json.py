"""How is a ledger JSON? ``core.record.Ledger`` <-> what ``json`` reads and writes.

Fields that this version does not know are kept, within bounds, and written again, so that going
back a version loses nothing. Reading raises what a wrong shape raises; ``core.ledger`` calls it
damage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from konduktor_health.core.record import (
    TEXT_LIMIT,
    Episode,
    Ledger,
    Missing,
    Passes,
    Past,
    Record,
)
from konduktor_health.model import Remedy, Severity, Trust
from konduktor_health.treatment import Repair

VERSION = 1
_MAX_EXTRA = 1024  # bytes of fields that we do not know, per ledger and per record
_TIMES = range(2**63)
_COMPACT = json.JSONEncoder(separators=(",", ":"))  # ``json.dumps`` makes one for each call
T = TypeVar("T")


def _bounded(count: int) -> int:
    """So that what we write can be read, whatever somebody has written there before."""
    return min(count, _TIMES[-1])


def _list(value: Any) -> list[Any]:
    """A text has elements too, but a list of its letters is nobody's intention."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def dumps(data: Mapping[str, Any]) -> str:
    """Compact JSON."""
    return _COMPACT.encode(data)


def _number(value: Any) -> int:
    """A time or a count. Numbers that no clock shows would break arithmetic far from here."""
    number = int(value)
    if number not in _TIMES:
        raise ValueError("a number out of range")
    return number


def _extra(data: Mapping[str, Any], known: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Fields that this version does not know, as JSON, within bounds."""
    kept: list[tuple[str, str]] = []
    size = 0
    for name in sorted(data.keys() - known):
        text = dumps(data[name])
        size += len(name) + len(text)
        if size > _MAX_EXTRA:
            break
        kept.append((name, text))
    return tuple(kept)


def _set(data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Add the fields that say something."""
    data.update({name: value for name, value in fields.items() if value})
    return data


def to_json(ledger: Ledger) -> dict[str, Any]:
    """A ledger."""
    data: dict[str, Any] = {
        "v": VERSION,
        "uid": ledger.uid,
        "boot": ledger.boot_id,
        "written": ledger.written_ns,
        "since": ledger.since_ns,
        "owned": list(ledger.owned),
        "records": [record_to_json(record) for record in ledger.records],
    }
    _set(
        data,
        tainted=ledger.tainted_ns,
        removed=ledger.removed_ns,
        dropped=ledger.dropped,
        rebooted=ledger.rebooted_ns,
        noticed=ledger.noticed_ns,
        soft=ledger.soft,
        history=[past_to_json(past) for past in ledger.history],
    )
    return {name: json.loads(text) for name, text in ledger.extra} | data


def record_to_json(record: Record) -> dict[str, Any]:
    """A record."""
    data: dict[str, Any] = {
        "device": record.device,
        "fault": record.fault_id,
        "severity": record.severity.value,
        "remedy": record.remedy.value,
        "first": record.first_ns,
        "last": record.last_ns,
        "count": _bounded(record.count),
        "log": record.log_ns,
        "boot": record.boot_id,
        "id": record.identity,
        "trust": record.trust.value,
        "source": record.source,
        "text": record.text,
    }
    if record.uptime_us is not None:
        data["uptime"] = record.uptime_us
    if not record.acting:
        data["visible_only"] = record.why or True
    _set(
        data,
        why=record.why if record.acting else "",
        injected=record.injected,
        rule=record.rule,
        reached=record.reached,
        effect=record.effect,
        episodes=[_episode_to_json(episode) for episode in record.episodes],
        places=[dict(place) for place in record.places],
        repairs={repair.value: time_ns for repair, time_ns in record.repairs},
        passes={each.name: [each.count, each.newest_ns, each.since_ns] for each in record.passes},
        missing={each.what: each.since_ns for each in record.missing},
        attempts=_bounded(record.attempts),
        flaps=record.flaps,
        root=record.root,
        guessed=record.guessed,
    )
    return {name: json.loads(text) for name, text in record.extra} | data


def past_to_json(past: Past) -> dict[str, Any]:
    """What was cleared."""
    data: dict[str, Any] = {
        "device": past.device,
        "fault": past.fault_id,
        "last": past.last_ns,
        "cleared": past.cleared_ns,
        "log": past.log_ns,
        "boot": past.boot_id,
        "id": past.identity,
        "times": _bounded(past.times),
    }
    if past.uptime_us is not None:
        data["uptime"] = past.uptime_us
    return _set(
        data,
        repaired=past.repaired_ns,
        attempts=_bounded(past.attempts),
        count=_bounded(past.count),
        shown=past.shown,
    )


def from_json(data: Mapping[str, Any]) -> Ledger:
    """A ledger of what was read. Raises what a wrong shape raises."""
    return Ledger(
        uid=str(data["uid"]),
        boot_id=str(data["boot"]),
        written_ns=_number(data["written"]),
        since_ns=_number(data["since"]),
        owned=tuple(str(effect) for effect in _list(data["owned"])),
        tainted_ns=_number(data.get("tainted", 0)),
        removed_ns=_number(data.get("removed", 0)),
        dropped=_number(data.get("dropped", 0)),
        rebooted_ns=_number(data.get("rebooted", 0)),
        noticed_ns=_number(data.get("noticed", 0)),
        soft=bool(data.get("soft", False)),
        records=tuple(_record_from_json(record) for record in data["records"]),
        history=tuple(_past_from_json(past) for past in data.get("history", ())),
        extra=_extra(data, _LEDGER_FIELDS),
    )


def _record_from_json(data: Mapping[str, Any]) -> Record:
    visible_only = data.get("visible_only", False)
    return Record(
        device=str(data["device"]),
        fault_id=str(data["fault"]),
        severity=Severity(data["severity"]),
        remedy=Remedy(data["remedy"]),
        first_ns=_number(data["first"]),
        last_ns=_number(data["last"]),
        count=_number(data["count"]),
        log_ns=_number(data["log"]),
        uptime_us=_number(data["uptime"]) if "uptime" in data else None,
        boot_id=str(data["boot"]),
        identity=str(data["id"]),
        acting=not visible_only,
        why=str((not visible_only and data.get("why")) or _word(visible_only)),
        injected=bool(data.get("injected", False)),
        trust=Trust(data["trust"]),
        source=str(data["source"]),
        text=str(data["text"])[:TEXT_LIMIT],
        rule=str(data.get("rule", "")),
        reached=bool(data.get("reached", False)),
        effect=str(data.get("effect", "")),
        episodes=tuple(_episode(*each) for each in data.get("episodes", ())),
        places=tuple(_pairs(place, str) for place in data.get("places", ())),
        repairs=tuple((Repair(name), time) for name, time in _pairs(data.get("repairs"), _number)),
        passes=tuple(_passes(str(name), row) for name, row in data.get("passes", {}).items()),
        missing=tuple(Missing(*each) for each in _pairs(data.get("missing"), _number)),
        attempts=_number(data.get("attempts", 0)),
        flaps=_number(data.get("flaps", 0)),
        root=str(data.get("root", "")),
        guessed=bool(data.get("guessed", False)),
        extra=_extra(data, _RECORD_FIELDS),
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _episode_to_json(episode: Episode) -> list[int | str]:
    newest_ns, owner, oldest_ns = episode
    return [newest_ns, owner] if oldest_ns == newest_ns else [newest_ns, owner, oldest_ns]


def _episode(newest_ns: Any, owner: Any, oldest_ns: Any = None) -> Episode:
    newest = _number(newest_ns)
    return newest, str(owner), newest if oldest_ns is None else _number(oldest_ns)


def _passes(name: str, row: list[Any]) -> Passes:
    """An older version does not tell when the row began: no later than its newest pass."""
    count, newest_ns, *more = map(_number, row)
    since_ns = more[0] if more else newest_ns if count else 0
    return Passes(name, count, newest_ns, since_ns)


def _past_from_json(data: Mapping[str, Any]) -> Past:
    return Past(
        device=str(data["device"]),
        fault_id=str(data["fault"]),
        last_ns=_number(data["last"]),
        cleared_ns=_number(data["cleared"]),
        log_ns=_number(data["log"]),
        uptime_us=_number(data["uptime"]) if "uptime" in data else None,
        boot_id=str(data["boot"]),
        identity=str(data["id"]),
        repaired_ns=_number(data.get("repaired", 0)),
        times=_number(data["times"]),
        attempts=_number(data.get("attempts", 0)),
        count=_number(data.get("count", 0)),
        shown=bool(data.get("shown", False)),
    )


def _pairs(data: Any, value: Callable[[Any], T]) -> tuple[tuple[str, T], ...]:
    return tuple((str(name), value(each)) for name, each in (data or {}).items())


_LEDGER_FIELDS = frozenset(
    [
        "v",
        "reads",
        "uid",
        "boot",
        "written",
        "since",
        "owned",
        "records",
        "tainted",
        "removed",
        "dropped",
        "rebooted",
        "noticed",
        "soft",
        "history",
    ]
)
_RECORD_FIELDS = frozenset(
    [
        "device",
        "fault",
        "severity",
        "remedy",
        "first",
        "last",
        "count",
        "log",
        "boot",
        "id",
        "trust",
        "source",
        "text",
        "uptime",
        "visible_only",
        "why",
        "injected",
        "rule",
        "reached",
        "effect",
        "episodes",
        "places",
        "repairs",
        "passes",
        "missing",
        "attempts",
        "flaps",
        "root",
        "guessed",
    ]
)
