"""The budget sees our own taints before the watch delivers them."""

from __future__ import annotations

from konduktor_health.core.decide import decide
from konduktor_health.model import NodeView
from konduktor_health.runtime.fleet import Fleet
from tests.support.builders import KEYS, NOW, after, node, policy, sighting, snapshot


def tainted(view: NodeView) -> NodeView:
    return after(view, decide(snapshot([view], {view.name: [sighting()]}), policy(), NOW))


def test_own_write_counts_at_once() -> None:
    fleet = Fleet(KEYS, lambda: NOW)
    for name in ("gpu-1", "gpu-2"):
        fleet.changed(None, node(name))
    assert fleet.counts() == (2, 0, 0)
    fleet.wrote(tainted(node("gpu-1")))
    view = fleet.view(NOW, {})
    assert (view.managed, view.tainted, view.taint_times_ns) == (2, 1, (NOW,))


def test_write_to_a_node_that_is_gone_counts_nothing() -> None:
    fleet = Fleet(KEYS, lambda: NOW)
    fleet.changed(None, node("gpu-1"))
    fleet.changed(node("gpu-1"), None)
    fleet.wrote(tainted(node("gpu-1")))
    assert fleet.counts() == (0, 0, 0)
