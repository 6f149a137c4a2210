"""Where is a node on its way to an invasive test? The annotation ``testing``, as a value.

It is the intent that is on the Node before a Job is made, and what is told of it afterwards: that
its GPUs are still held, that the Job could not run, that its result is waited for. So a controller
that starts anew goes on with it, back-off included, and ``explain`` shows it.

Invariants: anything that cannot be read is ``None``, which means that there is none; text of others
(names of pods, what a Job said) is bounded and printable; the words of a state do not change while
it waits, so that waiting writes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from konduktor_health.timestamps import parse_rfc3339, rfc3339_micro
from parsers.printable import printable

WHY_LIMIT = 200
MOST_PODS = 3  # that are named
_MOST_PROBES = 16
_PROBE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RUN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})?")


class Stage(Enum):
    """What comes next. Values are in the annotation, and labels of a metric."""

    TESTING = "testing"  # a Job is to be made, or is there
    WAITING = "waiting"  # for something that the Job cannot do without: idle GPUs
    FAILED = "failed"  # the Job could not run, or gave up
    TESTED = "tested"  # it has delivered; the agent's report is waited for


class Purpose(Enum):
    """What a test is for. Values are in the annotation."""

    PROOF = "proof"  # clearing asks for it
    SCHEDULE = "schedule"  # the site tests idle nodes now and then
    REQUEST = "request"  # somebody, or a rule that verifies, has asked for it


@dataclass(frozen=True, slots=True)
class Note:
    """What stands on the Node. Times are Unix ns."""

    stage: Stage
    since_ns: int
    probes: tuple[str, ...] = ()  # what is to be passed: "invasive", or names of checks; sorted
    purpose: Purpose = Purpose.PROOF
    run_id: str = ""  # of the run that the Job is to deliver
    tries: int = 0  # in a row that brought no proof
    until_ns: int = 0  # not tried again before; TESTING: 0
    why: str = ""  # WAITING, FAILED: in words


def render_note(note: Note) -> str:
    """The annotation's text."""
    data: dict[str, Any] = {
        "state": note.stage.value,
        "since": rfc3339_micro(note.since_ns),
        "for": note.purpose.value,
        "probes": list(note.probes),
    }
    if note.run_id:
        data["run"] = note.run_id
    if note.tries:
        data["tries"] = note.tries
    if note.until_ns:
        data["until"] = rfc3339_micro(note.until_ns)
    if note.why:
        data["why"] = printable(note.why, WHY_LIMIT)
    return json.dumps(data, separators=(",", ":"))


def parse_note(text: str | None) -> Note | None:
    """Read the annotation; None for none, and for one that makes no sense."""
    if text is None:
        return None
    try:
        data = json.loads(text)
        until = data.get("until")
        return Note(
            stage=Stage(data["state"]),
            since_ns=parse_rfc3339(data["since"]),
            probes=tuple(sorted(map(_name, data["probes"])))[:_MOST_PROBES],
            purpose=Purpose(data["for"]),
            run_id=_name(data.get("run", ""), _RUN),
            tries=min(max(int(data.get("tries", 0)), 0), 1000),
            until_ns=0 if until is None else parse_rfc3339(until),
            why=printable(str(data.get("why", "")), WHY_LIMIT),
        )
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def busy(pods: Iterable[str]) -> str:
    """Why a node waits whose GPUs are held by these pods ("namespace/name")."""
    names = sorted(pods)
    more = f" and {len(names) - MOST_PODS} more" if len(names) > MOST_PODS else ""
    return f"GPUs busy (pods {', '.join(names[:MOST_PODS])}{more})"


def in_words(note: Note) -> str:
    """The state in a few words; the same ones for as long as nothing else is known."""
    match note.stage:
        case Stage.TESTING:
            return "testing"
        case Stage.WAITING:
            return f"waiting: {note.why or 'not told for what'}"
        case Stage.FAILED:
            return f"not tested: {note.why or 'not told why'}"
        case Stage.TESTED:
            return "tested; the result is waited for"


def words_of_test(text: str | None) -> str:
    """What the annotation says of a test that clearing waits for; "" where there is none."""
    note = parse_note(text)
    return "" if note is None or note.purpose is not Purpose.PROOF else in_words(note)


def is_testing(text: str | None) -> bool:
    """By the annotation a test may be running."""
    note = parse_note(text)
    return note is not None and note.stage is Stage.TESTING


def _name(value: object, form: re.Pattern[str] = _PROBE) -> str:
    """Names end up in the command of a Job: whoever may write the Node could write options."""
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError("not a name")
    return value
