"""What do we keep of a Node object? JSON in any shape -> NodeView.

Nothing here raises on odd objects: a field that is missing, null or of another type counts as
absent. Only a Node without a usable name gives no view. Only what we use is picked, so that the
full object (15 KB each on GPU nodes) lives no longer than its decoding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from konduktor_health.clock import parse_rfc3339
from konduktor_health.core.labels import DCGM_OUTPUT, is_diagnosis
from konduktor_health.errors import ConfigError
from konduktor_health.model import Condition, Keys, NodeView, Taint

_ADDRESSES = frozenset({"Hostname", "InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS"})
_MAX_NAME = 253
_MAX_ALIASES = 16
_MAX_ANNOTATION = 64 * 1024  # ours are at most 16 KiB; a cut one counts as damaged
_MAX_TEXT = 1024
_MAX_LABEL = 400  # a key of 253 + 1 + 63 characters
_MAX_LABELS = 256
_MAX_PAIRS = 200_000
_TERM = re.compile(r"(?P<not>!)?(?P<key>[\w./-]+)(?:\s*(?P<op>==|!=|=)\s*(?P<value>[\w.-]*))?")
_SPACE = re.compile(r"[ \t\r\n]*")

LabelTest = Callable[[dict[str, Any]], bool]


def parse_selector(text: str) -> tuple[LabelTest, ...]:
    """Equality terms of a label selector: ``k=v``, ``k==v``, ``k!=v``, ``k``, ``!k``.

    Raises ConfigError for set terms (``in``, ``notin``) and anything else.
    """
    return tuple(_test(term.strip(), text) for term in text.split(",") if term.strip())


def _test(term: str, text: str) -> LabelTest:
    match = _TERM.fullmatch(term)
    if match is None or (match["not"] and match["op"]):
        raise ConfigError(
            f"node selector {text[:120]!r}: {term[:80]!r} is not an equality term",
            hint="terms are KEY=VALUE, KEY!=VALUE, KEY or !KEY, separated by commas",
        )
    key, value = match["key"], match["value"]
    if match["op"] == "!=":
        return lambda labels: labels.get(key) != value
    if match["op"]:
        return lambda labels: labels.get(key) == value
    if match["not"]:
        return lambda labels: key not in labels
    return lambda labels: key in labels


class NodeDecoder:
    """Turns raw Node objects into views; ``undecodable`` counts those that gave none.

    An empty selector selects no node (GPU capacity still makes a node managed).
    """

    def __init__(self, keys: Keys, selector: str, gpu_resource: str) -> None:
        self._keys = keys
        self._tests = parse_selector(selector)
        self._gpu_resource = gpu_resource
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self.undecodable = 0

    def view(self, raw: object) -> NodeView | None:
        """The view of a decoded Node object, or None without a usable name."""
        node = _map(raw)
        meta, spec, status = (
            _map(node.get("metadata")),
            _map(node.get("spec")),
            _map(node.get("status")),
        )
        name = _word(meta.get("name"))
        if not name:
            self.undecodable += 1
            return None
        labels, annotations = _map(meta.get("labels")), _map(meta.get("annotations"))
        info = _map(status.get("nodeInfo"))
        return NodeView(
            name=name,
            uid=_word(meta.get("uid")),
            resource_version=_word(meta.get("resourceVersion")),
            created_ns=_time(meta.get("creationTimestamp")),
            taints=taints_of(spec.get("taints")),
            unschedulable=spec.get("unschedulable") is True,
            boot_id=_word(info.get("bootID")).replace("-", "").lower(),
            system_uuid=_word(info.get("systemUUID")).lower(),
            aliases=_aliases(name, status.get("addresses"), spec.get("providerID")),
            gpu_capacity=_count(_map(status.get("capacity")).get(self._gpu_resource)),
            gpu_allocatable=_allocatable(status.get("allocatable"), self._gpu_resource),
            selected=bool(self._tests) and all(test(labels) for test in self._tests),
            managed_label=_text_or_none(labels.get(self._keys.managed)),
            health_label=_text_or_none(labels.get(self._keys.health)),
            ledger=_text_or_none(annotations.get(self._keys.ledger)),
            ledger_corrupt=self._keys.ledger_corrupt in annotations,
            reset_at=_text_or_none(annotations.get(self._keys.reset_at)),
            condition=_condition(status.get("conditions"), self._keys.condition),
            labels=self._labels(labels),
            hold=_text_or_none(annotations.get(self._keys.hold)),
            maintenance=_text_or_none(annotations.get(self._keys.maintenance)),
            testing=_text_or_none(annotations.get(self._keys.testing)),
            ready=_ready(status.get("conditions")),
            diagnosed=_diagnosed(annotations),
        )

    def _labels(self, labels: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """Sorted pairs. Nodes of a pool have most labels in common: a pair is kept once."""
        pairs = sorted(
            (key, value)
            for key, value in labels.items()
            if isinstance(value, str) and len(key) <= _MAX_LABEL and len(value) <= _MAX_LABEL
        )
        if len(self._pairs) > _MAX_PAIRS:
            self._pairs = {}  # values that are gone; what is in use stays shared in the views
        return tuple(self._pairs.setdefault(pair, pair) for pair in pairs[:_MAX_LABELS])


def taints_of(raw: object) -> tuple[Taint, ...]:
    """The taints of a raw list, in its order; entries without a key are left out."""
    return tuple(
        Taint(key, _text(entry.get("value")), _text(entry.get("effect")))
        for entry in _maps(raw)
        if (key := _text(entry.get("key")))
    )


def walk_list(payload: bytes, take: Callable[[Any], None]) -> dict[str, Any]:
    """Decode a List answer one item at a time and return the rest of it (metadata).

    A page of 500 GPU nodes is 8 MB of JSON and would be 40 MB of dicts at once.
    Raises ValueError when it is not a JSON object with a list of items.
    """
    text = payload.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    rest: dict[str, Any] = {}
    position = _expect(text, 0, "{")
    while not text.startswith("}", position):
        key, position = decoder.raw_decode(text, position)
        position = _expect(text, position, ":")
        if key == "items" and text.startswith("[", position):
            position = _walk_items(text, position, decoder, take)
        else:
            rest[str(key)], position = decoder.raw_decode(text, position)
        position = _separator(text, position, "}")
    return rest


def _walk_items(
    text: str, position: int, decoder: json.JSONDecoder, take: Callable[[Any], None]
) -> int:
    position = _expect(text, position, "[")
    while not text.startswith("]", position):
        item, position = decoder.raw_decode(text, position)
        take(item)
        position = _separator(text, position, "]")
    return position + 1


def _expect(text: str, position: int, token: str) -> int:
    position = _skip(text, position)
    if not text.startswith(token, position):
        raise ValueError(f"{token!r} expected at {position}")
    return _skip(text, position + 1)


def _separator(text: str, position: int, end: str) -> int:
    position = _skip(text, position)
    return position if text.startswith(end, position) else _expect(text, position, ",")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Iterable[dict[str, Any]]:
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()


def _word(value: object) -> str:
    """A name or id: short and printable, else absent."""
    usable = isinstance(value, str) and len(value) <= _MAX_NAME and value.isprintable()
    return value.strip() if usable and isinstance(value, str) else ""


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _text_or_none(value: object) -> str | None:
    return value[:_MAX_ANNOTATION] if isinstance(value, str) else None


def printable(value: object, limit: int = _MAX_TEXT) -> str:
    """Somebody's text, bounded, control characters as spaces."""
    text = value[:limit] if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _count(value: object) -> int:
    """An extended resource: a whole number, as string or number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return 0
    text = str(value).strip() if isinstance(value, str) else str(value % (1 << 31))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _allocatable(raw: object, resource: str) -> int | None:
    """What pods can have of a resource. A resource that is not in the list is not there; a Node
    without the list does not tell."""
    return _count(raw.get(resource, 0)) if isinstance(raw, dict) and raw else None


def _time(value: object) -> int:
    try:
        return parse_rfc3339(value) if isinstance(value, str) and len(value) < 64 else 0
    except (ValueError, OverflowError):
        return 0


def _aliases(name: str, addresses: object, provider_id: object) -> tuple[str, ...]:
    found = [
        _word(entry.get("address"))
        for entry in _maps(addresses)
        if _text(entry.get("type")) in _ADDRESSES
    ]
    found.append(_word(provider_id).rsplit("/", 1)[-1])
    return tuple(dict.fromkeys(a for a in found if a and a != name))[:_MAX_ALIASES]


def _diagnosed(annotations: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What stands beside Autopilot's labels of DCGM's levels."""
    return tuple(
        sorted(
            (key, value[:_MAX_TEXT])
            for key, value in annotations.items()
            if key.endswith(DCGM_OUTPUT) and is_diagnosis(key) and isinstance(value, str)
        )
    )


def _ready(conditions: object) -> bool:
    """Whether the kubelet says so; a Node without the condition is not called unready."""
    ready = [each for each in _maps(conditions) if each.get("type") == "Ready"]
    return all(each.get("status") == "True" for each in ready)


def _condition(conditions: object, kind: str) -> Condition | None:
    for entry in _maps(conditions):
        if entry.get("type") == kind:
            return Condition(
                status=_text(entry.get("status")),
                reason=printable(entry.get("reason")),
                message=printable(entry.get("message")),
            )
    return None
