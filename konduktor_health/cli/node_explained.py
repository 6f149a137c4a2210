"""What is the whole story of a node, with evidence, and what is missing before its taint can go?

The part of ``konduktor-health explain`` that takes a node. What a fault means comes from the
catalog, as the site's rules file has it; the rest is the node's story.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from konduktor_health.cli import policy_source
from konduktor_health.cli.agent_measured import (
    MeasuredByAgent,
    ask_agent,
    checks_of,
    measured_json,
    measured_rows,
)
from konduktor_health.cli.check_told import ACTIONS
from konduktor_health.cli.invasive_told import note_text
from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.node_missing import missing_rows
from konduktor_health.cli.node_story import (
    CORRUPT,
    NO_LEDGER,
    READ,
    STALE,
    Declaration,
    OurTaint,
    Story,
    tell,
)
from konduktor_health.cli.probe_where import Via
from konduktor_health.cli.record_explained import past_rows, reason_in_words, record_rows
from konduktor_health.cli.stored_state import StoredState
from konduktor_health.cli.times import ago
from konduktor_health.clock import SystemClock
from konduktor_health.core.declared import describe_declared
from konduktor_health.errors import NotFound, excerpt
from konduktor_health.known_checks import check_of
from konduktor_health.model import Taint
from konduktor_health.settings import Settings
from parsers.catalog import Entry
from parsers.fault import Remedy

Known = Callable[[str], Entry | None]
Row = tuple[str, str]

_WHOLE = frozenset({"evidence"})  # a log line is never broken
_COLUMN = 14


def explain_node(
    name: str,
    settings: Settings,
    known: Known,
    console: Console,
    *,
    as_objects: bool,
    agent: Via | None = None,
) -> None:
    """Read one Node and print its story, as JSON if so asked. ``agent``: ask its agent too what it
    has measured, this way.

    Raises NotFound, ClusterUnavailable, ClusterForbidden, and ConfigError without a cluster.
    """
    from konduktor_health.adapters.kube import build_cluster  # loads the Kubernetes client

    clock = SystemClock()
    http, cluster = build_cluster(settings, clock)
    try:
        view = cluster.get_node(name)
    except NotFound as error:
        hint = "names: konduktor-health status --all; a fault: explain xid 79"
        raise NotFound(f"{excerpt(name)}: no such node", hint=hint) from error
    now_ns = clock.now_ns()
    policy = policy_source.limits(settings)
    stored = StoredState(cluster).look()  # agents, and whom the controller remembers
    story = tell(view, policy.keys, now_ns, policy, stored.remembered)
    story = replace(story, agent=stored.agents.get(view.name))
    measured = None
    if agent is not None:
        direct = agent.is_direct(in_cluster=http.access.origin == "in-cluster")
        measured = ask_agent(view, settings, http, clock, direct=direct)
        now_ns = clock.now_ns()
    if as_objects:
        typer.echo(json.dumps(story_as_json(story, known, measured), ensure_ascii=False, indent=2))
    else:
        render_story(story, known, now_ns, console, measured)


def story_as_json(
    story: Story, known: Known, measured: MeasuredByAgent | None = None
) -> dict[str, Any]:
    """The node's object, in each record what the catalog knows of its fault, or null, and what its
    agent has measured, if it was asked."""
    whole = as_json(story) | {"measured": measured_json(measured)}
    for record in whole["records"]:
        entry, check = known(record["fault_id"]), check_of(record["fault_id"])
        record["known"] = None
        if check is not None:
            record["known"] = {
                "mnemonic": None,
                "meaning": check.question,
                "action": ACTIONS[Remedy(record["remedy"])],
                "investigation": check.text,
            }
        elif entry is not None:
            record["known"] = {
                "mnemonic": entry.mnemonic or None,
                "meaning": entry.meaning,
                "action": entry.action or None,
                "investigation": entry.investigation or None,
            }
    return whole


def render_story(
    story: Story,
    known: Known,
    now_ns: int,
    console: Console,
    measured: MeasuredByAgent | None = None,
) -> None:
    """Print the node, each of its open records worst first, what was cleared before, what its
    agent has measured, if it was asked, and what is missing."""
    _heading(story.node, story.verdict.value, console)
    _print(node_rows(story, now_ns), console)
    for course in story.courses:
        record = course.record
        where = f"on {record.device}" if record.device else "on the node"
        console.print()
        _heading(record.fault_id, where, console)
        _print(record_rows(story, course, known(record.fault_id), now_ns), console)
    if story.ledger.history:
        console.print()
        _heading("cleared before", "", console)
        for past in story.ledger.history:
            _print(past_rows(past, now_ns), console)
    if measured is not None:
        console.print()
        _heading("measured last", "as the node's agent tells", console)
        checks = checks_of([course.record.fault_id for course in story.courses])
        _print(measured_rows(measured, checks, now_ns), console)
    console.print()
    _heading("before the taint can go" if story.ours else "what is missing", "", console)
    _print(missing_rows(story), console)


def node_rows(story: Story, now_ns: int) -> Iterator[Row]:
    """What is known of the node as a whole."""
    yield "managed", f"no: {story.unmanaged}" if story.unmanaged else "yes"
    for ours in story.ours:
        yield "taint", f"{_written(ours.taint)}, {_whose(ours, story, now_ns)}"
    if not story.ours:
        yield "taint", "none of ours"
    for taint in story.foreign:
        yield "other taint", f"{_written(taint)}, not ours: never touched"
    if story.unschedulable:
        yield "cordoned", "yes, not by us"
    if story.condition is not None:
        condition = story.condition
        yield "condition", f"{condition.status} {condition.reason}: {condition.message}"
    if story.held is not None:
        yield "held", reason_in_words(story.held.value)
    for name, declaration in (("hold", story.hold), ("maintenance", story.maintenance)):
        if declaration is not None:
            yield name, _declared(declaration, now_ns)
    yield "ledger", _ledger(story, now_ns)
    if story.ledger.removed_ns:
        yield "taint removed", f"{ago(story.ledger.removed_ns, now_ns)}, by somebody else"
    if story.agent is not None:
        since = f", since {ago(story.agent.since_ns, now_ns)}" if story.agent.since_ns else ""
        yield "agent", story.agent.text + since
    if story.test is not None:
        yield "test", note_text(story.test, now_ns)
    yield "boot", story.boot_id or "the Node does not say"
    if story.ledger.noticed_ns:
        ended = ago(story.ledger.rebooted_ns, now_ns)
        yield "last reboot", f"between {ended} and {ago(story.ledger.noticed_ns, now_ns)}"
    if story.reset_ns is not None:
        yield "reset at", f"{ago(story.reset_ns, now_ns)}: what is older never acts"
    elif story.reset_unreadable:
        yield "reset at", "the annotation cannot be read: it counts as none"


def _ledger(story: Story, now_ns: int) -> str:
    kept = "; an earlier damaged one is kept beside it" if story.damaged_kept else ""
    dropped = f", {story.ledger.dropped} left out for size" if story.ledger.dropped else ""
    count = len(story.ledger.records)
    texts = {
        NO_LEDGER: "none",
        READ: f"{count} open record{'' if count == 1 else 's'}{dropped}, "
        f"written {ago(story.ledger.written_ns, now_ns)}",
        STALE: "of another Node object of this name: it counts as none",
        CORRUPT: f"cannot be read: {story.damage}",
    }
    return texts[story.ledger_state] + kept


def _declared(declaration: Declaration, now_ns: int) -> str:
    declared = declaration.declared
    text = describe_declared(declared)
    if declared.since_ns:
        text += f"; declared {ago(declared.since_ns, now_ns)}"
    return text if declaration.in_force else f"not in force: {text}"


def _whose(ours: OurTaint, story: Story, now_ns: int) -> str:
    if not ours.adopted:
        return f"ours, since {ago(story.ledger.tainted_ns, now_ns)}"
    if story.corrupt:
        return "adopted: whether we set it cannot be read"
    return "adopted: no ledger says that we set it"


def _written(taint: Taint) -> str:
    value = f"={taint.value}" if taint.value else ""
    return f"{taint.key}{value}:{taint.effect}"


def _heading(name: str, more: str, console: Console) -> None:
    heading = Text(name, style="bold").append(f"  {more}" if more else "", style="not bold")
    console.print(heading, soft_wrap=True, highlight=False)


def _print(rows: Iterator[Row], console: Console) -> None:
    for name, text in rows:
        width = max(40, console.width - _COLUMN - 2)
        lines = [text] if name in _WHOLE else textwrap.wrap(text, width) or [""]
        for number, line in enumerate(lines):
            shown = Text(("" if number else name).ljust(_COLUMN) + "  ", style="bold")
            console.print(shown.append(line, style="not bold"), soft_wrap=True, highlight=False)
