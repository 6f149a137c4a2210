"""What has come of the checks of a run so far?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from probes.check import CheckSpec, Outcome
from probes.report import Result
from probes.runner.attend import Attended
from probes.runner.order import Clock, Progress
from probes.runner.results import Stamp


class Tally:
    """Collects results and tells progress."""

    def __init__(self, clock: Clock, progress: Callable[[Progress], None]) -> None:
        self._clock, self._progress = clock, progress
        self._results: dict[str, tuple[Result, ...]] = {}
        self.keep: dict[str, dict[str, object]] = {}
        self.backend, self.fake = "", False  # as the child said

    def begins(self, spec: CheckSpec) -> None:
        """A check begins."""
        self._progress(Progress(spec, None))

    def ended(self, attended: Attended) -> None:
        """A check came to its end: what it found is what there is."""
        stamp = self._stamp(attended.spec, attended.ended - attended.began)
        results = [stamp.result(each) for each in attended.findings]
        if attended.keep is not None:
            self.keep[attended.spec.name] = attended.keep
        self._add(attended.spec, results or [stamp.of("error", "the check found nothing to say")])

    def broke(self, attended: Attended, outcome: Outcome, why: str) -> None:
        """A check came to no proper end: what it had found, and that, told once."""
        stamp = self._stamp(attended.spec, self._clock.monotonic() - attended.began)
        found = [stamp.result(each) for each in attended.findings]
        same = [each for each in found if (each.outcome, each.device) == (outcome.value, "")]
        others = [each for each in found if each not in same]
        reasons = dict.fromkeys([*(each.message for each in same), why])
        self._add(attended.spec, [*others, stamp.of(outcome.value, "; ".join(reasons))])

    def judged(self, spec: CheckSpec, outcome: Outcome, why: str) -> None:
        """A check that was not run."""
        self._add(spec, [self._stamp(spec, 0.0).of(outcome.value, why)])

    def results(self, specs: Iterable[CheckSpec]) -> list[Result]:
        """Of all of them, in their order."""
        return [result for spec in specs for result in self._results[spec.name]]

    def _stamp(self, spec: CheckSpec, duration_s: float) -> Stamp:
        return Stamp(spec, self.backend, self.fake, self._clock.wall_ns(), duration_s)

    def _add(self, spec: CheckSpec, results: list[Result]) -> None:
        self._results[spec.name] = tuple(results)
        self._progress(Progress(spec, self._results[spec.name]))
