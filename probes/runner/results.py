"""What does a finding look like on the wire? In the parent, which does not trust its child.

Invariant: a finding that does not fit the schema becomes an ``error``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from parsers.printable import printable
from probes.check import CheckSpec
from probes.report import Result

#: Most results of a run (``probes.report.Run``).
MOST_RESULTS = 2048
_WORST_FIRST = ("fail", "timeout", "error", "warn", "skip", "pass")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a check does not say itself of its results."""

    spec: CheckSpec
    backend: str
    fake: bool
    ended_ns: int
    duration_s: float

    def result(self, finding: Mapping[str, Any]) -> Result:
        """The result of a finding (``probes.runner.findings``)."""
        try:
            return Result.model_validate({**finding, **self._own()})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            said = f"{finding.get('outcome')}: {finding.get('message')}"
            why = f"a finding that cannot be told, {where}: {first['msg']} ({said})"
            return self.of("error", why)

    def of(self, outcome: str, message: str) -> Result:
        """A result of the node without measurements."""
        told = {"outcome": outcome, "message": printable(message, 512)}
        return Result.model_validate({**told, **self._own()})

    def _own(self) -> dict[str, object]:
        return {
            "check": self.spec.name,
            "tier": self.spec.tier.value,
            "backend": self.backend,
            "fake": self.fake,
            "ended_ns": self.ended_ns,
            "duration_s": round(max(0.0, self.duration_s), 6),
        }


def bounded(results: list[Result]) -> tuple[Result, ...]:
    """As many as a run may have, in their order; what is left out are the least bad ones, so that
    no failure is lost and no pass is made up."""
    if len(results) <= MOST_RESULTS:
        return tuple(results)
    ranked = sorted(range(len(results)), key=lambda at: _WORST_FIRST.index(results[at].outcome))
    return tuple(results[at] for at in sorted(ranked[:MOST_RESULTS]))


def worst(results: tuple[Result, ...]) -> str:
    """The outcome that counts when one word is wanted; "skip" of none."""
    found = {result.outcome for result in results}
    return next((outcome for outcome in _WORST_FIRST if outcome in found), "skip")
