"""How does a run fit into a report, however much its checks had to say?

Invariant: what is left out is told. A run that lost results carries an ``error`` that says how
many, so that nobody takes what is left for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from probes.report import Result, Run

#: A run as JSON. 8 GPUs and 30 checks are about 60 KiB; five cadences fit into a report.
MOST_RUN_BYTES = 160 * 1024
_MESSAGE = 120
_WORST_FIRST = ("fail", "timeout", "error", "warn", "skip", "pass")
_NOT_TOLD = "results-left-out"


def fitted(run: Run, most_bytes: int = MOST_RUN_BYTES) -> Run:
    """The run itself where it fits; else shorter texts, and if need be only its worst results."""
    if _size(run) <= most_bytes:
        return run
    short = run.model_copy(update={"results": tuple(_shorter(each) for each in run.results)})
    if _size(short) <= most_bytes:
        return short
    worst = sorted(short.results, key=lambda each: _WORST_FIRST.index(each.outcome))
    kept = worst[: _fitting(worst, most_bytes - 2048)]
    return short.model_copy(update={"results": (*kept, _left_out(run, len(worst) - len(kept)))})


def _size(run: Run) -> int:
    return len(run.model_dump_json(exclude_defaults=True).encode())


def _shorter(result: Result) -> Result:
    return result.model_copy(
        update={
            "message": result.message[:_MESSAGE],
            "detail": {},
            "measurements": tuple(m for m in result.measurements if m.threshold is not None),
        }
    )


def _fitting(results: Sequence[Result], most_bytes: int) -> int:
    total = 0
    for number, result in enumerate(results):
        total += len(result.model_dump_json(exclude_defaults=True).encode()) + 1
        if total > most_bytes:
            return number
    return len(results)


def _left_out(run: Run, count: int) -> Result:
    return Result(
        check=_NOT_TOLD,
        tier=run.results[0].tier,
        outcome="error",
        message=f"the run is too large to be told: {count} of {len(run.results)} results left out",
        ended_ns=run.ended_ns,
    )
