"""What do the results of a check come to in Autopilot's words, and which texts may stand beside?

Its users look for the words FAIL, ABORT, ERR and SUCCESS anywhere in a text, so a text holds such a
word only where it is meant.

Invariants:
- FAIL when something failed. Otherwise SUCCESS only when all of it was measured; skip, error and
  timeout are ABORT (it could not be run), and so is a result of a fake backend.
- Text that came from elsewhere is one line, bounded, and holds none of the words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from parsers.printable import printable
from probes.report import OutcomeName, Result

_WORDS = re.compile(r"FAIL|ABORT|ERR|SKIP|CRITICAL|Disconnected|Unreachable")
_GOOD = re.compile(r"success(?:ful(?:ly)?)?", re.IGNORECASE)
_GPU = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}")
_LIMIT = 240
_MOST_REASONS = 16
FAKE = "of a fake backend, which measures nothing"


class Verdict(Enum):
    """What a check comes to."""

    SUCCESS = "SUCCESS"
    FAIL = "FAIL"
    ABORT = "ABORT"  # could not be run: says nothing of the node


def verdict_of(results: Iterable[Result]) -> Verdict:
    """Of all results of a check. None at all is ABORT."""
    outcomes: set[OutcomeName] = {"skip" if each.fake else each.outcome for each in results}
    if "fail" in outcomes:
        return Verdict.FAIL
    return Verdict.SUCCESS if outcomes and outcomes <= {"pass", "warn"} else Verdict.ABORT


def by_gpu(results: Iterable[Result]) -> Mapping[str, Sequence[Result]]:
    """The results of each GPU, in the order of their addresses: Autopilot's GPU 0, 1, 2 ..."""
    found: dict[str, list[Result]] = defaultdict(list)
    for each in results:
        if _GPU.fullmatch(each.device):
            found[each.device].append(each)
    return dict(sorted(found.items()))


def reasons(results: Sequence[Result]) -> list[str]:
    """A line for each result that is no pass, the failures first."""
    indexes = {device: index for index, device in enumerate(by_gpu(results))}
    ranked = sorted(results, key=lambda each: each.outcome != "fail")
    lines = []
    for each in ranked:
        if each.outcome == "pass" and not each.fake:
            continue
        index = indexes.get(each.device)
        place = f"GPU {index} {each.device}: " if index is not None else ""
        if index is None and each.device:
            place = f"{each.device}: "
        told = FAKE if each.fake else f"{each.outcome}: {each.message}"
        lines.append(words(place + told))
    more = len(lines) - _MOST_REASONS
    return [*lines[:_MOST_REASONS], f"and {more} more"] if more > 0 else lines


def words(text: str) -> str:
    """Somebody's text as it may stand beside a verdict: one line, with none of its words."""
    return _WORDS.sub(lambda match: match[0].lower(), _GOOD.sub("ok", printable(text, _LIMIT)))
