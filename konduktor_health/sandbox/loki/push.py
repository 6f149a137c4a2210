"""What does a push contain? JSON and OTLP JSON bodies to streams of entries.

Raises :class:`PushError` for a body that is not understood; what the entries must look like to be
accepted is ``ingest``'s question.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from konduktor_health.sandbox.loki.store import Entry

_MAX_NS = 2**63 - 1

# Resource attributes that Loki's default OTLP configuration makes index labels.
OTLP_INDEX_ATTRIBUTES = frozenset({
    "cloud.availability_zone", "cloud.region", "container.name", "deployment.environment",
    "deployment.environment.name", "k8s.cluster.name", "k8s.container.name", "k8s.cronjob.name",
    "k8s.daemonset.name", "k8s.deployment.name", "k8s.job.name", "k8s.namespace.name",
    "k8s.pod.name", "k8s.replicaset.name", "k8s.statefulset.name", "service.instance.id",
    "service.name", "service.namespace",
})  # fmt: skip


class PushError(ValueError):
    """The body cannot be decoded; the text is the body of Loki's 400."""


class Batch(NamedTuple):
    """Entries for one stream, in the order of the request."""

    labels: Mapping[str, str]
    entries: list[Entry]


def decode_json(body: bytes) -> list[Batch]:
    """``{"streams": [{"stream": {}, "values": [["ns", "line", {"meta": "v"}]]}]}``."""
    document = _object(body, "loghttp.PushRequest")
    batches = []
    for stream in _list(document.get("streams", []), "Streams"):
        if not isinstance(stream, dict):
            raise PushError("loghttp.PushRequest.Streams: []loghttp.LogProtoStream: not an object")
        labels = _strings(stream.get("stream", {}))
        for name in labels:
            if not _is_label_name(name):
                raise PushError(
                    f"couldn't parse labels: 1:3: parse error: unexpected character in {name!r}"
                )
        entries = [_entry(value) for value in _list(stream.get("values", []), "values")]
        batches.append(Batch(labels, entries))
    return batches


def decode_otlp(body: bytes) -> list[Batch]:
    """An OTLP ExportLogsServiceRequest in JSON, with Loki's default mapping of attributes."""
    try:
        return _decode_otlp(body)
    except (AttributeError, KeyError, TypeError) as error:
        raise PushError(f"ExportLogsServiceRequest: {error!r}") from error


def _decode_otlp(body: bytes) -> list[Batch]:
    document = _object(body, "ExportLogsServiceRequest")
    batches = []
    for resource_logs in _list(document.get("resourceLogs", []), "resourceLogs"):
        attributes = resource_logs.get("resource", {}).get("attributes", [])
        indexed = [a for a in attributes if a.get("key") in OTLP_INDEX_ATTRIBUTES]
        labels = _metadata(indexed)
        common = _metadata([a for a in attributes if a not in indexed])
        for scope_logs in _list(resource_logs.get("scopeLogs", []), "scopeLogs"):
            scope = scope_logs.get("scope", {})
            inherited = common | _scope_metadata(scope)
            records = _list(scope_logs.get("logRecords", []), "logRecords")
            batches.append(Batch(labels, [_otlp_entry(record, inherited) for record in records]))
    return batches


def _entry(value: Any) -> Entry:
    if not isinstance(value, list) or not 2 <= len(value) <= 3:
        raise PushError("loghttp.PushRequest.Streams: []loghttp.LogProtoStream: bad value")
    stamp, line = value[0], value[1]
    if not isinstance(stamp, str) or not stamp.lstrip("-").isdecimal() or not isinstance(line, str):
        raise PushError(
            "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: "
            f'a value is not ["ns", "line"]: {str(value)[:80]}'
        )
    metadata = _strings(value[2]) if len(value) == 3 else {}
    return Entry(_ns(stamp), line, tuple(sorted(metadata.items())))


def _otlp_entry(record: Mapping[str, Any], inherited: Mapping[str, str]) -> Entry:
    metadata = dict(inherited)
    metadata |= _metadata(record.get("attributes", []))
    observed = _ns(str(record.get("observedTimeUnixNano", 0)))
    time_ns = _ns(str(record.get("timeUnixNano", 0)))
    if observed and time_ns:
        metadata["observed_timestamp"] = str(observed)
    for source, name in (
        ("severityNumber", "severity_number"), ("severityText", "severity_text"),
        ("traceId", "trace_id"), ("spanId", "span_id"), ("flags", "flags"),
    ):  # fmt: skip
        if record.get(source):
            metadata[name] = str(record[source])
    line = _any_value(record.get("body", {}))
    return Entry(time_ns or observed, line, tuple(sorted(metadata.items())))


def _scope_metadata(scope: Mapping[str, Any]) -> dict[str, str]:
    metadata = _metadata(scope.get("attributes", []))
    for source, name in (("name", "scope_name"), ("version", "scope_version")):
        if scope.get(source):
            metadata[name] = str(scope[source])
    return metadata


def _metadata(attributes: Iterable[Mapping[str, Any]], prefix: str = "") -> dict[str, str]:
    """Attributes by label name; nested ones are flattened, their names joined by _."""
    flat: dict[str, str] = {}
    for attribute in attributes:
        name = prefix + str(attribute.get("key", ""))
        value = attribute.get("value", {})
        if "kvlistValue" in value:
            flat |= _metadata(value["kvlistValue"].get("values", []), f"{name}_")
        else:
            flat[_label(name)] = _any_value(value)
    return flat


def _any_value(value: Mapping[str, Any]) -> str:
    """An OTLP AnyValue as the text that Loki stores."""
    if "stringValue" in value:
        return str(value["stringValue"])
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"))


def _plain(value: Mapping[str, Any]) -> Any:
    if "kvlistValue" in value:
        return {v["key"]: _plain(v.get("value", {})) for v in value["kvlistValue"]["values"]}
    if "arrayValue" in value:
        return [_plain(v) for v in value["arrayValue"]["values"]]
    for kind in ("stringValue", "boolValue", "doubleValue"):
        if kind in value:
            return value[kind]
    return int(value["intValue"]) if "intValue" in value else ""


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PushError(f"{what}: {error}") from error
    if not isinstance(document, dict):
        raise PushError(f"{what}: expect {{ or n, but found {type(document).__name__}")
    return document


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise PushError(f"{what}: expect [ or n, but found {type(value).__name__}")
    return value


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise PushError(f"Value is not an object of strings: {str(value)[:80]}")
    return value


def _ns(text: str) -> int:
    if not text.lstrip("-").isdecimal() or abs(number := int(text)) > _MAX_NS:
        raise PushError(f"not a Unix time in nanoseconds: {text[:40]!r}")
    return number


def _is_label_name(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _label(attribute: str) -> str:
    """k8s.node.name to k8s_node_name."""
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in attribute)
    return f"key_{name}" if name[:1].isdigit() else name
