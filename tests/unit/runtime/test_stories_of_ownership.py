"""Stories of other projects in which somebody else's word was overwritten, or nobody was heard.

Each test names its story and where it was told (issue numbers of these projects).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from loguru import logger

from konduktor_health.errors import ClusterRejected
from konduktor_health.model import NodeView, Taint
from konduktor_health.runtime.reset import reset
from tests.support.builders import FOREIGN_TAINT, KEYS, OUR_TAINT
from tests.support.story import Story, xid

CORDON = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
DRAINED = Taint("example.com/drained-by-hand", "INC-7: fan", "NoSchedule")


def cleared(world: Story, name: str = "gpu-1") -> NodeView:
    """The node once it was repaired and proven."""
    world.reboot(name)
    world.prove(name)
    world.live(900)
    return world.cluster.nodes[name]


def test_foreign_cordon_is_not_removed() -> None:
    """Recovery uncordoned nodes that a person had cordoned (NVSentinel#1424, kured,
    k8s-driver-manager#212, drainsafe#1)."""
    world = Story()
    world.change("gpu-1", unschedulable=True, taints=(CORDON,))
    world.live(60, world.line("gpu-1"))
    assert OUR_TAINT in world.cluster.nodes["gpu-1"].taints
    view = cleared(world)
    assert (view.unschedulable, view.taints) == (True, (CORDON,))


def test_foreign_cordon_that_came_after_our_taint_is_not_removed_either() -> None:
    """All that was kept was whether it was cordoned before (kured)."""
    world = Story()
    world.live(60, world.line("gpu-1"))
    ours = world.cluster.nodes["gpu-1"].taints
    world.change("gpu-1", unschedulable=True, taints=(CORDON, *ours))
    view = cleared(world)
    assert (view.unschedulable, view.taints) == (True, (CORDON,))


def test_foreign_reason_is_not_overwritten() -> None:
    """A failure overwrote an admin's drain reason, and the next healthy run resumed the node
    (mej/nhc#134)."""
    world = Story()
    world.change("gpu-1", taints=(DRAINED,))
    world.live(60, world.line("gpu-1"))
    assert set(world.cluster.nodes["gpu-1"].taints) == {DRAINED, OUR_TAINT}
    assert cleared(world).taints == (DRAINED,)


def test_taint_of_our_key_that_a_person_set_is_not_cleared() -> None:
    """As a foreign reason (mej/nhc#134), of a taint with our own key."""
    world = Story()
    world.change("gpu-1", taints=(OUR_TAINT,))
    world.live(60, world.line("gpu-1"))
    assert cleared(world).taints == (OUR_TAINT,)


def test_stale_copy_deletes_no_foreign_taint() -> None:
    """Taints that others set meanwhile were lost to a list from a stale copy (nodewright#447,
    kubernetes#126755, karmada#7348)."""
    world = Story()
    others: list[Taint] = []

    def somebody(what: str, name: str) -> None:
        if what == "edit" and len(others) < 4:
            others.append(Taint(f"example.com/{len(others)}", "", "NoSchedule"))
            view = world.cluster.nodes[name]
            world.cluster.put(replace(view, taints=(*view.taints, others[-1])))

    world.cluster.before = somebody
    world.live(60, world.line("gpu-1"))
    world.live(300)
    assert len(others) == 4
    assert set(world.cluster.nodes["gpu-1"].taints) == {OUR_TAINT, *others}
    others.clear()
    view = cleared(world)
    assert {each.key for each in view.taints} == {f"example.com/{n}" for n in range(4)}


def test_watch_that_is_behind_deletes_no_foreign_taint() -> None:
    """A stale copy again (nodewright#447): our cache has not heard of the taint yet."""
    world = Story()
    world.cluster.put(replace(world.cluster.nodes["gpu-1"], taints=(FOREIGN_TAINT,)))
    world.live(60, world.line("gpu-1"))
    world.live(60)
    assert set(world.cluster.nodes["gpu-1"].taints) == {FOREIGN_TAINT, OUR_TAINT}


@pytest.mark.parametrize("value", ["False", "no", "0", "", "true"])
def test_opt_out_of_another_value_is_none_and_is_told(value: str) -> None:
    """A value that means nothing was taken for an opt-out, or ignored without a word
    (NHC's exclude-from-remediation)."""
    said: list[str] = []
    sink = logger.add(said.append, format="{message}", level="WARNING")
    world = Story()
    world.change("gpu-1", managed_label=value)
    world.live(60, world.line("gpu-1"))
    logger.remove(sink)
    assert world.tainted() == ["gpu-1"]
    told = [each.strip() for each in said if "only false opts out" in each]
    assert told == ([] if value == "true" else [f"{KEYS.managed}={value}: only false opts out"])


def test_opt_out_is_one() -> None:
    """The one value is one, also for an ill node (NVSentinel's opt-out label)."""
    world = Story()
    world.change("gpu-1", managed_label="false")
    before = world.cluster.nodes["gpu-1"]
    world.live(3600, world.line("gpu-1"))
    assert world.cluster.nodes["gpu-1"] == before


def test_endless_retry_of_one_node_stops_nothing_behind_it() -> None:
    """An error was retried for ever, and all behind it waited (NVSentinel's breaker state;
    mej/nhc#161)."""
    world = Story(40)
    world.fail("edit", "gpu-1", ClusterRejected("a webhook refuses"), times=10**6)
    world.live(60, world.line("gpu-1", xid(48)))
    world.live(60, world.line("gpu-2", xid(62)), world.line("gpu-3", xid(79)))
    assert world.tainted() == ["gpu-2", "gpu-3"]
    cleared(world, "gpu-2")
    assert world.tainted() == ["gpu-3"]
    world.cluster.before = lambda _what, _name: None
    world.live(60)
    assert world.tainted() == ["gpu-1", "gpu-3"]


def test_bug_about_one_node_stops_no_other() -> None:
    """As an endless retry, of a bug in a decision."""
    world = Story(40)
    whole = world.loop.situation.complete

    def breaks(snapshot: Any) -> Any:
        if "gpu-1" in snapshot.nodes:
            raise ZeroDivisionError("bug")
        return whole(snapshot)

    world.loop.situation = replace(world.loop.situation, complete=breaks)
    world.live(60, world.line("gpu-1"), world.line("gpu-2"))
    assert world.tainted() == ["gpu-2"]


def test_deleted_node_holds_no_place() -> None:
    """A lock of a deleted node blocked everything (kured#955, #137)."""
    world = Story(10)
    world.live(60, world.line("gpu-1", xid(48)))
    world.live(60, world.line("gpu-2", xid(62)))
    assert world.tainted() == ["gpu-1"]
    del world.cluster.nodes["gpu-1"]
    world.feed.sync()
    world.live(60)
    assert world.tainted() == ["gpu-2"]


def test_reset_of_a_ghost_taint_works() -> None:
    """A taint that is not in the owner's list never clears (home-ops#4900): a person's reset
    takes it away."""
    world = Story()
    world.change("gpu-1", taints=(OUR_TAINT, FOREIGN_TAINT))
    world.live(60)
    reset(world.cluster, world.cluster.nodes["gpu-1"], KEYS, world.clock, dry_run=False)
    assert world.cluster.nodes["gpu-1"].taints == (FOREIGN_TAINT,)
