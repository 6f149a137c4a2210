"""Nodes come and go for months: what a controller keeps of those that are gone does not grow."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from konduktor_health.errors import ClusterUnavailable
from konduktor_health.runtime.report import MOST_GONE
from tests.support.builders import node
from tests.support.world import World

GONE = 500
AFTERMATH_S = 8 * 3600.0
#: Bounded by a number of their own, by design, and of use after the node is gone.
BOUNDED = frozenset({
    "_graves",  # tombstones, and _last, _content: as they are stored
    "_last",
    "_content",
    "_starts",  # of boots, that late lines are dated by
    "_recent",  # reboots within the window of surges, cut when they are judged
    "_entries",  # of parsers.recent
})  # fmt: skip


def _inside(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Mapping):
        yield from ((str(key), value) for key, value in part.items())
    elif isinstance(part, list | tuple | set | frozenset | deque):
        yield from (("", each) for each in part)
    else:
        slots = [n for kind in type(part).__mro__ for n in getattr(kind, "__slots__", ())]
        names = {*getattr(part, "__dict__", {}), *slots}
        yield from ((name, getattr(part, name)) for name in names if hasattr(part, name))


def _about(names: frozenset[str], entry: Any) -> bool:
    if isinstance(entry, tuple):
        return any(_about(names, each) for each in entry)
    return (isinstance(entry, str) and entry in names) or getattr(entry, "name", None) in names


def _mentions(root: Any, names: frozenset[str]) -> Counter[str]:
    """By path, how many entries of containers below ``root`` are about these nodes."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        path, part = waiting.pop()
        ours = type(part).__module__.startswith(("konduktor_health", "parsers"))
        holds = isinstance(part, Mapping | list | tuple | set | frozenset | deque)
        if id(part) in seen or not (ours or holds):
            continue
        seen.add(id(part))
        if holds and not isinstance(part, tuple):
            found[path] += sum(_about(names, entry) for entry in part)
        for name, value in _inside(part):
            if name not in BOUNDED:
                named = f"{path}.{name}" if ours else path
                waiting.append((named, value))
    return +found


def _churn(world: World, *, hear: bool) -> frozenset[str]:
    """Nodes that come, go wrong in one way or another, and are deleted."""
    names = [f"spot-{number}" for number in range(GONE)]
    for number, name in enumerate(names):
        uuid = f"4c4c4544-0000-4010-8033-{number:012x}"
        world.cluster.put(node(name, uid=f"uid {name}", system_uuid=uuid))
        world.feed.sync()
        if hear:
            if number % 5 == 0:  # a write that fails while the node is deleted
                world.fail("get", name, ClusterUnavailable("no answer"))
            world.hear(world.line(name), world.line(name, "NVRM: Xid (PCI:0000:5d:00): 31, pid=7"))
            world.change(name, boot_id=f"00000000-0000-4000-8000-{number:012x}")
            world.turn(5)
        else:
            world.change(name, boot_id=f"00000000-0000-4000-8000-{number:012x}")
        del world.cluster.nodes[name]
        world.feed.sync()
        if hear:
            world.turn(1)
    return frozenset(names)


def test_the_leader_keeps_nothing_of_nodes_that_are_gone() -> None:
    world = World(nodes=40, emit=lambda _text: None, surge_enabled=False)

    gone = _churn(world, hear=True)
    for _ in range(40):
        world.turn(AFTERMATH_S / 40)

    kept = _mentions(world.loop, gone)
    assert max(kept.values(), default=0) <= MOST_GONE, kept


def test_a_standby_keeps_nothing_of_nodes_that_are_gone() -> None:
    standby = World(nodes=40)  # has never turned

    gone = _churn(standby, hear=False)

    kept = _mentions(standby.loop, gone)
    assert max(kept.values(), default=0) <= 10, kept  # what is yet to be logged


def test_the_walk_finds_what_is_kept() -> None:
    world = World(nodes=3)
    world.hear(world.line("gpu-1"))

    assert _mentions(world.loop, frozenset({"gpu-1"}))
