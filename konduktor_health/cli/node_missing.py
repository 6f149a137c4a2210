"""What has to happen before a node's taint and records go? Pure.

Two ways: a command by which a person vouches for the node, and, without one, what the controller
waits for to see. ``explain`` prints both as rows and as JSON; nothing else about clearing is told
elsewhere.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from konduktor_health.cli.node_course import Course
from konduktor_health.cli.node_story import Story
from konduktor_health.cli.times import span, when
from konduktor_health.core.wording import describe


def missing(story: Story) -> tuple[str, ...]:
    """Commands by which a person takes our taint and the records away."""
    node = shlex.quote(story.node)
    commands = []
    if story.operators:
        commands.append(f"konduktor-health release {node}")
    if story.clearable and not _operators_alone(story):
        commands.append(f"konduktor-health reset {node}")
    return tuple(commands)


def stays_because(story: Story) -> Iterator[str]:
    """Why something of it does not go without a person; nothing: all of it can."""
    if not story.clearable:
        return
    if story.unmanaged:
        yield "the controller does nothing about this node while it is not managed"
    if story.corrupt:
        yield "the ledger cannot be read: what is not known is not cleared"
    elif any(each.adopted for each in story.ours):
        yield "no ledger says that we set the taint: it is never taken away by itself"
    if story.on_hold:
        yield "an operator's hold leaves everything as it is"
    ledger = story.ledger
    lost = story.ours and ledger.owned and not ledger.records
    if lost and not any(past.times for past in ledger.history):
        yield "the ledger has lost its records: that proves nothing"
    for course in story.courses:
        for wait in course.for_a_person:
            yield f"{_named(course)} waits for {wait.text}"


def missing_rows(story: Story) -> Iterator[tuple[str, str]]:
    """The same for a person: a name and a sentence each."""
    commands = missing(story)
    if not commands:
        yield "", "nothing: the node carries neither our taint nor an open record"
        return
    if story.operators:
        yield "an operator", f"takes the taint back: {commands[0]}"
    if not _operators_alone(story):
        yield "an operator", f"repairs the node, then says so: {commands[-1]}"
    stays = list(stays_because(story))
    for reason in stays:
        yield "by itself", f"no: {reason}"
    for course in story.courses:
        if not course.for_a_person:
            yield "by itself" if not stays else "", f"{_named(course)} {_goes(course)}"
    if not stays and not story.courses:
        yield "by itself", "yes: nothing asks for the taint any more"


def _goes(course: Course) -> str:
    """When a record goes that waits for no person."""
    if course.fades_s is not None:
        return f"fades away after {span(course.fades_s)} without it while the node is observed"
    if not course.waits:
        return "asks for an effect; the ledger does not tell what is missing"
    texts = []
    for wait in course.waits:
        stamp = when(wait.not_before_ns)
        texts.append(wait.text + (f", not before {stamp[:19]}Z" if stamp else ""))
    return f"goes once this is seen: {'; '.join(texts)}"


def _named(course: Course) -> str:
    return describe(course.record.fault_id, course.record.device)


def _operators_alone(story: Story) -> bool:
    """Nothing is on the node but an operator's word and the taint that goes with it."""
    return (
        bool(story.operators)
        and len(story.operators) == len(story.ledger.records)
        and not story.ledger.dropped
        and not any(each.adopted for each in story.ours)
    )
