"""What does an operator's command change on a Node? Hold, release, taint and maintenance; pure.

Each plan is one compare-and-swap edit, or None where the Node is that way already. A running
controller and these plans agree: what is written here is what it reads for its next decision.

Invariants:
- Of taints only those with our key are touched, and of these only what the ledger says is ours:
  adopted ones stay. Only our own annotations and our health label are written.
- Planning again for what came of a plan gives None.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.declared import (
    Declared,
    describe_declared,
    parse_declared,
    render_declared,
)
from konduktor_health.core.effects import standing
from konduktor_health.core.ledger import fitted, render
from konduktor_health.core.operators_record import (
    KEY,
    asked_effect,
    is_operators,
    operators_record,
)
from konduktor_health.core.record import TEXT_LIMIT, Ledger, Record
from konduktor_health.core.reset import our_taints
from konduktor_health.core.verdict import verdict_of
from konduktor_health.core.wording import describe
from konduktor_health.errors import HealthError
from konduktor_health.frozen import replace
from konduktor_health.model import (
    EditKind,
    EditNode,
    Keys,
    NodeEdit,
    NodeView,
    Taint,
    Verdict,
)
from konduktor_health.treatment import Effect
from parsers.printable import printable

_DAMAGED_LIMIT = 4096  # characters of a damaged ledger that are kept (docs/reference/keys.md)
_RANKS = {effect.value: effect.rank for effect in Effect}


class OperatorEvent(Enum):
    """Reasons of the Events that tell what an operator did: an interface."""

    HELD = "Held"
    RELEASED = "Released"
    TAINTED = "TaintedByOperator"
    MAINTENANCE_STARTED = "MaintenanceStarted"
    MAINTENANCE_ENDED = "MaintenanceEnded"


def plan_hold(view: NodeView, keys: Keys, hold: Declared, now_ns: int) -> EditNode | None:
    """Write the hold; None when the same one stands already."""
    return _declare(view, keys.hold, view.hold, hold, now_ns, "held ")


def plan_maintenance(
    view: NodeView, keys: Keys, maintenance: Declared | None, now_ns: int
) -> EditNode | None:
    """Declare maintenance, or end it (None); None when it is so already."""
    key, there = keys.maintenance, view.maintenance
    if maintenance is not None:
        return _declare(view, key, there, maintenance, now_ns, "started maintenance ")
    declared = parse_declared(there)
    if declared is None:
        return None
    said = describe_declared(declared).replace("until it is ended", "that had no end")
    text = f"ended maintenance {said}"
    return EditNode(view.name, view, NodeEdit(annotations={key: None}), EditKind.DECLARE, text)


def _declare(
    view: NodeView, key: str, there: str | None, declared: Declared, now_ns: int, what: str
) -> EditNode | None:
    text = render_declared(declared)
    wanted, known = parse_declared(text) or declared, parse_declared(there)
    if known and known.holds(now_ns) and replace(known, since_ns=wanted.since_ns) == wanted:
        return None
    return EditNode(
        node=view.name,
        basis=view,
        edit=NodeEdit(annotations={key: text}),
        kind=EditKind.DECLARE,
        message=what + describe_declared(wanted),
    )


def plan_taint(
    view: NodeView, keys: Keys, reason: str, effect: Effect, now_ns: int
) -> EditNode | None:
    """Open the operator's own record, with taint and label; None when all is there already.

    One effect of ours stands at a time: a weaker one of ours is replaced, and a stronger one stays
    where another record may want it. A taint that somebody else set with our key and at least this
    effect will do. Raises HealthError when the ledger has no room for the record.
    """
    before, corrupt = read_ledger(view)
    own = before.record(KEY)
    text = printable(reason, TEXT_LIMIT)
    now = standing(view, before, keys)
    ours = set(now.owned)
    wanted = any(_may_want(record) or _is_other_word(record) for record in before.records)
    kept = ours if wanted else ours & {effect.value}
    enough = any(_rank(each) >= effect.rank for each in kept | now.adopted)
    add = () if enough else (Taint(keys.taint, "true", effect.value),)
    gone = ours - kept if enough else ours
    if own and own.text == text and asked_effect(own) is effect and not (add or gone):
        return None
    first_ns = own.first_ns if own else now_ns
    record = operators_record(text, effect, view.boot_id, first_ns, now_ns)
    after = _as_written(before, view, now_ns).with_record(record)
    owned = {effect.value} if add else ours - gone
    after = replace(after, owned=tuple(sorted(owned)))
    if add:
        after = replace(after, tainted_ns=now_ns, removed_ns=0, soft=False)
    if fitted(after).record(record.key) is None:
        raise HealthError("the ledger is full: there is no room for another record")
    annotations: dict[str, str | None] = {keys.ledger: render(after)}
    if corrupt:
        annotations[keys.ledger_corrupt] = (view.ledger or "")[:_DAMAGED_LIMIT]
    there = "" if add else "; the taint is there already"
    return EditNode(
        node=view.name,
        basis=view,
        edit=NodeEdit(
            add_taints=add,
            remove_taints=_ours_with(view, keys, gone),
            annotations=annotations,
            labels={keys.health: Verdict.FAULTY.value},
        ),
        kind=EditKind.TAINT if add else EditKind.RECORD,
        message=f"tainted {keys.taint}=true:{effect.value}: {text}{there}",
        evidence=(text,),
    )


def plan_release(view: NodeView, keys: Keys, now_ns: int) -> EditNode | None:
    """End the hold, and clear the operator's own records; None when there is neither.

    Our taint goes with them unless another record may want it: then the controller decides.
    """
    done: list[str] = []
    annotations: dict[str, str | None] = {}
    labels: dict[str, str | None] = {}
    gone: tuple[Taint, ...] = ()
    hold = parse_declared(view.hold)
    if hold is not None:
        annotations[keys.hold] = None
        done.append(f"ended the hold {describe_declared(hold)}")
    before, _ = read_ledger(view)
    own = [record for record in before.records if is_operators(record)]
    if own:
        after, gone = _without_operators(before, view, keys, now_ns)
        annotations[keys.ledger] = None if _is_empty(after) else render(after)
        tainted = len(our_taints(view, keys)) > len(gone)
        verdict = verdict_of(after, tainted, None, view.boot_id)
        labels[keys.health] = None if verdict is Verdict.HEALTHY else verdict.value
        done += [f"cleared {record.fault_id} ({record.text})" for record in own]
        done += [f"removed taint {each.key}={each.value}:{each.effect}" for each in gone]
        done += _what_stays(after, view, keys, gone)
    if not annotations:
        return None
    return EditNode(
        node=view.name,
        basis=view,
        edit=NodeEdit(remove_taints=gone, annotations=annotations, labels=labels),
        kind=EditKind.CLEAR if own else EditKind.DECLARE,
        message="; ".join(done),
        evidence=tuple(record.text for record in own),
    )


def _without_operators(
    before: Ledger, view: NodeView, keys: Keys, now_ns: int
) -> tuple[Ledger, tuple[Taint, ...]]:
    """The ledger once the operator's records are cleared, and the taints that go with them."""
    rest = tuple(record for record in before.records if not is_operators(record))
    stays = any(_may_want(record) for record in rest)
    gone = () if stays else _ours_with(view, keys, before.owned)
    after = replace(_as_written(before, view, now_ns), records=rest)
    if not stays:
        after = replace(after, owned=(), tainted_ns=0, soft=False)
    return (after if rest else replace(after, removed_ns=0)), gone


def _what_stays(after: Ledger, view: NodeView, keys: Keys, gone: Iterable[Taint]) -> Iterable[str]:
    """Taints with our key that a release leaves, and why."""
    why = next((record for record in after.records if _may_want(record)), None)
    for taint in our_taints(view, keys):
        if taint in gone:
            continue
        if taint.effect in after.owned and why is not None:
            yield f"the taint {taint.effect} stays for {describe(why.fault_id, why.device)}"
        else:
            yield f"the taint {taint.effect} stays: no ledger says that we set it"


def _as_written(ledger: Ledger, view: NodeView, now_ns: int) -> Ledger:
    """Stamped as written now. A reboot that no controller has noticed stays to be noticed: it is
    told by the boot id, and by the time at which that boot was last seen."""
    stamped = replace(ledger, uid=view.uid, since_ns=now_ns)
    if ledger.boot_id and view.boot_id and ledger.boot_id != view.boot_id:
        return stamped
    return replace(stamped, boot_id=view.boot_id or ledger.boot_id, written_ns=now_ns)


def _is_empty(ledger: Ledger) -> bool:
    """Nothing in it is worth keeping: it was made for the operator's record."""
    return replace(ledger, uid="", boot_id="", written_ns=0, since_ns=0) == Ledger()


def _may_want(record: Record) -> bool:
    """Another record that may want our taint. Which effect it wants is the policy's, and the
    controller's, to say: a taint that is stronger is lowered by its next decision."""
    return record.asks and record.effect != Effect.LABEL.value and not is_operators(record)


def _is_other_word(record: Record) -> bool:
    """Another operator's record than that of ``taint``: the controller keeps a taint for it."""
    return is_operators(record) and record.key != KEY and record.asks


def _ours_with(view: NodeView, keys: Keys, effects: Iterable[str]) -> tuple[Taint, ...]:
    wanted = frozenset(effects)
    return tuple(taint for taint in our_taints(view, keys) if taint.effect in wanted)


def _rank(effect: str) -> int:
    return _RANKS.get(effect, -1)
