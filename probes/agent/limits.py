"""May this client ask again already?

A bucket of tokens for each endpoint and client address: one that asks without end is refused alone.
Invariant: bounded memory; of very many addresses those are forgotten that have asked longest ago.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from probes.agent.refusals import Refusal

_MOST_BUCKETS = 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many a second from then on."""

    burst: int
    per_s: float


#: By path. A controller asks for a report twice a minute, and for attestation as lines come;
#: health and metrics are asked by the kubelet and by Prometheus.
RATES: Mapping[str, Rate] = {
    "/v1/report": Rate(20, 5),
    "/v1/checks": Rate(20, 5),
    "/v1/history": Rate(5, 0.5),
    "/v1/run": Rate(10, 0.5),
    "/v1/settings": Rate(10, 0.5),
    "/v1/kmsg": Rate(20, 4),
    "/metrics": Rate(10, 2),
    "/openapi.json": Rate(5, 0.5),
}


class RateLimits:
    """Any thread."""

    def __init__(self, monotonic: Callable[[], float], rates: Mapping[str, Rate] = RATES) -> None:
        self._monotonic, self._rates = monotonic, rates
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def admit(self, path: str, client: str) -> None:
        """Take a token. Raises Refusal: none is left; it says when there is one again."""
        rate = self._rates.get(path)
        if rate is None:
            return
        now = self._monotonic()
        key = (path, client)
        with self._lock:
            tokens, when = self._buckets.pop(key, (float(rate.burst), now))
            tokens = min(float(rate.burst), tokens + (now - when) * rate.per_s)
            admitted = tokens >= 1
            self._buckets[key] = (tokens - 1 if admitted else tokens, now)
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        if not admitted:
            wait_s = max(1, math.ceil((1 - tokens) / rate.per_s))
            raise Refusal(
                "rate_limited",
                f"{path} is asked too often",
                f"at most {rate.burst} at once and {rate.per_s:g} a second from one address",
                headers={"Retry-After": str(wait_s)},
            )
