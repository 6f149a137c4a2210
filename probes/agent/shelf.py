"""Which runs of a cadence are told, and how much of them?

A report is read by the thousand, so it tells once what does not change: the newest run in full, of
older ones what passed by its outcome alone. What failed is told in full, and for longer.

Invariant: a run that is told has all of its outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from probes.agent.fitting import fitted
from probes.report import Run


@dataclass(frozen=True, slots=True)
class Share:
    """How many runs are told."""

    newest: int  # whatever they found
    failed: int  # of the newest so many, those in which something failed
    in_full: int = 1  # of the newest


#: A controller asks every 5 minutes, and every 30 s while it waits for three passes in a row: it
#: misses none of those, and no failure of a minute's run.
SHARES: Mapping[str, Share] = {
    "boot": Share(1, 2),
    "light": Share(3, 12),
    "hourly": Share(2, 4),
    "invasive": Share(2, 4),
    "requested": Share(16, 16, in_full=6),
}
OTHER_SHARE = Share(2, 2)


@dataclass(frozen=True, slots=True)
class Shown:
    """A run that is told."""

    sequence: int  # among all runs
    number: int  # among those of its cadence
    failed: bool
    content: bytes  # JSON
    short: bytes  # JSON, for when it is not the newest any more


class Shelf:
    """The runs of one cadence, oldest first."""

    def __init__(self, cadence: str) -> None:
        self._share = SHARES.get(cadence, OTHER_SHARE)
        self._number = 0
        self.runs: tuple[Shown, ...] = ()

    def put(self, run: Run, sequence: int) -> None:
        """A newer run."""
        self._number += 1
        failed = any(result.outcome == "fail" for result in run.results)
        new = Shown(sequence, self._number, failed, _json(fitted(run)), _json(fitted(_short(run))))
        self.runs = tuple(
            each if self._in_full(each) else replace(each, content=each.short)
            for each in (*self.runs, new)
            if self._is_told(each)
        )

    def _is_told(self, shown: Shown) -> bool:
        age = self._number - shown.number
        return age < self._share.newest or (shown.failed and age < self._share.failed)

    def _in_full(self, shown: Shown) -> bool:
        return self._number - shown.number < self._share.in_full


def _short(run: Run) -> Run:
    return run.model_copy(
        update={
            "results": tuple(
                each.model_copy(update={"message": "", "measurements": (), "detail": {}})
                if each.outcome == "pass"
                else each
                for each in run.results
            )
        }
    )


def _json(run: Run) -> bytes:
    return run.model_dump_json(exclude_defaults=True).encode()
