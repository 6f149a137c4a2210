"""Does each node belong to exactly one shard, and does a controller leave the others alone?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.shard import Shard
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.settings import load
from tests.support.builders import KEYS, OUR_TAINT, node
from tests.support.world import World

LABEL = "example.com/shard"
VALUES = st.sampled_from(["", "a", "b", "a.b", "c-1"])
LABELS = st.dictionaries(st.sampled_from([LABEL, "other"]), VALUES)


def labelled(name: str, value: str | None, **fields: Any) -> Any:
    return node(name, labels=() if value is None else ((LABEL, value),), **fields)


@given(labels=LABELS, values=st.sets(VALUES, min_size=1))
def test_a_node_is_of_one_shard_at_most_and_of_one_when_all_values_are_run(
    labels: dict[str, str], values: set[str]
) -> None:
    view = node(labels=tuple(sorted(labels.items())))
    of = [value for value in sorted(values) if Shard(LABEL, value).has(view)]
    assert of == [labels.get(LABEL, "")] * (labels.get(LABEL, "") in values)
    assert Shard().has(view)


def test_the_objects_of_a_shard_end_with_its_value() -> None:
    assert Shard(LABEL, "a").name("konduktor-health") == "konduktor-health-a"
    assert Shard(LABEL, "").name("konduktor-health") == "konduktor-health"


def test_a_node_of_another_shard_is_not_kept_whatever_it_carries() -> None:
    """Budgets count what is kept: of each shard its own nodes."""
    fleet = Fleet(KEYS, lambda: 0, shard=Shard(LABEL, "a"))
    theirs = labelled("gpu-b", "b", taints=(OUR_TAINT,), ledger="{}")
    assert [fleet.keep(labelled("gpu-a", "a")), fleet.keep(theirs)] == [True, False]
    assert not fleet.keep(labelled("gpu-c", None))
    assert fleet.is_elsewhere("gpu-b")
    assert not fleet.is_elsewhere("gpu-a")
    moved = replace(theirs, labels=((LABEL, "a"),))
    assert fleet.keep(moved)
    assert not fleet.is_elsewhere("gpu-b")
    assert not fleet.keep(replace(moved, labels=()))  # and away again: managed before, all the same


def test_lines_of_another_shards_node_are_no_unknown_names_and_wait_for_nothing() -> None:
    world = World(3, shard=Shard(LABEL, "a"), labels={"gpu-0": "a", "gpu-1": "b"})
    world.hear(world.line("gpu-0"), world.line("gpu-1"), world.line("gpu-2"))
    assert world.tainted() == ["gpu-0"]
    assert world.observer.unknown_lines == 0
    assert world.observer.unmanaged_faults == 0
    assert world.observer.oldest_pending_ns() is None
    world.hear(world.line("gpu-9"))
    assert world.observer.unknown_lines == 1
    assert [name for name in world.names if world.cluster.nodes[name].ledger] == ["gpu-0"]


def test_a_node_that_moves_is_taken_over_with_what_it_carries() -> None:
    world = World(2, shard=Shard(LABEL, "a"), labels={"gpu-0": "b", "gpu-1": "a"})
    world.hear(world.line("gpu-0"))
    assert world.tainted() == []
    world.change("gpu-0", labels=((LABEL, "a"),))
    world.hear(world.line("gpu-0"))
    assert world.tainted() == ["gpu-0"]
    world.change("gpu-0", labels=((LABEL, "b"),))
    before = world.cluster.nodes["gpu-0"]
    world.hear(world.line("gpu-0", "NVRM: Xid (PCI:0000:3b:00): 48, pid=1, double bit"))
    assert world.cluster.nodes["gpu-0"] == before
    assert world.fleet.counts() == (1, 0, 0)


@pytest.mark.parametrize(
    ("shard", "says"),
    [
        ({"value": "a"}, "set shard.label too"),
        ({"label": "example.com/", "value": "a"}, "key of a Node label"),
        ({"label": LABEL, "value": "A100_80"}, "'A100_80'"),
        ({"label": LABEL, "value": "a..b"}, "ends the name of a Lease"),
        ({"label": LABEL, "value": "a" * 64}, "at most 63"),
    ],
)
def test_a_shard_that_names_nothing_is_refused(shard: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match="settings: shard") as caught:
        load(flags={"shard": shard}, environ={})
    assert says in str(caught.value)
