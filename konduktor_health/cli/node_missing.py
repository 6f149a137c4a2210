"""What has to happen before a node's taint and records go? Pure.

``explain`` prints it as rows and as JSON; nothing else about clearing is told elsewhere.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from konduktor_health.cli.node_story import Story


def missing(story: Story) -> tuple[str, ...]:
    """Commands without which our taint and the records do not go."""
    node = shlex.quote(story.node)
    commands = []
    if story.operators:
        commands.append(f"konduktor-health release {node}")
    if story.clearable and not _operators_alone(story):
        commands.append(f"konduktor-health reset {node}")
    return tuple(commands)


def missing_rows(story: Story) -> Iterator[tuple[str, str]]:
    """The same for a person: a name and a sentence each."""
    commands = missing(story)
    if not commands:
        yield "", "nothing: the node carries neither our taint nor a ledger"
        return
    if story.unmanaged:
        yield "", "the controller does nothing about this node while it is not managed"
    if story.operators:
        yield "an operator", f"takes the taint back: {commands[0]}"
    if not _operators_alone(story):
        yield "an operator", f"repairs the node, then says so: {commands[-1]}"
    yield "", "nothing else clears the taint or the records"


def _operators_alone(story: Story) -> bool:
    """Nothing is on the node but an operator's word and the taint that goes with it."""
    return (
        bool(story.operators)
        and len(story.operators) == len(story.ledger.records)
        and not story.ledger.dropped
        and not any(each.adopted for each in story.ours)
    )
