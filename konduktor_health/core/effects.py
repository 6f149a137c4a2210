"""Which taint does a node want, and which change of its taints is that? Pure.

Invariants: at most one effect of our key is ours at a time; what is not ours is never touched; a
change that makes a node worse off walks the holds (``core.decide``), one that makes it better off
never does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from konduktor_health.core.facts import LabelsOf, facts_of
from konduktor_health.core.operators_record import asked_effect
from konduktor_health.core.record import Ledger, Record
from konduktor_health.core.reset import our_taints
from konduktor_health.model import Keys, NodeView, Policy, Taint
from konduktor_health.treatment import Effect, Mode, choose

_BY_NAME = {effect.value: effect for effect in Effect}


@dataclass(frozen=True, slots=True)
class Standing:
    """Taints with our key on a node: which are ours by the ledger, and the strongest there is."""

    present: frozenset[str]
    owned: tuple[str, ...]

    @property
    def adopted(self) -> frozenset[str]:
        """Effects that we did not set."""
        return self.present - set(self.owned)

    @property
    def strongest(self) -> Effect:
        """LABEL where there is none. An effect that Kubernetes does not know is as none."""
        known = [_BY_NAME[each] for each in self.present if each in _BY_NAME]
        return max(known, key=lambda each: each.rank, default=Effect.LABEL)

    @property
    def strongest_taint(self) -> Effect | None:
        """As ``strongest``; None where there is no taint."""
        return self.strongest if self.present else None


@dataclass(frozen=True, slots=True)
class TaintChange:
    """What to add and to remove, and what is ours after that."""

    add: tuple[Taint, ...] = ()
    remove: tuple[Taint, ...] = ()
    owned: tuple[str, ...] = ()


def standing(view: NodeView, ledger: Ledger, keys: Keys) -> Standing:
    """The node's taints of ours, as they are."""
    present = frozenset(taint.effect for taint in our_taints(view, keys))
    return Standing(present, tuple(sorted(set(ledger.owned) & present)))


def effect_of(record: Record, view: NodeView, policy: Policy) -> Effect:
    """What a record asks for by its rule; what it was granted, where the rule acts no longer; what
    an operator asked for."""
    if (asked := asked_effect(record)) is not None:
        return asked
    facts = facts_of(record, LabelsOf(view))
    treatment = choose(policy.rules, facts).treatment
    if treatment.mode is Mode.OBSERVE and record.effect in _BY_NAME:
        return _BY_NAME[record.effect]
    return treatment.effect


def worst_effect(records: Iterable[Record], view: NodeView, policy: Policy) -> Effect | None:
    """The strongest effect that any of them asks for; None: none of them asks."""
    asked = [effect_of(record, view, policy) for record in records]
    return max(asked, key=lambda each: each.rank, default=None)


def change_to(effect: Effect, now: Standing, view: NodeView, keys: Keys) -> TaintChange:
    """The change after which our taint has this effect (LABEL: is gone), in one patch."""
    wanted = None if effect is Effect.LABEL else effect.value
    remove = tuple(
        taint
        for taint in our_taints(view, keys)
        if taint.effect in now.owned and taint.effect != wanted
    )
    if wanted is None:
        return TaintChange(remove=remove)
    if wanted in now.present:
        return TaintChange(remove=remove, owned=(wanted,) if wanted in now.owned else ())
    return TaintChange((Taint(keys.taint, "true", wanted),), remove, (wanted,))
