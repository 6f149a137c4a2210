"""Which counters of an RDMA port say something, and how fast did they grow within the last hour?

Counters only grow, until somebody resets them (``perfquery -R``), the driver is loaded anew or the
node boots: a value that is smaller than before is all that has come since.

Limits are those that others have published (NVSentinel's nic-health-monitor, gpud). They are read
as a careful operator would:

- Only what lasts accuses. A counter has to be above its limit, and to have grown in several spans
  of ten minutes (``spans``); what came in one burst warns.
- What belongs to an outage accuses nobody: a link that goes down and trains anew makes errors of
  every kind, at all nodes behind a switch that was started anew. Errors of a span in which
  ``link_downed`` grew, and of the span after it, in which the link may have come back, are only
  told.
- A link that went down once or twice, or many times in one go, warns; down in three spans of an
  hour it flaps.
- What a peer or congestion can cause warns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from probes.check import Outcome

#: The span that limits are of, and how far apart values are kept in it, seconds.
HOUR_S = 3600.0
_STEP_S = 600.0
_DOWNED = "counters/link_downed"


@dataclass(frozen=True, slots=True)
class CounterLimit:
    """More than ``most`` within an hour is too much."""

    path: str  # below the port's folder
    most: int
    outcome: Outcome
    source: str
    spans: int = 2  # of a fail: in so many spans of ten minutes it has to have grown

    @property
    def name(self) -> str:
        """The counter's."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def warns_from(self) -> int:
        """A link that went down is told from the first time on."""
        return 1 if self.path == _DOWNED else self.most + 1


LIMITS = (
    CounterLimit(
        "counters/symbol_error", 120, Outcome.FAIL, "bit error rate of the IBTA (NVSentinel)"
    ),
    CounterLimit("counters/local_link_integrity_errors", 0, Outcome.FAIL, "NVSentinel: any"),
    CounterLimit("counters/excessive_buffer_overrun_errors", 0, Outcome.FAIL, "NVSentinel: any"),
    CounterLimit(_DOWNED, 2, Outcome.FAIL, "3 times is a flap (gpud)", spans=3),
    CounterLimit("counters/link_error_recovery", 300, Outcome.WARN, "5 a minute (NVSentinel)"),
    CounterLimit("counters/port_rcv_errors", 0, Outcome.WARN, "told by NVSentinel"),
    CounterLimit("hw_counters/roce_slow_restart", 36_000, Outcome.WARN, "10 a second (NVSentinel)"),
    # The peer's death causes these as well: NVSentinel calls them fatal, we do not.
    CounterLimit("hw_counters/rnr_nak_retry_err", 0, Outcome.WARN, "NVSentinel: any"),
    CounterLimit("hw_counters/req_transport_retries_exceeded", 0, Outcome.WARN, "NVSentinel: any"),
)
PATHS = tuple(each.path for each in LIMITS)


@dataclass(slots=True)
class Grown:
    """How a counter grew within the last hour."""

    by: int = 0
    by_itself: int = 0  # of it, what is of no outage
    spans: int = 0  # spans of ten minutes in which it grew, those of an outage left out


@dataclass(slots=True)
class _Span:
    began_s: float
    by: dict[str, int] = field(default_factory=dict)


def judged(limit: CounterLimit, grown: Grown) -> Outcome:
    """What comes of a counter's growth."""
    if grown.by < limit.warns_from:
        return Outcome.PASS
    lasts = grown.by_itself > limit.most and grown.spans >= limit.spans
    return limit.outcome if lasts else Outcome.WARN


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

    def grown(self, counters: Mapping[str, int]) -> dict[str, Grown]:
        """By how much each has grown within the last hour, as far as it is known."""
        grown = {name: Grown() for name in counters}
        outages = 0  # spans that are still of an outage
        for span in self._spans(counters):
            outages = 2 if span.by.get(_DOWNED) else max(0, outages - 1)
            for name, by in span.by.items():
                grown[name].by += by
                if by and (not outages or name == _DOWNED):
                    grown[name].by_itself += by
                    grown[name].spans += 1
        return grown

    def _spans(self, counters: Mapping[str, int]) -> Iterator[_Span]:
        """Growth in spans of ten minutes and more. A point need not have every counter."""
        recent = [each for each in self._points if each[0] >= self._now_s - HOUR_S - _STEP_S]
        last: dict[str, int] = {}
        span: _Span | None = None
        for (began_s, before), (_, after) in pairwise([*recent, (self._now_s, dict(counters))]):
            last |= before
            if span is not None and began_s - span.began_s >= _STEP_S:
                yield span
                span = None
            span = span or _Span(began_s)
            for name in counters.keys() & after.keys() & last.keys():
                value, earlier = after[name], last[name]
                by = value - earlier if value >= earlier else value
                span.by[name] = span.by.get(name, 0) + by
        if span is not None:
            yield span

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
