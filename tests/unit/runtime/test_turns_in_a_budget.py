"""A place that comes free costs one decision, not one for each node that waits for it."""

from __future__ import annotations

from dataclasses import replace

from konduktor_health.model import Plan, Snapshot, Turn
from konduktor_health.runtime.turns import Places, Turns
from tests.support.world import World


def turn(number: int, *, fatal: bool = False, pool: str = "default") -> Turn:
    return Turn(pool, (False, 0 if fatal else 1, 0, number, f"gpu-{number}"), fatal)


def line(*turns: Turn) -> Turns:
    waiting = Turns()
    waits = {each.order[4]: each for each in turns}
    waiting.note(waits, Plan(waits=waits))
    return waiting


def test_as_many_are_called_as_there_are_places_and_the_most_urgent_first() -> None:
    waiting = line(turn(3), turn(1), turn(2), turn(9, fatal=True))

    assert waiting.call(lambda _name: Places(2)) == {"gpu-9", "gpu-1"}


def test_for_a_degraded_node_that_may_give_way_only_fatal_ones_are_called() -> None:
    waiting = line(turn(1), turn(2), turn(9, fatal=True))

    assert waiting.call(lambda _name: Places(0, soft=2)) == {"gpu-9"}


def test_pools_are_called_each_for_its_own_places() -> None:
    waiting = line(turn(1), turn(2, pool="a100"), turn(3, pool="a100"))
    places = {"gpu-1": Places(0), "gpu-2": Places(1)}

    assert waiting.call(lambda name: places[name]) == {"gpu-2"}


def test_one_that_was_called_and_needs_no_place_any_more_lets_the_next_one_in() -> None:
    waiting = line(turn(1), turn(2))
    assert waiting.call(lambda _name: Places(1)) == {"gpu-1"}

    waiting.note(["gpu-1"], Plan(settled=frozenset({"gpu-1"})))

    assert waiting.open
    assert waiting.call(lambda _name: Places(1)) == {"gpu-2"}


def test_a_place_that_nobody_can_take_keeps_nobody_busy() -> None:
    waiting = line(turn(1), turn(2))
    waiting.call(lambda _name: Places(1))

    waiting.note(["gpu-1"], Plan(waits={"gpu-1": turn(1)}))

    assert not waiting.open


def test_a_place_that_comes_free_is_taken_and_the_others_are_not_decided_again() -> None:
    world = World(20, rate_per_minute=0, surge_enabled=False)
    world.hear(*(world.line(name) for name in world.names))
    world.settle()
    first = world.tainted()
    assert len(first) == 2, "ten percent of 20"
    decided: list[str] = []

    def counted(snapshot: Snapshot) -> Snapshot:
        decided.extend(snapshot.nodes)
        return snapshot

    world.loop.situation = replace(world.loop.situation, complete=counted)

    reset_at = '{"time":"2027-01-15T08:00:01Z","boot":"","uptime_us":0}'
    world.change(first[0], taints=(), ledger=None, condition=None, reset_at=reset_at)
    world.settle()

    second = world.tainted()
    assert first[0] not in second
    assert len(second) == 2
    (taken,) = set(second) - set(first)
    assert set(decided) == {first[0], taken}
