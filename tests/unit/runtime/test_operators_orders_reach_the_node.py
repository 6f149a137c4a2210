"""Do a person's edits reach Nodes that others write too? In memory, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.declared import Declared
from konduktor_health.core.operator import OperatorEvent, plan_hold, plan_taint
from konduktor_health.errors import ClusterForbidden, Conflict
from konduktor_health.model import NodeView
from konduktor_health.runtime.insist import ATTEMPTS
from konduktor_health.runtime.orders import Order, carry_out
from konduktor_health.runtime.reset import reset
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect
from tests.support.builders import FOREIGN_TAINT, KEYS, NOW, OUR_TAINT, node
from tests.support.ledgers import record, sick
from tests.support.memory_loki import FakeClock
from tests.support.world import MemoryCluster, World

HOLD = Order(
    OperatorEvent.HELD,
    lambda view, now_ns: plan_hold(view, KEYS, Declared(NOW, NOW + 3600 * NS), now_ns),
    nothing="is held so already",
    failed="not held",
)
TAINT = Order(
    OperatorEvent.TAINTED,
    lambda view, now_ns: plan_taint(view, KEYS, "fan", Effect.NO_SCHEDULE, now_ns),
    nothing="is tainted so already",
    failed="not tainted",
    follows="more follows",
)


def carry(cluster: MemoryCluster, order: Order, view: NodeView, *, dry_run: bool = False) -> str:
    return carry_out(cluster, view, order, FakeClock(NOW), dry_run)


def test_a_conflict_is_read_again_and_what_others_wrote_stays() -> None:
    cluster = MemoryCluster()
    stale = cluster.put(node())
    cluster.put(node(taints=(FOREIGN_TAINT,)))
    assert carry(cluster, TAINT, stale).endswith("true:NoSchedule: fan; more follows")
    assert cluster.nodes["gpu-1"].taints == (FOREIGN_TAINT, OUR_TAINT)
    (event,) = cluster.events.values()
    assert (event.reason, event.type, event.node_uid) == (
        "TaintedByOperator",
        "Normal",
        "uid-gpu-1",
    )


def test_what_somebody_did_meanwhile_is_not_done_again() -> None:
    cluster = MemoryCluster()
    stale = cluster.put(node())
    carry(cluster, HOLD, stale)
    assert carry(cluster, HOLD, stale) == "is held so already"
    assert cluster.writes == ["edit gpu-1", "event gpu-1"]


def test_somebody_who_always_writes_first_is_given_up_on() -> None:
    cluster = MemoryCluster()
    view = cluster.put(node())
    tries: list[str] = []

    def before(what: str, name: str) -> None:
        if what == "edit":
            tries.append(name)
            cluster.put(replace(cluster.nodes[name], unschedulable=len(tries) % 2 == 1))

    cluster.before = before
    with pytest.raises(Conflict):
        carry(cluster, HOLD, view)
    assert len(tries) == ATTEMPTS
    assert cluster.nodes["gpu-1"].hold is None


def test_an_event_that_cannot_be_published_undoes_nothing() -> None:
    cluster = MemoryCluster()
    view = cluster.put(node())

    def before(what: str, _name: str) -> None:
        if what == "event":
            raise ClusterForbidden("403")

    cluster.before = before
    assert carry(cluster, HOLD, view).endswith("; Event not published: 403")
    assert cluster.nodes["gpu-1"].hold is not None


def test_a_dry_run_writes_nothing() -> None:
    cluster = MemoryCluster()
    view = cluster.put(node())
    assert carry(cluster, HOLD, view, dry_run=True).startswith("would have held until ")
    assert cluster.writes == []


# ---------------------------------------------------------------- reset beside what was declared


def test_a_reset_leaves_a_persons_declarations_and_says_so() -> None:
    cluster = MemoryCluster()
    declared: dict[str, Any] = {
        "hold": "2999-01-02T03:04:05Z",
        "maintenance": '{"reason":"rack move"}',
    }
    view = cluster.put(replace(sick(record()), **declared))
    left = "; left: hold until 2999-01-02T03:04:05Z; left: maintenance until it is ended: rack move"
    said = reset(cluster, view, KEYS, FakeClock(NOW), dry_run=True)
    assert said.startswith("would remove taint ")
    assert said.endswith(left)
    assert cluster.writes == []
    assert reset(cluster, view, KEYS, FakeClock(NOW), dry_run=False).endswith(left)
    done = cluster.nodes["gpu-1"]
    assert (done.taints, done.ledger) == ((), None)
    assert (done.hold, done.maintenance) == (declared["hold"], declared["maintenance"])
    said = reset(cluster, done, KEYS, FakeClock(NOW), dry_run=False)
    assert said == "nothing of ours on it" + left


# ---------------------------------------------------------------- beside a controller's loop


def test_the_loop_agrees_with_an_operators_taint_and_with_its_release() -> None:
    world = World(nodes=10)
    carry(world.cluster, TAINT, world.cluster.nodes["gpu-3"])
    world.feed.sync()
    world.settle()
    assert world.tainted() == ["gpu-3"]
    assert world.reason("gpu-3") == "FatalFault"
    written = list(world.cluster.writes)
    world.turn(3600)
    assert world.cluster.writes[len(written) :] in ([], ["state"])
    world.hear(world.line("gpu-5"))
    world.settle()
    assert world.reason("gpu-5") == "BudgetExhausted"  # an operator's taint takes from the budget
