"""Any interrupted prefix of a Plan, decided again, ends in the same state as no interruption."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.core.decide import decide
from konduktor_health.core.reset import our_taints
from konduktor_health.model import (
    EditNode,
    NodeView,
    Policy,
    SetCondition,
    Severity,
    Sighting,
    Trust,
)
from tests.support.builders import FOREIGN_TAINT, KEYS, NOW, edited, fault, node, sighting, snapshot

FAULTS = st.builds(
    fault,
    st.sampled_from(["xid/79", "xid/48", "xid/63", "sxid/12028"]),
    severity=st.sampled_from(list(Severity)),
    device=st.sampled_from(["", "0000:3b:00", "0000:86:00"]),
    trust=st.sampled_from([Trust.KERNEL, Trust.PROBE, Trust.POD]),
    injected=st.booleans(),
)
Cluster = dict[str, NodeView]
Seen = dict[str, list[Sighting]]


@st.composite
def situations(draw: st.DrawFn) -> tuple[Cluster, Seen]:
    names = [f"gpu-{n}" for n in range(draw(st.integers(1, 6)))]
    nodes = {name: node(name, taints=(FOREIGN_TAINT,)) for name in names}
    seen: Seen = {}
    for name in names:
        faults = draw(st.lists(FAULTS, max_size=3, unique_by=lambda each: each.key))
        seen[name] = [sighting(replace(each, node=name)) for each in faults]
    return nodes, seen


def _round(nodes: Cluster, seen: Seen, policy: Policy, limit: int | None) -> tuple[Cluster, bool]:
    """Decide, apply at most ``limit`` actions as a crash would leave them, keep all sightings."""
    tainted = sum(1 for view in nodes.values() if our_taints(view, KEYS))
    plan = decide(
        snapshot(nodes.values(), dict(seen), managed=len(nodes) * 5, tainted=tainted), policy, NOW
    )
    effects = [a for a in plan.actions if isinstance(a, EditNode | SetCondition)]
    effects.sort(key=lambda action: isinstance(action, SetCondition))
    nodes = dict(nodes)
    for action in effects[:limit]:
        view = nodes[action.node]
        if isinstance(action, EditNode):
            nodes[action.node] = edited(view, action)
        else:
            nodes[action.node] = replace(view, condition=action.condition)
    return nodes, not effects


def _settle(nodes: Cluster, seen: Seen, policy: Policy) -> Cluster:
    for _ in range(10):
        nodes, quiet = _round(nodes, seen, policy, None)
        if quiet:
            return nodes
    raise AssertionError("decisions do not come to rest")


@settings(max_examples=200, deadline=None)
@given(situations(), st.integers(0, 12))
def test_interrupted_prefix_converges_to_the_uninterrupted_state(
    situation: tuple[Cluster, Seen], done: int
) -> None:
    nodes, seen = situation
    policy = Policy()
    whole = _settle(nodes, seen, policy)
    interrupted, _ = _round(nodes, seen, policy, done)
    assert _settle(interrupted, seen, policy) == whole


@settings(max_examples=100, deadline=None)
@given(situations())
def test_only_our_taint_is_ever_added_and_none_is_removed(situation: tuple[Cluster, Seen]) -> None:
    nodes, seen = situation
    for view in _settle(nodes, seen, Policy()).values():
        assert FOREIGN_TAINT in view.taints
        assert {taint.key for taint in view.taints} <= {FOREIGN_TAINT.key, KEYS.taint}
