"""How many tainted nodes wait for what follows each change, and is what /metrics tells."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.record import Missing, Record
from konduktor_health.model import NodeView
from konduktor_health.runtime.awaiting import KINDS, Awaiting
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.timestamps import NS
from tests.support.builders import KEYS, NOW, OUR_TAINT, node
from tests.support.ledgers import record
from tests.support.world import World

NONE = dict.fromkeys(KINDS, (0, 0))


def waiting(name: str, *records: Record, owned: tuple[str, ...] = ("NoSchedule",)) -> NodeView:
    ledger = Ledger(f"uid-{name}", owned=owned, tainted_ns=NOW, records=records)
    return node(name, taints=(OUR_TAINT,), ledger=render(ledger))


def missing(*whats: str, since_ns: int = NOW) -> Record:
    return record(missing=tuple(Missing(what, since_ns) for what in whats))


def counted(*views: NodeView) -> dict[str, tuple[int, int]]:
    fleet = Fleet(KEYS, lambda: NOW)
    for view in views:
        fleet.changed(None, view)
    return dict(fleet.awaiting())


def test_a_node_counts_once_for_each_kind_since_its_earliest() -> None:
    probes = missing("probe:light", "probe:boot+load", "quiet")
    older = replace(missing("quiet", since_ns=NOW - NS), fault_id="xid/48")
    told = counted(waiting("a", probes, older), waiting("b", missing("quiet", since_ns=NOW - 9)))
    assert told == NONE | {"probe": (1, NOW), "quiet": (2, NOW - NS)}


def test_what_no_ledger_explains_and_what_a_person_said_waits_for_a_person() -> None:
    own = record("operator/taint", device="", first_ns=NOW - 5 * NS)
    assert counted(
        waiting("a", own),
        node("adopted", taints=(OUR_TAINT,)),
        node("damaged", taints=(OUR_TAINT,), ledger="{"),
        waiting("lost"),
    ) == NONE | {"operator": (4, NOW - 5 * NS)}


def test_a_node_without_our_taint_waits_for_nothing() -> None:
    held = replace(waiting("a", missing("repair")), taints=())
    assert counted(held, node("b")) == NONE


def test_a_kind_that_is_not_known_is_no_label() -> None:
    assert counted(waiting("a", missing("a later version's", "repair"))) == NONE | {
        "repair": (1, NOW)
    }


def test_our_own_write_counts_at_once() -> None:
    fleet = Fleet(KEYS, lambda: NOW)
    fleet.changed(None, waiting("a", missing("repair")))
    fleet.wrote(waiting("a", missing("quiet")))
    assert fleet.awaiting() == NONE | {"quiet": (1, NOW)}
    fleet.changed(waiting("a", missing("quiet")), None)
    assert fleet.awaiting() == NONE


def test_metrics_tell_it_of_the_nodes_that_the_loop_has_tainted() -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    samples = world.report.metrics.render().decode()
    assert 'konduktor_health_awaiting_nodes{what="repair"} 1.0' in samples
    assert 'konduktor_health_awaiting_nodes{what="probe"} 0.0' in samples
    (since,) = [
        line for line in samples.splitlines() if 'since_timestamp_seconds{what="rep' in line
    ]
    assert float(since.split()[-1]) > 1e9


names = st.sampled_from(["a", "b", "c"])
times = st.integers(1, 4)
views = st.builds(
    lambda name, whats, since_ns, tainted: replace(
        waiting(name, missing(*whats, since_ns=since_ns)), taints=(OUR_TAINT,) if tainted else ()
    ),
    names,
    st.lists(st.sampled_from(["repair", "quiet", "probe:x", "operator"]), unique=True),
    times,
    st.booleans(),
)


@given(st.lists(st.one_of(views, names), max_size=60))
def test_counts_by_change_are_those_of_counting_afresh(history: list[NodeView | str]) -> None:
    kept, there = Awaiting(KEYS), dict[str, NodeView]()
    for each in history:
        if isinstance(each, str):
            there.pop(each, None)
            kept.drop(each)
        else:
            there[each.name] = each
            kept.put(each)
        kept.counts()  # looking changes nothing
    fresh = Awaiting(KEYS)
    for view in there.values():
        fresh.put(view)
    assert kept.counts() == fresh.counts()
