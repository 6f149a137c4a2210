"""What do the results of one GPU in a DCGM diagnostic come to?

Invariants:
- A pass needs the main tests of the level, run on this GPU and passed. Those that were skipped make
  a skip, those that are missing an error. What a level runs further may be skipped (an EUD that is
  not installed).
- DCGM 3 tells of software for the node as a whole. Such a result is part of every GPU's: a good one
  counts for all, a bad one lets none of them pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probes.check import Outcome
from probes.tools.dcgm_judgement import Judgement, judge
from probes.tools.dcgmi import DiagResult

#: What each level has to have run, beside that of the levels below it. Alternatives are the names
#: that DCGM 3 gives its software tests.
MAIN_TESTS: Mapping[int, tuple[frozenset[str], ...]] = {
    1: (frozenset({"software", "denylist", "nvml_library"}),),
    2: (frozenset({"memory"}), frozenset({"pcie"})),
    3: (frozenset({"diagnostic"}),),
    4: (frozenset({"memtest"}),),
}

#: The worst first; a skip is worse than a warning, since it proves nothing.
_ORDER = (Outcome.FAIL, Outcome.ERROR, Outcome.SKIP, Outcome.WARN, Outcome.PASS)
_BAD = (Outcome.FAIL, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What several results come to."""

    outcome: Outcome
    reasons: tuple[str, ...]  # the worst first
    severity: str = "degraded"
    remedy: str = "inspect"


def verdict_of(results: Sequence[DiagResult]) -> Verdict:
    """The worst of these results, whatever the level; a pass when none is bad."""
    judged = [(result, judge(result)) for result in results]
    told = [(r, j) for r, j in judged if j.outcome not in (Outcome.PASS, Outcome.SKIP)]
    told.sort(key=lambda entry: _weight(entry[1]))
    if not told:
        return Verdict(Outcome.PASS, ())
    worst = told[0][1]
    reasons = dict.fromkeys(judgement.reason for _, judgement in told)
    return Verdict(worst.outcome, tuple(reasons), worst.severity, worst.remedy)


def verdict_at(
    level: int, own: Sequence[DiagResult], of_node: Sequence[DiagResult] = ()
) -> Verdict:
    """What a diagnostic of ``level`` says of a GPU with its ``own`` results."""
    verdict = verdict_of(own)
    if verdict.outcome in _BAD:
        return verdict
    outcomes: dict[str, list[Outcome]] = {}
    for result in (*own, *of_node):
        outcomes.setdefault(result.test, []).append(judge(result).outcome)
    doubts: list[str] = []
    for names in (names for each in range(1, level + 1) for names in MAIN_TESTS[each]):
        found = [outcome for name in names for outcome in outcomes.get(name, ())]
        if not found:
            missing = "/".join(sorted(names))
            return Verdict(Outcome.ERROR, (f"level {level} without a result of {missing}",))
        if all(outcome is Outcome.SKIP for outcome in found):
            doubts.append(f"{min(names & outcomes.keys())} did not run")
    doubts += [
        f"{result.test} is not well on the node as a whole"
        for result in of_node
        if judge(result).outcome in _BAD
    ]
    if doubts:
        return Verdict(Outcome.SKIP, (*doubts, *verdict.reasons))
    return verdict


def tests_that(outcome: Outcome, results: Sequence[DiagResult]) -> list[str]:
    """Names of tests that came to this outcome."""
    return sorted({result.test for result in results if judge(result).outcome is outcome})


def _weight(judgement: Judgement) -> tuple[int, bool]:
    return _ORDER.index(judgement.outcome), judgement.severity != "fatal"
