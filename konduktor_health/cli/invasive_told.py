"""How is an invasive test of a node told? By the note on the Node, as text and as JSON. Pure."""

from __future__ import annotations

from typing import Any

from konduktor_health.cli.times import ago, when
from konduktor_health.core.invasive_note import Note, Purpose, Stage, in_words

_FOR = {
    Purpose.PROOF: "clearing asks for it",
    Purpose.SCHEDULE: "by the schedule of the site",
    Purpose.REQUEST: "somebody, or a rule, has asked for it",
}


def note_text(note: Note, now_ns: int) -> str:
    """The state, since when, what is tested and why, and when it is tried again."""
    told = [f"{in_words(note)} (since {ago(note.since_ns, now_ns)})"]
    if note.probes:
        told.append(f"probes {', '.join(note.probes)}: {_FOR[note.purpose]}")
    if note.stage is not Stage.TESTING and (again := when(note.until_ns)):
        told.append(f"not tried again before {again[:19]}Z")
    if note.tries:
        told.append(f"{note.tries} in a row without proof")
    return "; ".join(told)


def note_as_json(note: Note | None) -> dict[str, Any] | None:
    """Described in docs/reference/node-json.md."""
    if note is None:
        return None
    return {
        "state": note.stage.value,
        "since": when(note.since_ns),
        "for": note.purpose.value,
        "probes": list(note.probes),
        "run": note.run_id or None,
        "tries": note.tries,
        "not_before": when(note.until_ns),
        "why": note.why or None,
    }
