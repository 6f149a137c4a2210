"""In which state is a record, and which states may follow? The state machine as data.

docs/design/decide.md has this table (generated), and the property tests check that no decision
makes a step that is not in it. A state follows from the record's fields alone, so that it need not
be stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from konduktor_health.core.clearing import OPERATOR, REPAIR
from konduktor_health.core.record import Ledger, Record


class State(Enum):
    """Where a fault is on its way, in words."""

    ABSENT = "absent"
    SHOWN = "shown"
    COUNTED = "counted"
    OPEN = "open"
    PROVING = "proving"
    WAITING = "waiting for a person"
    PAST = "past"


MEANING: Mapping[State, str] = {
    State.ABSENT: "nothing is known of it",
    State.SHOWN: "visible; its evidence never acts",
    State.COUNTED: "its evidence may act; its rule observes it, or wants to see it more often,"
    " or it was repaired before it was acted on",
    State.OPEN: "it asks for an effect; the repair that it needs was not seen",
    State.PROVING: "it asks for an effect; repaired as far as can be seen, and not proven yet",
    State.WAITING: "it asks for an effect; only a person's word clears it",
    State.PAST: "in the history: cleared, or faded away",
}

#: From each state, which ones may follow, and what makes it so. A state may always stay.
STEPS: Mapping[State, Mapping[State, str]] = {
    State.ABSENT: {
        State.SHOWN: "seen, by evidence that never acts",
        State.COUNTED: "seen, and the rule does not act on it yet",
        State.OPEN: "seen",
        State.PROVING: "seen, and nothing has to be repaired",
        State.WAITING: "seen, and its remedy is a person's",
    },
    State.SHOWN: {
        State.COUNTED: "seen by evidence that acts, or its boot became known",
        State.OPEN: "seen by evidence that acts, or its boot became known",
        State.PROVING: "seen by evidence that acts; nothing has to be repaired",
        State.WAITING: "seen by evidence that acts; its remedy is a person's",
        State.PAST: "faded: quiet for `decay`, observed",
        State.ABSENT: "reset, or no room in the annotation",
    },
    State.COUNTED: {
        State.OPEN: "seen often enough, or the policy changed",
        State.PROVING: "seen often enough; nothing has to be repaired",
        State.WAITING: "seen often enough; its remedy is a person's",
        State.SHOWN: "its fault was put in observation",
        State.PAST: "faded: quiet for `decay`, observed",
        State.ABSENT: "reset, or no room in the annotation",
    },
    State.OPEN: {
        State.PROVING: "repair seen: boot, GPU reset, the driver asks for nothing, end event",
        State.WAITING: "the repairs of the ladder are used up, or no agent can prove it",
        State.COUNTED: "not tainted for, and repaired meanwhile, or the policy changed",
        State.SHOWN: "not tainted for, and its fault was put in observation",
        State.PAST: "repaired and proven at once",
        State.ABSENT: "reset, or no room in the annotation",
    },
    State.PROVING: {
        State.OPEN: "seen again: the repair did not hold",
        State.WAITING: "seen again after the last step, or the agent is gone",
        State.COUNTED: "not tainted for, and repaired meanwhile, or the policy changed",
        State.SHOWN: "not tainted for, and its fault was put in observation",
        State.PAST: "the clear rule is met",
        State.ABSENT: "reset, or no room in the annotation",
    },
    State.WAITING: {
        State.OPEN: "an agent is there, or the policy changed",
        State.PROVING: "an agent is there, the end event came, or the policy changed",
        State.COUNTED: "not tainted for, and repaired meanwhile, or the policy changed",
        State.SHOWN: "not tainted for, and its fault was put in observation",
        State.PAST: "the end event came, or an agent has proven it",
        State.ABSENT: "reset or release, or no room in the annotation",
    },
    State.PAST: {
        State.SHOWN: "seen anew, by evidence that never acts",
        State.COUNTED: "seen anew",
        State.OPEN: "seen anew: the step of the ladder rises if a repair was seen",
        State.PROVING: "seen anew, and nothing has to be repaired",
        State.WAITING: "seen anew after the last step",
        State.ABSENT: "30 days over, or reset",
    },
}


def state_of(ledger: Ledger, key: tuple[str, str]) -> State:
    """The state of (device, fault id) in a ledger that was decided about."""
    record = ledger.record(key)
    if record is not None:
        return state_of_record(record)
    return State.PAST if ledger.past(key) is not None else State.ABSENT


def state_of_record(record: Record) -> State:
    """The state of an open record."""
    if not record.acting:
        return State.SHOWN
    if not record.asks:
        return State.COUNTED
    waits = {each.what for each in record.missing}
    if OPERATOR in waits:
        return State.WAITING
    return State.OPEN if REPAIR in waits else State.PROVING


def allowed(before: State, after: State) -> bool:
    """Whether one decision may lead from one state to the other."""
    return before is after or after in STEPS[before]


def as_table() -> str:
    """The table of docs/design/decide.md, in Markdown."""
    rows = ["| state | meaning | may become | when |", "|---|---|---|---|"]
    for state, meaning in MEANING.items():
        for number, (following, why) in enumerate(STEPS[state].items()):
            first = f"**{state.value}** | {meaning}" if number == 0 else " | "
            rows.append(f"| {first} | {following.value} | {why} |")
    return "\n".join(rows) + "\n"
