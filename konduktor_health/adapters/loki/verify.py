"""Does the selector match what it should: some stream, of one cluster?

Loki answers a selector that matches nothing with 200 and nothing, which looks like a healthy
fleet; a selector that matches two clusters would mix up nodes of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from konduktor_health.adapters.loki.client import Limits
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.adapters.loki.refusals import AnswerLost
from konduktor_health.clock import NS
from konduktor_health.errors import (
    ConfigError,
    LokiRefused,
    LokiTooMuch,
    TransientError,
    excerpt,
)
from konduktor_health.settings import ReadingSettings

_LOOK_BACK_S = (3600, 86_400)  # a day of streams may be a large answer: the last hour first
_EVERY_S = 600.0
_SOON_S = 60.0  # while something is wrong
_SHOWN = 10


class StreamFinder(Protocol):
    """The part of LokiClient that verification needs."""

    def series(self, selector: str, start_ns: int, end_ns: int) -> list[Mapping[str, str]]:
        """As LokiClient.series."""
        ...

    def label_values(self, name: str, selector: str, start_ns: int, end_ns: int) -> list[str]:
        """As LokiClient.label_values."""
        ...

    def label_names(self, start_ns: int, end_ns: int) -> list[str]:
        """As LokiClient.label_names."""
        ...

    def limits(self) -> Limits:
        """As LokiClient.limits."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the streams of a selector look like."""

    clusters: tuple[str, ...] = ()
    message: str = ""  # empty: nothing to complain of
    hint: str = ""
    mixed: bool = False  # several clusters: must not be read
    absent: bool = False  # no stream at all


class SelectorCheck:
    """Verifies one source's selector now and then, and remembers what was found."""

    def __init__(self, finder: StreamFinder, spec: SourceSpec, reading: ReadingSettings) -> None:
        self._finder = finder
        self._spec = spec
        self._reading = reading
        self._due_s: float | None = None
        self.verdict = Verdict()
        self.lookback_ns = 0  # of the tenant; 0: no limit, or not known

    def refresh(self, now_s: float, now_ns: int) -> bool:
        """Verify if it is time to (``now_s``: monotonic); True when it was done.

        Raises ConfigError while the selector mixes clusters, and as LokiClient does where the
        lines would be read without knowing whose they are: before the first verdict.
        """
        due = self._due_s is None or now_s >= self._due_s
        done = due and self._verify(now_s, now_ns)
        if self.verdict.mixed:
            raise ConfigError(self.verdict.message, hint=self.verdict.hint)
        return done

    def _verify(self, now_s: float, now_ns: int) -> bool:
        must = self._due_s is None or self.verdict.mixed
        try:
            self.verdict = verify(self._finder, self._spec, self._reading, now_ns)
            self.lookback_ns = self._finder.limits().lookback_ns
        except TransientError:
            if must:
                raise
            self._due_s = now_s + _EVERY_S
            return False
        self._due_s = now_s + (_SOON_S if self.verdict.message else _EVERY_S)
        return True


def verify(
    finder: StreamFinder, spec: SourceSpec, reading: ReadingSettings, now_ns: int
) -> Verdict:
    """Look at the selector's streams of the last hour, or day. Raises as LokiClient does."""
    streams: list[Mapping[str, str]] = []
    for look_back_s in _LOOK_BACK_S:
        start_ns = max(0, now_ns - look_back_s * NS)
        try:
            streams = finder.series(spec.selector, start_ns, now_ns)
            values = {stream.get(reading.cluster_label, "") for stream in streams}
        except (LokiTooMuch, AnswerLost, LokiRefused) as error:
            if isinstance(error, LokiRefused) and error.status in (400, 401):
                raise  # the query itself would be refused as well
            return _judged(spec, reading, _label_values(finder, spec, reading, now_ns))
        if streams:
            return _judged(spec, reading, values)
    return _absent(finder, spec, now_ns)


def _label_values(
    finder: StreamFinder, spec: SourceSpec, reading: ReadingSettings, now_ns: int
) -> set[str]:
    """The clusters where /series is not to be had (its answers can be too large to arrive);
    none where Loki refuses this too."""
    start_ns = max(0, now_ns - _LOOK_BACK_S[0] * NS)
    try:
        return set(finder.label_values(reading.cluster_label, spec.selector, start_ns, now_ns))
    except (LokiTooMuch, LokiRefused):
        return set()


def _judged(spec: SourceSpec, reading: ReadingSettings, values: set[str]) -> Verdict:
    clusters = tuple(sorted(value for value in values if value))
    if len(clusters) < 2 or reading.cluster:
        return Verdict(clusters)
    shown = ", ".join(excerpt(value) for value in clusters[:_SHOWN])
    return Verdict(
        clusters[:100],
        f"selector matches {len(clusters)} clusters ({shown}): {excerpt(spec.selector)}; "
        f"not reading, two clusters may have nodes of the same name",
        f"set reading.cluster to the value of label {reading.cluster_label} that is this cluster",
        mixed=True,
    )


def _absent(finder: StreamFinder, spec: SourceSpec, now_ns: int) -> Verdict:
    try:
        present = finder.label_names(max(0, now_ns - _LOOK_BACK_S[-1] * NS), now_ns)
    except (LokiTooMuch, LokiRefused):
        present = []
    shown = ", ".join(excerpt(name) for name in sorted(present)[:40])
    return Verdict(
        message=f"no stream matches {excerpt(spec.selector)} in the last 24h",
        hint=f"check the selector; label names present are: {shown}"
        if shown
        else "Loki holds no stream at all in the last 24h: is loki.tenant right?",
        absent=True,
    )
