"""Which counters of an RDMA port say something, and how fast did they grow within the last hour?

Counters only grow, until somebody resets them (``perfquery -R``), the driver is loaded anew or the
node boots: a value that is smaller than before is all that has come since.

Limits are those that others have published (NVSentinel's nic-health-monitor, gpud); what a peer or
congestion can cause warns, and does not accuse the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from probes.check import Outcome

#: The span that limits are of, and how far apart values are kept in it, seconds.
HOUR_S = 3600.0
_STEP_S = 600.0


@dataclass(frozen=True, slots=True)
class CounterLimit:
    """More than ``most`` within an hour is too much."""

    path: str  # below the port's folder
    most: int
    outcome: Outcome
    source: str

    @property
    def name(self) -> str:
        """The counter's."""
        return self.path.rsplit("/", 1)[-1]


LIMITS = (
    CounterLimit(
        "counters/symbol_error", 120, Outcome.FAIL, "bit error rate of the IBTA (NVSentinel)"
    ),
    CounterLimit("counters/local_link_integrity_errors", 0, Outcome.FAIL, "NVSentinel: any"),
    CounterLimit("counters/excessive_buffer_overrun_errors", 0, Outcome.FAIL, "NVSentinel: any"),
    CounterLimit("counters/link_downed", 2, Outcome.FAIL, "3 times is a flap (gpud)"),
    CounterLimit("counters/link_error_recovery", 300, Outcome.WARN, "5 a minute (NVSentinel)"),
    CounterLimit("counters/port_rcv_errors", 0, Outcome.WARN, "told by NVSentinel"),
    CounterLimit("hw_counters/roce_slow_restart", 36_000, Outcome.WARN, "10 a second (NVSentinel)"),
    # The peer's death causes these as well: NVSentinel calls them fatal, we do not.
    CounterLimit("hw_counters/rnr_nak_retry_err", 0, Outcome.WARN, "NVSentinel: any"),
    CounterLimit("hw_counters/req_transport_retries_exceeded", 0, Outcome.WARN, "NVSentinel: any"),
)
PATHS = tuple(each.path for each in LIMITS)


class Growth:
    """How much the counters of one port have grown: values of the last hour, kept between runs.

    ``kept`` is what ``values`` gave last time; it is from the disk and may be anything."""

    def __init__(self, kept: object, now_s: float) -> None:
        self._now_s = now_s
        self._points: list[tuple[float, dict[str, int]]] = []
        for point in kept if isinstance(kept, list) else ():
            match point:
                case [int() | float() as at_s, dict() as values] if at_s <= now_s:
                    numbers = {k: v for k, v in values.items() if isinstance(v, int)}
                    self._points.append((float(at_s), numbers))

    def grown(self, counters: Mapping[str, int]) -> dict[str, int]:
        """By how much each has grown within the last hour, as far as it is known."""
        recent = [each for each in self._points if each[0] >= self._now_s - HOUR_S - _STEP_S]
        grown = {}
        for name, value in counters.items():
            series = [values[name] for _, values in recent if name in values] + [value]
            grown[name] = sum(
                after - before if after >= before else after for before, after in pairwise(series)
            )
        return grown

    def values(self, counters: Mapping[str, int]) -> list[object]:
        """What to keep: one point in ten minutes, and the newest."""
        points = [each for each in self._points if each[0] >= self._now_s - HOUR_S - _STEP_S]
        if (
            len(points) >= 2
            and points[-1][0] - points[-2][0] < _STEP_S
            and not self._reset(counters)
        ):
            points.pop()
        return [
            [round(at_s, 1), values] for at_s, values in (*points, (self._now_s, dict(counters)))
        ]

    def _reset(self, counters: Mapping[str, int]) -> bool:
        """A value before a reset is kept: what it had grown until then counts."""
        last = self._points[-1][1]
        return any(value < last.get(name, 0) for name, value in counters.items())
