"""How much of each pool's budget is taken? The controller's own arithmetic; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from konduktor_health.core.budget import allowance
from konduktor_health.core.pools import family
from konduktor_health.core.tally import counted
from konduktor_health.model import DEFAULT_POOL, NodeView, Policy
from parsers.printable import printable

_NAME_LIMIT = 128  # a label's value is part of it
_MOST_TOLD = 16  # pools in a line of text


@dataclass(frozen=True, slots=True)
class PoolSums:
    """One pool."""

    name: str
    managed: int
    tainted: int  # with our taint, adopted ones too; not those ``without_place``
    unavailable: int  # not tainted by us, and taken all the same
    without_place: int  # with the weak taint of a node that there was no place for
    allowed: int | None  # nodes that may be taken; None: no budget
    refusal: str  # why no more may be tainted now; "" when one may
    family: str  # pools of one label have max_nodes in common
    family_allowed: int | None


def pool_sums(views: Iterable[NodeView], policy: Policy, now_ns: int) -> tuple[PoolSums, ...]:
    """The pools that have any of these managed nodes, by name."""
    found = counted(views, policy)
    sums = []
    for name, pool in sorted(found.pools.items()):
        budget = allowance(found.fleet, policy, now_ns, pool)
        refusal = budget.refusal()
        enabled = policy.budget_enabled
        sums.append(
            PoolSums(
                name=printable(name, _NAME_LIMIT),
                managed=found.counts[name].managed,
                tainted=found.counts[name].tainted,
                unavailable=found.counts[name].unavailable,
                without_place=found.held[name],
                allowed=budget.limit if enabled else None,
                refusal=refusal[1] if refusal else "",
                family=family(pool),
                family_allowed=budget.common.max_nodes if enabled else None,
            )
        )
    return tuple(sums)


def allowed_in(pools: Iterable[PoolSums]) -> int:
    """Nodes that may be taken in all of them, where there is a budget."""
    by_family: dict[str, list[PoolSums]] = {}
    for pool in pools:
        by_family.setdefault(pool.family, []).append(pool)
    return sum(
        min(sum(each.allowed or 0 for each in together), together[0].family_allowed or 0)
        for together in by_family.values()
    )


def refusal_of(pools: Sequence[PoolSums]) -> str:
    """Why no more may be tainted in any pool; "" when one may in some pool."""
    if not pools or not all(each.refusal for each in pools):
        return ""
    return "; ".join(dict.fromkeys(each.refusal for each in pools))


def pool_texts(pools: Sequence[PoolSums]) -> Iterator[str]:
    """A few words for each pool of which something is taken; nothing where there is but one."""
    if [each.name for each in pools] in ([], [DEFAULT_POOL]):
        return
    taken = [each for each in pools if each.tainted or each.unavailable or each.without_place]
    for pool in taken[:_MOST_TOLD]:
        yield _text(pool)
    if rest := len(pools) - len(taken[:_MOST_TOLD]):
        more = "more pool" if taken else "pool"
        quiet = "" if len(taken) > _MOST_TOLD else " with nothing tainted"
        yield f"{rest} {more}{'' if rest == 1 else 's'}{quiet}"


def _text(pool: PoolSums) -> str:
    of = "" if pool.allowed is None else f" of {pool.allowed} allowed"
    told = f"pool {pool.name}: {pool.managed} managed, {pool.tainted} tainted{of}"
    if pool.unavailable:
        told += f", {pool.unavailable} unavailable"
    if pool.without_place:
        told += f", {pool.without_place} without a place"
    return told


def pool_as_json(pool: PoolSums) -> dict[str, Any]:
    """One pool as JSON (docs/reference/node-json.md)."""
    return {
        "pool": pool.name,
        "managed": pool.managed,
        "tainted": pool.tainted,
        "unavailable": pool.unavailable,
        "without_place": pool.without_place,
        "allowed": pool.allowed,
        "refusal": pool.refusal or None,
    }
