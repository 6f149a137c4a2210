"""How is a point in time written? RFC 3339 and Unix nanoseconds; pure, reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime

NS = 1_000_000_000


def rfc3339(ns: int) -> str:
    """Unix nanoseconds to RFC 3339 in UTC with seconds, as Kubernetes' metav1.Time prints it."""
    return datetime.fromtimestamp(ns // NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(ns: int) -> str:
    """Unix nanoseconds to RFC 3339 in UTC with microseconds (metav1.MicroTime)."""
    stamp = datetime.fromtimestamp(ns // NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{ns % NS // 1000:06d}Z"


def parse_rfc3339(text: str) -> int:
    """RFC 3339 to Unix nanoseconds. Raises ValueError on anything else."""
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if parsed.tzinfo is None:
        raise ValueError(f"time without zone: {text[:40]!r}")
    delta = parsed - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS + delta.microseconds * 1000
