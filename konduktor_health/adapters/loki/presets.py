"""Where does each shipper put stream, node name and trust?

``PRESETS`` says it per shipper; ``spec`` joins a preset with what the settings replace.
Invariant: nothing is guessed that trust rests on. A selector given by hand has its trust
class given by hand, unless it pins what the preset pins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from konduktor_health.adapters.loki.query import (
    escape_pattern,
    is_label_name,
    matchers,
    narrowed,
    quote,
    selector_of,
)
from konduktor_health.errors import ConfigError
from konduktor_health.model import Trust
from konduktor_health.settings import ReadingSettings, SourceSettings

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_NODE_HINT = "node_from takes label:NAME, metadata:NAME, json:PATH and record"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One log source, complete."""

    name: str
    selector: str
    node_from: tuple[str, ...]
    trust: Trust
    pod: bool = False  # pod logs: decoded with the pod rules, filtered by their literals
    may_be_absent: bool = False  # no stream at all is normal, not a wrong selector
    tidings: tuple[str, ...] = ()  # literals of lines that are no faults and wanted all the same


@dataclass(frozen=True, slots=True)
class _Preset:
    selector: str
    node_from: tuple[str, ...]
    trust: Trust | None
    pinned: frozenset[str] = frozenset()  # labels that the trust rests on
    tidings: tuple[str, ...] = ()


PRESETS = {
    # dmesg DaemonSet of Konduktor + OpenTelemetry collector (filelog, k8sattributes, otlphttp).
    # Namespace and DaemonSet are index labels set by the collector; the node name is structured
    # metadata (Loki's default OTLP list does not index k8s.node.name). The line is
    # "[uptime] text"; the log time is that of kubelet's write.
    "konduktor-otel": _Preset(
        '{k8s_namespace_name="dmesg-logging", k8s_daemonset_name="dmesg"}',
        ("metadata:k8s_node_name", "label:k8s_node_name"),
        Trust.KERNEL,
        frozenset({"k8s_namespace_name", "k8s_daemonset_name"}),
    ),
    # promtail's journal target (also Alloy's with the same relabelling). The node name is
    # relabelled from __journal__hostname to a name of the user's choice; with `json: true` it is
    # in the record. No uptime stamp; _BOOT_ID only with `json: true`.
    "promtail-journal": _Preset(
        '{job="systemd-journal"}',
        ("label:node_name", "label:nodename", "label:hostname", "label:host", "record"),
        Trust.KERNEL,
        frozenset({"job"}),
    ),
    # Our forwarder `konduktor-probe kmsg`. It pushes by itself with labels job and node; where a
    # shipper collects its stdout instead, only the selector is replaced, and the node name is
    # the shipper's. The line is our JSON with boot id, sequence, uptime, facility and text.
    "kmsg": _Preset(
        '{job="konduktor-kmsg"}',
        (
            "label:node",
            "metadata:node",
            "metadata:k8s_node_name",
            "label:k8s_node_name",
            "label:node_name",
            "record",
        ),
        Trust.KERNEL,
        frozenset({"job"}),
        ("konduktor-health heartbeat", "kernel log records were overwritten"),
    ),
    # Pod logs of the watched namespaces, as the OpenTelemetry collector labels them. Anybody
    # who may run a pod there can write any line: trust pod, never acts alone.
    "pods": _Preset(
        "",
        ("metadata:k8s_node_name", "label:k8s_node_name", "label:node_name"),
        Trust.POD,
    ),
    # Everything by settings.
    "custom": _Preset("", ("metadata:k8s_node_name", "label:node", "record"), None),
}


def spec(source: SourceSettings, watched_namespaces: Iterable[str] = ()) -> SourceSpec:
    """The complete description of one configured source. Raises ConfigError."""
    preset = PRESETS[source.preset]
    name = source.name or source.preset
    pod = source.pod if source.pod is not None else source.preset == "pods"
    selector = source.selector or preset.selector
    if source.preset == "pods" and not source.selector:
        selector = _namespaces_selector(name, watched_namespaces)
    if not selector:
        raise ConfigError(
            f"source {name}: no selector", hint='preset custom needs one, e.g. {job="syslog"}'
        )
    found = matchers(selector)
    trust = source.trust or (Trust.POD if pod else preset.trust)
    if source.selector and source.trust is None and trust is not Trust.POD:
        exact = {label for label, op, _ in found if op == "="}
        if trust is None or not preset.pinned or not preset.pinned <= exact:
            raise ConfigError(
                f"source {name}: its own selector needs its own trust class",
                hint=(
                    "trust: kernel if only a kernel-log shipper can write to these streams "
                    "(pin namespace and DaemonSet with =), else trust: pod"
                ),
            )
    if trust is None:
        raise ConfigError(f"source {name}: no trust class", hint="set trust: kernel or pod")
    if trust not in (Trust.KERNEL, Trust.POD):
        raise ConfigError(
            f"source {name}: trust {trust.value} cannot come from a log", hint="kernel or pod"
        )
    if pod and trust is not Trust.POD:
        raise ConfigError(f"source {name}: pod logs have trust pod", hint="leave trust out")
    return SourceSpec(
        name=name,
        selector=selector_of(found),
        node_from=_checked(name, source.node_from) or preset.node_from,
        trust=trust,
        pod=pod,
        may_be_absent=pod,
        tidings=preset.tidings,
    )


def for_cluster(source: SourceSpec, reading: ReadingSettings) -> SourceSpec:
    """The source narrowed to the configured cluster, if there is one. Raises ConfigError."""
    if not reading.cluster:
        return source
    return replace(
        source, selector=narrowed(source.selector, reading.cluster_label, reading.cluster)
    )


def _namespaces_selector(name: str, namespaces: Iterable[str]) -> str:
    wanted = sorted(set(namespaces))
    for namespace in wanted:
        if _NAMESPACE.match(namespace) is None:
            raise ConfigError(
                f"watched namespace {namespace[:80]!r} is not a namespace name",
                hint="WATCHED_NAMESPACES is a list like default,training",
            )
    if not wanted:
        raise ConfigError(
            f"source {name}: no namespace is watched", hint="set WATCHED_NAMESPACES or a selector"
        )
    pattern = "|".join(escape_pattern(namespace) for namespace in wanted)
    return f"{{k8s_namespace_name=~{quote(pattern)}}}"


def _checked(name: str, node_from: tuple[str, ...]) -> tuple[str, ...]:
    for rule in node_from:
        kind, _, argument = rule.partition(":")
        named = kind in ("label", "metadata") and is_label_name(argument)
        if not (named or rule == "record" or (kind == "json" and argument)):
            raise ConfigError(f"source {name}: node_from {rule[:80]!r}", hint=_NODE_HINT)
    return node_from
