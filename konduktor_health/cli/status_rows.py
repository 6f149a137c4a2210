"""How is the fleet, in one row per node, worst first, and one line of sums? Pure.

Counts and the budget are the controller's own arithmetic (``core.budget``) on the settings given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.node_story import WORD_LIMIT, Story, tell, unmanaged_because
from konduktor_health.cli.pool_sums import (
    PoolSums,
    allowed_in,
    pool_as_json,
    pool_sums,
    pool_texts,
    refusal_of,
)
from konduktor_health.cli.stored_state import Stored
from konduktor_health.cli.surges_told import SurgeTold, surge_as_json, surge_text
from konduktor_health.cli.times import when
from konduktor_health.core.declared import Declared, describe_declared
from konduktor_health.core.invasive_note import Stage, in_words
from konduktor_health.core.ledger import Record
from konduktor_health.core.managed import opted_out
from konduktor_health.core.reasons import MEANINGS, named
from konduktor_health.core.reset import our_taints
from konduktor_health.model import HoldReason, NodeView, Policy, Verdict
from parsers.printable import printable

VERSION = 1  # of the JSON form
NARROW = ("node", "verdict", "taint", "fault", "device", "severity", "since", "open", "held")
WIDE = (*NARROW, "missing", "count", "remedy", "boot", "source", "text")
NOTHING = "-"
NOT_STORED = Stored()
_WORST_FIRST = {
    verdict: rank
    for rank, verdict in enumerate(
        (
            Verdict.FAULTY,
            Verdict.SUSPECT,
            Verdict.RECOVERING,
            Verdict.UNOBSERVED,
            Verdict.HEALTHY,
        )
    )
}


@dataclass(frozen=True, slots=True)
class Sums:
    """Counts over the managed nodes, and the opted-out ones beside them."""

    managed: int
    verdicts: Mapping[Verdict, int]
    tainted: int  # adopted ones too
    adopted: int
    without_place: int  # tainted weakly by us, because the budget had no place
    unavailable: int  # not tainted by us, and taken from the budget all the same
    allowed: int | None  # nodes that may be tainted; None: no budget
    refusal: str  # why no more may be tainted now; "" when one may
    corrupt: int  # nodes whose ledger cannot be read
    opted_out: int
    opted_out_tainted: int  # of them, with our taint: nobody looks after it
    on_hold: int = 0  # an operator's hold is in force
    in_maintenance: int = 0  # a declared maintenance is in force
    testing: int = 0  # an invasive test may be running
    pools: tuple[PoolSums, ...] = ()  # by name


@dataclass(frozen=True, slots=True)
class Fleet:
    """The managed nodes, worst first."""

    stories: tuple[Story, ...]
    sums: Sums
    now_ns: int
    unmanaged: Mapping[str, str] = field(default_factory=dict)  # by name: why it is not managed
    surges: tuple[SurgeTold, ...] | None = None  # by the controller's state; None: not known


@dataclass(frozen=True, slots=True)
class Choice:
    """Which nodes are shown, and how much of them."""

    names: Sequence[str] = ()
    healthy: bool = False
    wide: bool = False


def survey(
    views: Iterable[NodeView],
    policy: Policy,
    now_ns: int,
    stored: Stored = NOT_STORED,
) -> Fleet:
    """What all Nodes of a cluster come to; ``stored``: what the controller's state tells."""
    keys = policy.keys
    stories: list[Story] = []
    managed: list[NodeView] = []
    unmanaged: dict[str, str] = {}
    opted, left = 0, 0
    for view in views:
        if why := unmanaged_because(view, keys, stored.remembered):
            unmanaged[view.name] = why
            opted += opted_out(view)
            left += opted_out(view) and bool(our_taints(view, keys))
        else:
            managed.append(view)
            story = tell(view, keys, now_ns, policy, stored.remembered)
            stories.append(replace(story, agent=stored.agents.get(view.name)))
    tainted = [each for each in stories if each.ours]
    owned = [each for each in tainted if each.ledger.owned]
    pools = pool_sums(managed, policy, now_ns)
    sums = Sums(
        managed=len(stories),
        verdicts=Counter(each.verdict for each in stories),
        tainted=len(tainted),
        adopted=len(tainted) - len(owned),
        unavailable=sum(each.unavailable for each in pools),
        without_place=sum(each.without_place for each in pools),
        allowed=allowed_in(pools) if policy.budget_enabled else None,
        refusal=refusal_of(pools),
        corrupt=sum(each.corrupt for each in stories),
        opted_out=opted,
        opted_out_tainted=left,
        on_hold=sum(each.on_hold for each in stories),
        in_maintenance=sum(each.in_maintenance for each in stories),
        testing=sum(each.test is not None and each.test.stage is Stage.TESTING for each in stories),
        pools=pools,
    )
    return Fleet(tuple(sorted(stories, key=_badness)), sums, now_ns, unmanaged, stored.surges)


def _badness(story: Story) -> tuple[int, bool, int, int, str]:
    worst = story.worst
    severity = worst.severity.rank if worst else len(_WORST_FIRST)
    since = worst.first_ns if worst else 0
    return (_WORST_FIRST[story.verdict], not story.corrupt, severity, since, story.node)


def shown(fleet: Fleet, choice: Choice) -> tuple[Story, ...]:
    """The nodes to show: those named; without names all, or those that are not healthy or that
    somebody has put on hold or into maintenance."""
    wanted = frozenset(choice.names)
    return tuple(
        each
        for each in fleet.stories
        if (each.node in wanted if wanted else choice.healthy or each.notable)
    )


def unknown(fleet: Fleet, names: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that is no managed node, which says why."""
    managed = {each.node for each in fleet.stories}
    for name in names:
        told = printable(name, WORD_LIMIT) or repr(name)
        if name in fleet.unmanaged:
            yield f"{told}: not managed: {fleet.unmanaged[name]}"
        elif name not in managed:
            yield f"{told}: no such node"


def columns(choice: Choice) -> tuple[str, ...]:
    """Names of the columns."""
    return WIDE if choice.wide else NARROW


def rows(
    stories: Iterable[Story], since: Callable[[int], str], *, wide: bool = False
) -> list[tuple[str, ...]]:
    """A row per node, with the fault that it is told by; wide: a row per open record.

    ``since`` writes a time (Unix nanoseconds).
    """
    found = []
    for story in stories:
        records: list[Record | None] = list(story.ledger.records) if wide else []
        for record in records or [story.worst]:
            found.append(_row(story, record, since)[: len(WIDE if wide else NARROW)])
    return found


def _row(story: Story, record: Record | None, since: Callable[[int], str]) -> tuple[str, ...]:
    common = (story.node, story.verdict.value, taint_text(story) or NOTHING)
    opened = str(len(story.ledger.records) + story.ledger.dropped)
    test = "" if story.test is None else f"invasive test: {in_words(story.test)}"
    held = "; ".join(filter(None, (why_not(story, record), *declared(story), test))) or NOTHING
    if record is None:
        return (*common, *(NOTHING,) * 4, opened, held, *(NOTHING,) * 6)
    return (
        *common,
        record.fault_id + (" (injected)" if record.injected else ""),
        record.device or "node",
        record.severity.value,
        since(record.first_ns) or NOTHING,
        opened,
        held,
        missing_text(record, since) or NOTHING,
        str(record.count),
        record.remedy.value,
        _boot(story, record),
        record.source or NOTHING,
        record.text,
    )


def missing_text(record: Record, since: Callable[[int], str]) -> str:
    """What clearing the record still waits for, and since when: ``repair 2h, quiet 5m``."""
    return ", ".join(f"{each.what} {since(each.since_ns)}".rstrip() for each in record.missing)


def taint_text(story: Story) -> str:
    """The effects of our taint: ``NoSchedule``, ``NoSchedule (adopted)``, or "" without one."""
    return ", ".join(
        each.taint.effect + (" (adopted)" if each.adopted else "") for each in story.ours
    )


def why_not(story: Story, record: Record | None) -> str:
    """Why a record never acts; else what is held and why, by the node's condition."""
    if record is not None and (record.why or not record.acting):
        return reason_text(record.why) or "it never acts"
    if story.held is None or any(each is story.held for each, _ in _declarations(story)):
        return ""  # what was declared says more
    return reason_text(story.held.value)


def declared(story: Story) -> Iterator[str]:
    """What an operator has declared and is in force, under the name of its hold reason."""
    for reason, said in _declarations(story):
        yield f"{reason.value}: {describe_declared(said)}"


def _declarations(story: Story) -> Iterator[tuple[HoldReason, Declared]]:
    for reason, declaration in (
        (HoldReason.OPERATOR, story.hold),
        (HoldReason.MAINTENANCE, story.maintenance),
    ):
        if declaration is not None and declaration.in_force:
            yield reason, declaration.declared


def reason_text(name: str) -> str:
    """A hold reason and its meaning; one that we do not know as it is."""
    known = named(name)
    return f"{name}: {MEANINGS[known].text}" if known else name


def _boot(story: Story, record: Record) -> str:
    if not (record.boot_id and story.boot_id):
        return "unknown"
    return "this" if record.boot_id == story.boot_id else "other"


def sums_text(sums: Sums) -> str:
    """The sums in one line."""
    counts = [
        f"{sums.verdicts[each]} {each.value}" for each in _WORST_FIRST if each in sums.verdicts
    ]
    told = [f"{sums.managed} managed" + (f" ({', '.join(counts)})" if counts else "")]
    adopted = f" ({sums.adopted} adopted)" if sums.adopted else ""
    budget = ", no budget" if sums.allowed is None else f" of {sums.allowed} allowed"
    told.append(f"{sums.tainted} tainted{adopted}{budget}")
    if sums.without_place:
        told.append(f"{sums.without_place} of them weakly, without a place")
    if sums.unavailable:
        told.append(f"{sums.unavailable} unavailable and counted as tainted")
    told.append(f"{sums.corrupt} unreadable ledger{'' if sums.corrupt == 1 else 's'}")
    if sums.opted_out:
        left = f" ({sums.opted_out_tainted} tainted)" if sums.opted_out_tainted else ""
        told.append(f"{sums.opted_out} opted out{left}")
    if sums.on_hold:
        told.append(f"{sums.on_hold} on hold")
    if sums.in_maintenance:
        told.append(f"{sums.in_maintenance} in maintenance")
    if sums.testing:
        told.append(f"{sums.testing} testing")
    if sums.refusal:
        told.append(f"no more taints now: {sums.refusal}")
    return "; ".join(told)


def fleet_text(fleet: Fleet) -> str:
    """The sums, the pools if there are several, and the surges if any are known, in one line."""
    told = (sums_text(fleet.sums), *pool_texts(fleet.sums.pools))
    return "; ".join((*told, *map(surge_text, fleet.surges or ())))


def fleet_as_json(fleet: Fleet, stories: Iterable[Story]) -> dict[str, Any]:
    """The stable JSON form (docs/reference/node-json.md) with these nodes of the fleet."""
    sums = fleet.sums
    return {
        "version": VERSION,
        "time": when(fleet.now_ns),
        "summary": {
            "managed": sums.managed,
            **{each.value: sums.verdicts.get(each, 0) for each in _WORST_FIRST},
            "tainted": sums.tainted,
            "adopted": sums.adopted,
            "without_place": sums.without_place,
            "unavailable": sums.unavailable,
            "allowed": sums.allowed,
            "refusal": sums.refusal or None,
            "corrupt": sums.corrupt,
            "opted_out": sums.opted_out,
            "opted_out_tainted": sums.opted_out_tainted,
            "on_hold": sums.on_hold,
            "in_maintenance": sums.in_maintenance,
            "testing": sums.testing,
        },
        "pools": [pool_as_json(each) for each in sums.pools],
        "surges": None if fleet.surges is None else [surge_as_json(each) for each in fleet.surges],
        "nodes": [as_json(each) for each in stories],
    }
