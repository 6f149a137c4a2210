"""What did DCGM's levels come to on a node? Its newest run of each that was measured to its end.

Autopilot's labels tell it (``core.labels``); whether a node is well is decided by records alone.
Invariants: a level with a result that was not measured, and none that failed, says nothing; a fake
backend says nothing; what an agent writes becomes an annotation only as far as it reads as the name
of a test and the number of a GPU.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from konduktor_health.model import Diagnosis
from probes.report import Result, Run

_CHECK = re.compile(r"dcgm-([1-4])")
_TEST = re.compile(r"[a-z0-9_]{1,64}")
_GPU = re.compile(r"[0-9]{1,3}")
_MOST = 1000  # characters of the tests that failed
_GOOD = frozenset({"pass", "warn"})
#: Cadences of which most runs are, and that no level has (``probes.checks.dcgm``).
_WITHOUT = frozenset({"boot", "light"})


def diagnoses_of(
    runs: Iterable[Run], before: Iterable[Diagnosis] = (), *, accept_fake: bool
) -> tuple[Diagnosis, ...]:
    """Of each level the newest, by level. ``runs``: that were not looked at yet, oldest first;
    ``before``: what was known."""
    found = {each.level: each for each in before}
    for run in runs:
        if run.cadence in _WITHOUT:
            continue
        by_level: dict[int, list[Result]] = defaultdict(list)
        for each in run.results:
            if match := _CHECK.fullmatch(each.check):
                by_level[int(match[1])].append(each)
        for level, results in by_level.items():
            if (said := _of(level, results, accept_fake=accept_fake)) is not None:
                found[level] = said
    return tuple(found[level] for level in sorted(found))


def _of(level: int, results: Sequence[Result], *, accept_fake: bool) -> Diagnosis | None:
    if any(each.fake for each in results) and not accept_fake:
        return None
    outcomes = {each.outcome for each in results}
    time_ns = max(each.ended_ns for each in results)
    if "fail" in outcomes:
        return Diagnosis(level, passed=False, time_ns=time_ns, failed=_failed(results))
    return Diagnosis(level, passed=True, time_ns=time_ns) if outcomes <= _GOOD else None


def _failed(results: Sequence[Result]) -> str:
    """``test.gpu.gpu,test.gpu``, as Autopilot's documents have it; ``test.NoGPUid`` of the node."""
    gpus: dict[str, set[str]] = defaultdict(set)
    for each in results:
        if each.outcome == "fail":
            ids = [i for i in each.detail.get("dcgm_gpus", "").split(",") if _GPU.fullmatch(i)]
            for test in each.detail.get("failed", "").split(","):
                if _TEST.fullmatch(test):
                    gpus[test].update(ids)
    parts = [
        ".".join([test, *(sorted(ids, key=int) or ["NoGPUid"])])
        for test, ids in sorted(gpus.items())
    ]
    while parts and len(",".join(parts)) > _MOST:
        parts.pop()
    return ",".join(parts)
