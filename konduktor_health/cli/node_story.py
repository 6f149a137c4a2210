"""What do a Node's own keys say about it? A NodeView becomes a story; pure.

Everything that was written on the Node by others is made printable and bounded here, once, so
that what shows it need not care. Nothing is decided: verdict and hold are what the controller
wrote; where it wrote none, they follow from the ledger by its own rules.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from konduktor_health.cli.agent_told import AgentTold
from konduktor_health.cli.node_course import Course, course_of
from konduktor_health.core.clearing import Watch
from konduktor_health.core.declared import Declared, parse_declared
from konduktor_health.core.invasive_note import Note, parse_note, words_of_test
from konduktor_health.core.ledger import CorruptLedger, Ledger, Past, Record, parse, worst_first
from konduktor_health.core.managed import is_managed, opted_out
from konduktor_health.core.operators_record import is_operators
from konduktor_health.core.reasons import named
from konduktor_health.core.reset import our_taints, parse_reset_at
from konduktor_health.core.verdict import verdict_of
from konduktor_health.core.wording import first_to_act
from konduktor_health.model import Condition, HoldReason, Keys, NodeView, Policy, Taint, Verdict
from parsers.fault import TEXT_LIMIT
from parsers.printable import printable

WORD_LIMIT = 128  # ids, reasons, names of sources
_KEY_LIMIT = 317  # a label key: a domain of 253, a slash, a name of 63

#: What can be said of the ledger annotation.
NO_LEDGER, READ, STALE, CORRUPT = "none", "read", "stale", "corrupt"
_DEFAULT = Policy()


@dataclass(frozen=True, slots=True)
class OurTaint:
    """A taint with our key. Adopted: no ledger says that we put it there."""

    taint: Taint
    adopted: bool


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an operator declared. It may be over, or still to come."""

    declared: Declared
    in_force: bool


@dataclass(frozen=True, slots=True)
class Story:
    """What one Node says. All texts are printable and bounded."""

    node: str
    unmanaged: str  # why it is not managed; "" when it is
    verdict: Verdict
    ours: tuple[OurTaint, ...]
    foreign: tuple[Taint, ...]
    unschedulable: bool
    condition: Condition | None
    held: HoldReason | None  # why our taint is not there, or nothing clears
    ledger_state: str  # NO_LEDGER, READ, STALE (of another Node object) or CORRUPT
    damage: str  # why a corrupt ledger cannot be read
    damaged_kept: bool  # an earlier damaged ledger is kept in its own annotation
    ledger: Ledger
    courses: tuple[Course, ...]  # of its records, in their order
    boot_id: str
    reset_ns: int | None  # what happened up to here never acts
    reset_unreadable: bool
    opted_out: bool
    hold: Declaration | None
    maintenance: Declaration | None
    agent: AgentTold | None = None  # None: well, or not told
    test: Note | None = None  # where it is on its way to an invasive test; None: on none

    @property
    def worst(self) -> Record | None:
        """The record that the node is told by, or None."""
        return first_to_act(self.ledger)

    @property
    def corrupt(self) -> bool:
        """The ledger annotation cannot be read."""
        return self.ledger_state == CORRUPT

    @property
    def healthy(self) -> bool:
        """Nothing to look at: the verdict is healthy, and the ledger can be read."""
        return self.verdict is Verdict.HEALTHY and not self.corrupt

    @property
    def on_hold(self) -> bool:
        """An operator's hold is in force."""
        return self.hold is not None and self.hold.in_force

    @property
    def in_maintenance(self) -> bool:
        """A declared maintenance is in force."""
        return self.maintenance is not None and self.maintenance.in_force

    @property
    def notable(self) -> bool:
        """Worth showing: not healthy, left alone because somebody said so, or tested."""
        return not self.healthy or self.on_hold or self.in_maintenance or self.test is not None

    @property
    def clearable(self) -> bool:
        """There is something on it that has to be cleared: our taint, a record, a damaged ledger.
        What is only remembered is not."""
        ledger = self.ledger
        return bool(self.ours or ledger.records or ledger.dropped) or self.corrupt

    @property
    def operators(self) -> tuple[Record, ...]:
        """An operator's own records."""
        return tuple(each for each in self.ledger.records if is_operators(each))


def tell(
    view: NodeView,
    keys: Keys,
    now_ns: int | None = None,
    policy: Policy = _DEFAULT,
    remembered: Container[str] = (),
) -> Story:
    """The story of one Node. Without a time, what was declared is taken to be in force. ``policy``:
    what is known here of the rules that decide; ``remembered``: UIDs of nodes managed before."""
    state, ledger, damage = _ledger(view)
    condition = _condition(view.condition)
    held = _held(condition, corrupt=state == CORRUPT)
    ours = our_taints(view, keys)
    reset = parse_reset_at(view.reset_at)
    records = tuple(_readable(each) for each in sorted(ledger.records, key=worst_first))
    watch = Watch(view.boot_id, ledger.noticed_ns)
    return Story(
        node=view.name,
        unmanaged=unmanaged_because(view, keys, remembered),
        verdict=_verdict(view, ledger, held, corrupt=state == CORRUPT, tainted=bool(ours)),
        ours=tuple(OurTaint(_clean(each), each.effect not in ledger.owned) for each in ours),
        foreign=tuple(_clean(each) for each in view.taints if each.key != keys.taint),
        unschedulable=view.unschedulable,
        condition=condition,
        held=held,
        ledger_state=state,
        damage=printable(damage, TEXT_LIMIT),
        damaged_kept=view.ledger_corrupt,
        ledger=replace(ledger, records=records, history=tuple(map(_remembered, ledger.history))),
        courses=tuple(
            course_of(each, dict(view.labels), policy, watch, words_of_test(view.testing))
            for each in records
        ),
        boot_id=view.boot_id,
        reset_ns=reset.time_ns if reset else None,
        reset_unreadable=bool(view.reset_at) and reset is None,
        opted_out=opted_out(view),
        hold=_declaration(view.hold, now_ns),
        maintenance=_declaration(view.maintenance, now_ns),
        test=parse_note(view.testing),
    )


def _declaration(text: str | None, now_ns: int | None) -> Declaration | None:
    declared = parse_declared(text)
    if declared is None:
        return None
    return Declaration(declared, now_ns is None or declared.holds(now_ns))


def _ledger(view: NodeView) -> tuple[str, Ledger, str]:
    if view.ledger is None:
        return NO_LEDGER, Ledger(), ""
    try:
        ledger = parse(view.ledger)
    except CorruptLedger as error:
        return CORRUPT, Ledger(), str(error)
    return (READ, ledger, "") if ledger.uid == view.uid else (STALE, Ledger(), "")


def _held(condition: Condition | None, *, corrupt: bool) -> HoldReason | None:
    """By our condition; whether the ledger can be read is seen, not told."""
    if corrupt:
        return HoldReason.LEDGER_CORRUPT
    held = named(condition.reason) if condition is not None else None
    return None if held is HoldReason.LEDGER_CORRUPT else held


def _verdict(
    view: NodeView, ledger: Ledger, held: HoldReason | None, *, corrupt: bool, tainted: bool
) -> Verdict:
    """The controller's label; without one, what the ledger comes to. What cannot be read is not
    healthy."""
    for verdict in Verdict:
        if view.health_label == verdict.value and verdict is not Verdict.HEALTHY:
            return verdict
    followed = verdict_of(ledger, tainted, held, view.boot_id)
    return Verdict.SUSPECT if corrupt and followed is Verdict.HEALTHY else followed


def unmanaged_because(view: NodeView, keys: Keys, remembered: Container[str] = ()) -> str:
    """Why a node is not managed, as far as the Node tells and is remembered; "" when it is."""
    if opted_out(view):
        return f"label {keys.managed}=false opts it out"
    if is_managed(view, keys, remembered):
        return ""
    return "no GPU capacity, the node selector does not match, and nothing of ours on it"


def _condition(condition: Condition | None) -> Condition | None:
    if condition is None:
        return None
    return Condition(
        printable(condition.status, WORD_LIMIT),
        printable(condition.reason, WORD_LIMIT),
        printable(condition.message, 2 * TEXT_LIMIT),
    )


def _clean(taint: Taint) -> Taint:
    return Taint(
        printable(taint.key, _KEY_LIMIT),
        printable(taint.value, WORD_LIMIT),
        printable(taint.effect, WORD_LIMIT),
    )


def _readable(record: Record) -> Record:
    """A ledger can be written by whoever may write Nodes."""
    return replace(
        record,
        device=printable(record.device, WORD_LIMIT),
        fault_id=printable(record.fault_id, WORD_LIMIT),
        boot_id=printable(record.boot_id, WORD_LIMIT),
        why=printable(record.why, WORD_LIMIT),
        source=printable(record.source, WORD_LIMIT),
        text=printable(record.text, TEXT_LIMIT),
        rule=printable(record.rule, WORD_LIMIT),
        effect=printable(record.effect, WORD_LIMIT),
        root=printable(record.root, 2 * WORD_LIMIT),
        passes=tuple(
            replace(each, name=printable(each.name, WORD_LIMIT)) for each in record.passes
        ),
        missing=tuple(
            replace(each, what=printable(each.what, WORD_LIMIT)) for each in record.missing
        ),
    )


def _remembered(past: Past) -> Past:
    return replace(
        past,
        device=printable(past.device, WORD_LIMIT),
        fault_id=printable(past.fault_id, WORD_LIMIT),
    )
