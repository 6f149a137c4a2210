"""Which JSON envelope is a line, and what does it tell?

Our own kmsg forwarder, journald export, OTLP and collector bodies, docker json-file, promtail
pack and logcli. The first envelope that fits wins; anything else is no envelope.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from parsers.layer import Layer, boot_id, uptime_stamp
from parsers.wallclock import rfc3339_ns

#: How a journald record starts a message that is not valid UTF-8: an array of bytes. Read only
#: where the raw line shows one of these, so that a server-side filter can look for them.
BYTE_MESSAGES = ('"MESSAGE":[', '"MESSAGE": [')

# No JSON encoder escapes blanks, parentheses, letters or the underscore. A line that does
# would slip past a server-side filter for words, and is not read as an envelope. An escaped
# backslash before a "u" is no such escape: a process name may contain it.
_HIDDEN = re.compile(
    r"(?<!\\)(?:\\\\)*\\u00(?:2[089]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])", re.IGNORECASE
)
_NODE_KEYS = (
    "k8s_node_name", "k8s.node.name", "node_name", "nodename", "node", "hostname", "host",
    "host_name", "host.name", "instance",
)  # fmt: skip
_decode = json.JSONDecoder().raw_decode
#: The facility of a program that names none (LOG_USER).
_UNREADABLE = 1
_OF_A_PROCESS = ("_PID", "_UID", "_COMM", "_EXE", "_SYSTEMD_UNIT")


def peel(text: str, *, byte_messages: bool) -> Layer | None:
    """Take one JSON envelope off ``text``, which has no blanks around it; None when it is none.

    ``byte_messages``: whether a journald message may be an array of bytes.
    """
    if not (text.startswith("{") and text.endswith("}")):
        return None
    if "u00" in text and _HIDDEN.search(text):
        return None
    try:
        data, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    whole = end == len(text) and isinstance(data, dict)
    return envelope(data, byte_messages=byte_messages) if whole else None


def envelope(data: Mapping[str, Any], *, byte_messages: bool = False) -> Layer | None:
    """The same for a decoded object."""
    if data.get("konduktor") == "kmsg":
        return _kmsg(data)
    if "MESSAGE" in data or "_TRANSPORT" in data:
        return _journald(data, byte_messages=byte_messages)
    if isinstance(data.get("resourceLogs"), list):
        return _otlp_batch(data["resourceLogs"], byte_messages=byte_messages)
    if "body" in data:
        return _otlp(data, {}, byte_messages=byte_messages)
    if isinstance(data.get("log"), str):
        return Layer(text=data["log"], time_ns=rfc3339_ns(data.get("time")))
    if isinstance(data.get("line"), str) and isinstance(data.get("labels"), dict):
        return _logcli(data)
    if isinstance(data.get("_entry"), str):
        return Layer(text=data["_entry"], hostname=node_of(data))
    return None


def _kmsg(data: Mapping[str, Any]) -> Layer:
    """A line of our own forwarder: ``konduktor-probe kmsg``."""
    kind = data.get("kind")
    is_record = kind == "record"
    text = data.get("text")
    uptime_us = _number(data.get("uptime_us"))
    return Layer(
        text if isinstance(text, str) else "",
        uptime_us,
        "" if uptime_us is None else uptime_stamp(uptime_us),
        boot_id(data.get("boot_id")),
        _number(data.get("seq")),
        _number(data.get("facility")) if is_record else None,
        _number(data.get("priority")) if is_record else None,
        rfc3339_ns(data.get("time")),
        _text(data.get("node")),
        heartbeat=kind == "heartbeat",
        missed=(_number(data.get("missed")) or 0) if kind == "missed" else 0,
        foreign=not is_record,
        sealed=True,
    )


def _journald(data: Mapping[str, Any], *, byte_messages: bool) -> Layer | None:
    """Kernel transport only speaks for the kernel; a program can claim facility 0 elsewhere."""
    message = data.get("MESSAGE", data.get("message"))
    if isinstance(message, list) and byte_messages:
        text = _from_bytes(message)
    elif isinstance(message, str):
        text = message
    else:
        return None
    transport = data.get("_TRANSPORT")
    if transport is None:
        tag = data.get("SYSLOG_IDENTIFIER")
        foreign = any(key in data for key in _OF_A_PROCESS) or tag not in (None, "kernel")
    else:
        foreign = transport != "kernel"
    facility = _number(data.get("SYSLOG_FACILITY"))
    if transport == "kernel":
        if facility is None:  # one that cannot be read is not the kernel's
            facility = _UNREADABLE if "SYSLOG_FACILITY" in data else 0
    elif facility == 0:
        facility = None
    uptime_us = _number(data.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    realtime_us = _number(data.get("_SOURCE_REALTIME_TIMESTAMP", data.get("__REALTIME_TIMESTAMP")))
    return Layer(
        text,
        uptime_us,
        "" if uptime_us is None else uptime_stamp(uptime_us),
        boot_id(data.get("_BOOT_ID")),
        None,  # the journal does not keep the ring's numbers
        facility,
        _number(data.get("PRIORITY")),
        None if realtime_us is None else realtime_us * 1000,
        _text(data.get("_HOSTNAME")),
        foreign=foreign,
        sealed=True,
    )


def _otlp_batch(resource_logs: list[Any], *, byte_messages: bool) -> Layer | None:
    """The first record of an export request; shippers store one record in a line."""
    for resource in _objects(resource_logs):
        labels = resource.get("resource")
        attributes = labels.get("attributes") if isinstance(labels, dict) else None
        for scope in _objects(resource.get("scopeLogs")):
            for record in _objects(scope.get("logRecords")):
                return _otlp(record, _attributes(attributes), byte_messages=byte_messages)
    return None


def _otlp(
    data: Mapping[str, Any], resource: Mapping[str, Any], *, byte_messages: bool
) -> Layer | None:
    body = _value(data.get("body"))
    labels = {
        **_attributes(data.get("attributes")),
        **_attributes(data.get("resources", data.get("resource"))),
        **resource,
    }
    time_ns = _number(data.get("timeUnixNano")) or rfc3339_ns(data.get("timestamp"))
    if isinstance(body, str):
        return Layer(text=body, hostname=node_of(labels), time_ns=time_ns)
    if isinstance(body, dict) and "body" not in body and "resourceLogs" not in body:
        return envelope(body, byte_messages=byte_messages)
    return None


def _logcli(data: Mapping[str, Any]) -> Layer:
    stamp = data.get("timestamp")
    time_ns = rfc3339_ns(stamp)
    return Layer(
        text=data["line"],
        hostname=node_of(data["labels"]),
        time_ns=_number(stamp) if time_ns is None else time_ns,
    )


def _value(value: Any) -> Any:
    """An OTLP AnyValue, as far as logs need it; a plain value as it is."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("stringValue"), str):
        return value["stringValue"]
    if isinstance(listed := value.get("kvlistValue"), dict):
        return _attributes(listed.get("values"))
    return value


def _attributes(attributes: Any) -> dict[str, Any]:
    """OTLP attributes, as a mapping or as a list of key and value."""
    if isinstance(attributes, dict):
        return attributes
    found: dict[str, Any] = {}
    for item in _objects(attributes):
        if isinstance(item.get("key"), str):
            value = item.get("value")
            found[item["key"]] = value.get("stringValue") if isinstance(value, dict) else value
    return found


def _objects(values: Any) -> Iterable[dict[str, Any]]:
    return (v for v in values if isinstance(v, dict)) if isinstance(values, list) else ()


def node_of(labels: Mapping[str, Any]) -> str:
    """The node that a stream's labels name; "" where they name none."""
    return next((_text(labels[key]) for key in _NODE_KEYS if _text(labels.get(key))), "")


def _from_bytes(values: list[Any]) -> str:
    if all(isinstance(v, int) and 0 <= v <= 255 for v in values):
        return bytes(values).decode("utf-8", "replace")
    return ""


def _text(value: Any) -> str:
    return value[:253] if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    """A number below 2**63, from a number or its digits; None otherwise."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None
