"""Kernel lines as Konduktor's OpenTelemetry stack delivers them."""

from __future__ import annotations

import time

STREAM = {"k8s_namespace_name": "dmesg-logging", "k8s_daemonset_name": "dmesg"}
LOST = (
    "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
)
BOOT_S = 100_000  # the nodes of the tests booted so long before the first line

Line = tuple[int, str, dict[str, str]]


def otel(
    node: str, text: str = LOST, *, ns: int | None = None, uptime_s: float | None = None
) -> Line:
    """One line: time, text with its uptime stamp, structured metadata."""
    ns = time.time_ns() if ns is None else ns
    uptime_us = int(uptime_s * 1e6) if uptime_s is not None else ns // 1000 % (10**6 * BOOT_S)
    return ns, f"[{uptime_us // 10**6:5d}.{uptime_us % 10**6:06d}] {text}", {"k8s_node_name": node}


def ago(seconds: float) -> int:
    """Unix nanoseconds, so long ago."""
    return time.time_ns() - int(seconds * 1e9)
