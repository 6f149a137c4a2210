"""Which pushed entries does the embedded Loki accept, and what does it add to them?

As in the real one, a push with bad entries stores the good ones and still answers 400.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from konduktor_health.clock import NS, rfc3339
from konduktor_health.sandbox.loki.levels import detect_level
from konduktor_health.sandbox.loki.limits import Limits
from konduktor_health.sandbox.loki.logql import LabelSet
from konduktor_health.sandbox.loki.push import Batch
from konduktor_health.sandbox.loki.store import Entry, Store

# The labels in which Loki looks for a service name, in this order.
_SERVICE_LABELS = (
    "service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container",
    "container_name", "k8s_container_name", "component", "workload", "job", "k8s_job_name",
)  # fmt: skip
_SHOWN_BEHIND = 10  # as many entries too far behind does an answer list


class Refusal(NamedTuple):
    """Why an entry was not stored; Loki counts refusals of one kind together."""

    kind: str
    text: str


def ingest(store: Store, batches: Iterable[Batch], limits: Limits, now_ns: int) -> list[Refusal]:
    """Store what is acceptable; the reasons for what is not, empty when all of it was."""
    refusals: list[Refusal] = []
    for batch in batches:
        refusals += _ingest_batch(store, batch, limits, now_ns)
    return refusals


def print_refusals(refusals: list[Refusal]) -> str:
    """The body of Loki's 400."""
    behind = [refusal.text for refusal in refusals if refusal.kind == "behind"]
    if behind:
        return "\n".join(behind)  # the ingester's answer hides the distributor's
    if len(refusals) == 1:
        return refusals[0].text
    kinds: dict[str, list[str]] = {}
    for refusal in refusals:
        kinds.setdefault(refusal.kind, []).append(refusal.text)
    return "; ".join(f"{len(texts)} errors like: {texts[0]}" for texts in kinds.values())


def _ingest_batch(store: Store, batch: Batch, limits: Limits, now_ns: int) -> list[Refusal]:
    labels = _with_service_name(batch.labels) if limits.discover_service_name else batch.labels
    shown = print_labels(labels)
    count = len(batch.labels)  # without the service_name that Loki adds itself
    if count > limits.max_label_names:
        text = f"entry for stream '{shown}' has {count} label names; limit {limits.max_label_names}"
        return [Refusal("names", text)] * len(batch.entries)
    refusals, accepted = [], []
    for entry in batch.entries:
        refusal = _refusal(entry, shown, limits, now_ns)
        if refusal is None:
            accepted.append(_completed(entry, labels, limits))
        else:
            refusals.append(refusal)
    if accepted:
        refusals += _append(store, labels, accepted, shown, limits, now_ns)
    return refusals


def _append(
    store: Store, labels: Mapping[str, str], entries: list[Entry], shown: str, limits: Limits,
    now_ns: int,
) -> list[Refusal]:  # fmt: skip
    stream, behind = store.stream(labels), []
    hidden_before_ns = now_ns - round(limits.ingester_window_s * NS)
    for entry in entries:
        oldest_ns = stream.newest_ns - round(limits.out_of_order_s * NS)
        if entry.time_ns < oldest_ns:
            behind.append(_too_far_behind(entry, oldest_ns))
        else:
            visible = not limits.ingester_window_s or entry.time_ns >= hidden_before_ns
            store.append(stream, entry, visible=visible)
    if not behind:
        return []
    tail = f"total ignored: {len(behind)} out of {len(entries)} for stream: {shown}"
    return [Refusal("behind", "".join(behind[:_SHOWN_BEHIND]) + f"user 'fake', {tail}")]


def _refusal(entry: Entry, shown: str, limits: Limits, now_ns: int) -> Refusal | None:
    oldest_ns = now_ns - round(limits.reject_old_samples_s * NS)
    if entry.time_ns < oldest_ns:
        text = (
            f"entry for stream '{shown}' has timestamp too old: {rfc3339(entry.time_ns)}, "
            f"oldest acceptable timestamp is: {rfc3339(oldest_ns)}"
        )
        return Refusal("old", text)
    if entry.time_ns > now_ns + round(limits.creation_grace_s * NS):
        stamp = rfc3339(entry.time_ns)
        return Refusal("new", f"entry for stream '{shown}' has timestamp too new: {stamp}")
    size = len(entry.line.encode("utf-8", "replace"))
    if size > limits.max_line_bytes:
        text = (
            f"max entry size '{limits.max_line_bytes}' bytes exceeded for stream '{shown}' "
            f"while adding an entry with length '{size}' bytes"
        )
        return Refusal("long", text)
    return None


def _too_far_behind(entry: Entry, oldest_ns: int) -> str:
    moment = datetime.fromtimestamp(entry.time_ns // NS, UTC).strftime("%Y-%m-%d %H:%M:%S")
    fraction = f".{entry.time_ns % NS:09d}".rstrip("0").rstrip(".")
    return (
        f"entry with timestamp {moment}{fraction} +0000 UTC ignored, reason: 'entry too far "
        f"behind, entry timestamp is: {rfc3339(entry.time_ns)}, oldest acceptable timestamp is: "
        f"{rfc3339(oldest_ns)}',\n"
    )


def print_labels(labels: Mapping[str, str]) -> str:
    """``{a="b", c="d"}``, sorted by name."""
    return "{" + ", ".join(f"{k}={json.dumps(v)}" for k, v in sorted(labels.items())) + "}"


def _with_service_name(labels: Mapping[str, str]) -> dict[str, str]:
    if labels.get("service_name"):
        return dict(labels)
    found = next((labels[name] for name in _SERVICE_LABELS if labels.get(name)), "unknown_service")
    return {**labels, "service_name": found}


def _completed(entry: Entry, labels: Mapping[str, str], limits: Limits) -> Entry:
    """With a level, and without metadata that a label's name would hide."""
    metadata = {f"{k}_extracted" if k in labels else k: v for k, v in entry.metadata}
    if limits.discover_log_levels and "detected_level" not in metadata:
        metadata["detected_level"] = detect_level(entry.line, metadata, labels)
    return entry._replace(metadata=_sorted(metadata))


def _sorted(metadata: Mapping[str, str]) -> LabelSet:
    return tuple(sorted(metadata.items()))
