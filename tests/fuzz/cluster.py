"""What must hold of text that lies on a Node or goes to our log, whoever wrote it?"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from konduktor_health.adapters.kube.nodes import NodeDecoder, walk_list
from konduktor_health.core.ledger import CorruptLedger, Ledger, Record, parse, render
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.model import Keys, NodeView, Remedy, Severity
from konduktor_health.runtime.log import LINE_LIMIT, printable
from tests.fuzz.lines import require
from tests.fuzz.mutation import Choices, text_of

_RECORD = Record(
    device="0000:3b:00", fault_id="xid/79", severity=Severity.FATAL, remedy=Remedy.REBOOT,
    first_ns=1_795_323_600_000_000_000, last_ns=1_795_323_600_000_000_000, count=1, boot_id="ab",
    uptime_us=5, identity="x", text="NVRM: Xid (PCI:0000:3b:00): 79",
)  # fmt: skip
_LEDGER = json.loads(render(Ledger(uid="u", owned=("NoSchedule",), records=(_RECORD, _RECORD))))
_RESET_AT = {"time": "2026-11-22T05:00:00.123456Z", "boot": "ab", "uptime_us": 5, "faults": ["x|y"]}
_KEYS = Keys()
_NODE: dict[str, Any] = {
    "metadata": {
        "name": "gpu-7", "uid": "u", "resourceVersion": "1",
        "creationTimestamp": "2026-11-22T05:00:00Z",
        "labels": {"nvidia.com/gpu.present": "true", _KEYS.managed: "false", _KEYS.health: "x"},
        "annotations": {_KEYS.ledger: "{}", _KEYS.reset_at: "{}", _KEYS.ledger_corrupt: "x"},
    },
    "spec": {
        "taints": [{"key": _KEYS.taint, "value": "true", "effect": "NoSchedule"}],
        "unschedulable": True, "providerID": "aws:///a/i-1",
    },
    "status": {
        "nodeInfo": {"bootID": "0123-AB", "systemUUID": "EC2"},
        "addresses": [{"type": "Hostname", "address": "gpu-7"}],
        "capacity": {"nvidia.com/gpu": "8"},
        "conditions": [{"type": _KEYS.condition, "status": "True", "reason": "r", "message": "m"}],
    },
}  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 8, 10**30, 1e308, float("inf"), float("nan"), "", "x", "8", "-8",
    "\u0661", "9" * 5000, "x" * 70_000, "\x00\x1b[0m\u202e", "\ud800", [], {}, [None], [[]], [{}],
    {"key": {}}, {"a": 1}, "2026-11-22T05:00:00Z", "2026-02-30T05:00:00Z", "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "xid/79",
)  # fmt: skip


def logging(data: bytes) -> None:
    """Text for our own log: one line, bounded."""
    text = printable(text_of(data))
    require(text.isprintable() and len(text) <= LINE_LIMIT, "a line of the log")


def ledgers(data: bytes) -> None:
    """An annotation with a ledger: read, or CorruptLedger; what was read can be written again."""
    text = _document(data, _LEDGER)
    try:
        ledger = parse(text)
    except CorruptLedger as error:
        require(len(str(error)) < 200, "an error longer than it may be")
        return
    written = render(ledger)
    head = len(ledger.uid) + len(ledger.boot_id) + len(str(ledger.owned))  # ours; never cut
    require(len(written) <= 16 * 1024 or head > 1024, "a ledger larger than it may be")
    again = parse(written)
    require(again.dropped > ledger.dropped or _cut(again) == _cut(ledger), "written is not read")


def _cut(ledger: Ledger) -> list[tuple[str, str, int, int, int]]:
    return [(r.device, r.fault_id, r.first_ns, r.last_ns, r.count) for r in ledger.records]


def resets(data: bytes) -> None:
    """An annotation with the time of a reset: read or refused, what is read has its types."""
    reset = parse_reset_at(_document(data, _RESET_AT))
    if reset is not None:
        require(isinstance(reset.time_ns, int) and isinstance(reset.log_ns, int), "a time")
        require(reset.uptime_us is None or isinstance(reset.uptime_us, int), "an uptime")
        require(all(isinstance(each, str) for each in reset.faults or ()), "faults")


def nodes(data: bytes) -> None:
    """A Node of any shape: a view with short, typed fields, or none; never an exception."""
    choices = Choices(data)
    raw = _changed(choices, _NODE)
    decoder = NodeDecoder(_KEYS, "nvidia.com/gpu.present=true", "nvidia.com/gpu")
    view = decoder.view(raw)
    require((view is None) == (decoder.undecodable == 1), "undecodable nodes are counted")
    if view is not None:
        _sound(view)


def lists(data: bytes) -> None:
    """An answer of the API server: items one by one, or ValueError."""
    items: list[Any] = []
    whole = json.dumps({"kind": "NodeList", "items": [_NODE], "metadata": {"continue": "x"}})
    choices = Choices(data)
    at, by = choices.number(len(whole)), choices.number(8)
    payload = whole[:at].encode() + choices.rest().encode("utf-8", "surrogateescape")
    payload += whole[at + by :].encode()
    _walks(payload, items.append)
    _walks(data, items.append)


def _walks(payload: bytes, take: Callable[[Any], None]) -> None:
    try:
        rest = walk_list(payload, take)
    except ValueError:
        return
    require(isinstance(rest, dict), "the rest of a list")


def _sound(view: NodeView) -> None:
    words = (view.name, view.uid, view.resource_version, view.boot_id, view.system_uuid)
    for word in (*words, *view.aliases):
        require(isinstance(word, str) and len(word) <= 253 and word.isprintable(), "a word")
    require(bool(view.name), "a name")
    require(len(view.aliases) <= 16, "aliases")
    require(0 <= view.gpu_capacity < 1 << 31, "a capacity")
    require(isinstance(view.unschedulable, bool), "unschedulable")
    require(all(taint.key and len(taint.key) <= 1024 for taint in view.taints), "a taint")
    for text in (view.managed_label, view.health_label, view.ledger, view.reset_at):
        require(text is None or len(text) <= 64 * 1024, "an annotation")
    if view.condition is not None:
        require(view.condition.message.isprintable(), "a condition")


def _document(data: bytes, start: dict[str, Any]) -> str:
    """JSON with changed values, or with changed characters, or any text at all."""
    choices = Choices(data)
    way = choices.number(4)
    if way == 0:
        return choices.rest()
    text = json.dumps(_changed(choices, start))
    if way == 1:
        at, by = choices.number(len(text)), choices.number(8)
        text = text[:at] + choices.rest() + text[at + by :]
    return text


def _changed(choices: Choices, start: dict[str, Any]) -> dict[str, Any]:
    """A copy in which a few places hold other values, or are missing."""
    changed: dict[str, Any] = copy.deepcopy(start)
    for _ in range(choices.number(5)):
        place: Any = changed
        for _ in range(1 + choices.number(5)):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = choices.one(keys)
            inner = place[key]
            if not isinstance(inner, dict | list) or choices.number(4) == 0:
                if choices.number(6) == 0:
                    del place[key]
                else:
                    place[key] = copy.deepcopy(choices.one(_VALUES))
                break
            place = inner
    return changed
