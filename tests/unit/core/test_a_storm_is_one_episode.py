"""Lines of one program without a pause are one episode, however often the ledger is written."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.fold import SightingKey, add
from konduktor_health.core.ledger import parse, render
from konduktor_health.core.record import Episode, joined
from konduktor_health.model import NodeView, Severity, Sighting
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Match, Repeat, Rule, Treatment
from tests.support.builders import NOW, OUR_TAINT, after, fault, node, policy, snapshot

THRICE = policy(
    rules=(Rule("thrice", Match(faults=("xid/*",)), Treatment(repeat=Repeat(3, 86_400))),)
)


def folded(seconds: Iterable[int], owner: str = "train") -> Sighting:
    """Lines at these times, as they are pending for one decision."""
    pending: dict[SightingKey, Sighting] = {}
    for second in seconds:
        at_ns = NOW + second * NS
        line = fault(
            severity=Severity.DEGRADED,
            time_ns=at_ns,
            event_ns=at_ns,
            uptime_us=10**9 + second * 10**6,
            identity=f"{second}",
            detail={"process": owner},
        )
        add(pending, line, True)
    (found,) = pending.values()
    return found


def told(view: NodeView, seen: Sighting) -> NodeView:
    return after(view, decide(snapshot([view], {"gpu-1": [seen]}), THRICE, seen.last_ns))


@pytest.mark.parametrize("every", [400, 3000])
def test_storm_that_is_written_now_and_then_is_one(every: int) -> None:
    view = node()
    for start in range(0, 12_000, every):
        view = told(view, folded(range(start, start + every, 20)))
    (record,) = parse(view.ledger or "").records
    assert len(record.episodes) == 1
    assert OUR_TAINT not in view.taints


def test_three_storms_are_three() -> None:
    view = node()
    for start in (0, 2000, 4000):
        view = told(view, folded(range(start, start + 1000, 20)))
    assert len(parse(view.ledger or "").records[0].episodes) == 3
    assert OUR_TAINT in view.taints


def episode(first: int, last: int, owner: str = "train") -> Episode:
    return (NOW + last * NS, owner, NOW + first * NS)


def test_a_late_line_within_an_episode_is_part_of_it() -> None:
    assert joined([episode(0, 3600)], [episode(1800, 1800)]) == (episode(0, 3600),)
    assert joined([episode(0, 60), episode(300, 400)], [episode(150, 200)]) == (episode(0, 400),)
    both = (episode(0, 60), episode(0, 61, "other"))
    assert joined(both[:1], both[1:]) == both


def test_ledgers_that_know_only_an_episodes_end_are_read() -> None:
    view = told(node(), folded(range(0, 100, 20)))
    data = json.loads(view.ledger or "")
    (stored,) = data["records"][0]["episodes"]
    assert stored == [NOW + 80 * NS, "train", NOW]
    data["records"][0]["episodes"] = [stored[:2]]
    (record,) = parse(json.dumps(data)).records
    assert record.episodes == (episode(80, 80),)
    assert json.loads(render(parse(json.dumps(data))))["records"][0]["episodes"] == [stored[:2]]
