"""Is the fleet told worst first, with the controller's own sums? Without a cluster."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.status_rows import (
    NARROW,
    WIDE,
    Choice,
    Fleet,
    fleet_as_json,
    fleet_text,
    rows,
    shown,
    sums_text,
    survey,
    unknown,
)
from konduktor_health.cli.status_show import frame, print_fleet
from konduktor_health.cli.status_watch import JsonLines, Lines, follow
from konduktor_health.cli.stored_state import Stored, StoredState, stored_of
from konduktor_health.cli.surges_told import surge_text, surges_of
from konduktor_health.cli.times import age
from konduktor_health.core.ledger import parse, render
from konduktor_health.core.record import Missing
from konduktor_health.errors import ClusterForbidden, ClusterUnavailable, HealthError
from konduktor_health.model import Condition, NodeView, Pool, Severity, Taint, Verdict
from konduktor_health.runtime.checkpoint import short_hash
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import NS
from tests.support.builders import KEYS, NOW, OUR_TAINT, node, policy
from tests.support.ledgers import record, sick
from tests.support.world import MemoryCluster

SOFT = Taint(KEYS.taint, "true", "PreferNoSchedule")
SINCE = partial(age, now_ns=NOW)


def named(view: NodeView, name: str) -> NodeView:
    """The same Node under another name (and with the UID that its ledger says)."""
    return replace(view, name=name)


def fleet(*views: NodeView, **limits: object) -> Fleet:
    return survey(views, policy(**limits), NOW)


def mixed() -> Fleet:
    """Faulty, suspect, corrupt and healthy nodes, one opted out, one without GPUs."""
    degraded = record("xid/48", severity=Severity.DEGRADED)
    return fleet(
        node("a-healthy"),
        named(sick(degraded, taints=(), owned=()), "b-suspect"),
        named(sick(record()), "c-faulty"),
        node("d-corrupt", ledger="{"),
        node("e-adopted", taints=(OUR_TAINT,)),
        node("f-opted", managed_label="false", taints=(OUR_TAINT,)),
        node("g-cpu", gpu_capacity=0, selected=False),
    )


def test_the_worst_comes_first_and_the_healthy_only_when_asked() -> None:
    found = mixed()
    names = [each.node for each in shown(found, Choice())]
    assert names == ["c-faulty", "d-corrupt", "b-suspect", "e-adopted"]
    assert [each.node for each in shown(found, Choice(healthy=True))] == [*names, "a-healthy"]
    assert [each.node for each in shown(found, Choice(("a-healthy",)))] == ["a-healthy"]


def test_of_two_faulty_nodes_the_one_that_is_so_longer_comes_first() -> None:
    older = named(sick(record(first_ns=NOW - 9000 * NS)), "z")
    found = fleet(named(sick(record()), "a"), older)
    assert [each.node for each in shown(found, Choice())] == ["z", "a"]


def test_a_row_tells_the_fault_that_the_node_is_told_by() -> None:
    lesser = record("xid/48", severity=Severity.DEGRADED, first_ns=NOW - 9000 * NS)
    (row,) = rows(fleet(sick(lesser, record())).stories, SINCE)
    assert dict(zip(NARROW, row, strict=True)) == {
        "node": "gpu-1",
        "verdict": "faulty",
        "taint": "NoSchedule",
        "fault": "xid/79",
        "device": "0000:3b:00",
        "severity": "fatal",
        "since": "1h",
        "open": "2",
        "held": "-",
    }


def test_wide_has_a_row_for_each_record_each_with_its_own_reason() -> None:
    lesser = record("xid/48", severity=Severity.DEGRADED, acting=False, why="InObservation")
    held = Condition("False", "RateLimited", "")
    view = sick(record(injected=True), lesser, taints=(), owned=(), condition=held)
    told = [
        dict(zip(WIDE, row, strict=True)) for row in rows(fleet(view).stories, SINCE, wide=True)
    ]
    assert [each["fault"] for each in told] == ["xid/79 (injected)", "xid/48"]
    assert told[0]["held"].startswith("RateLimited: as many nodes were tainted within a minute")
    assert told[1]["held"] == "InObservation: the fault is in observation (policy.observe)"
    assert (told[0]["count"], told[0]["boot"], told[0]["source"]) == ("3", "this", "kmsg")
    assert told[0]["text"].endswith("GPU has fallen off the bus.")


def test_the_sums_are_the_controllers_own() -> None:
    sums = mixed().sums
    assert (sums.managed, sums.tainted, sums.adopted, sums.allowed) == (5, 2, 1, 1)
    assert (sums.corrupt, sums.opted_out, sums.opted_out_tainted) == (1, 1, 1)
    assert sums.verdicts == {Verdict.HEALTHY: 1, Verdict.SUSPECT: 3, Verdict.FAULTY: 1}
    assert sums_text(sums) == (
        "5 managed (1 faulty, 3 suspect, 1 healthy); 2 tainted (1 adopted) of 1 allowed; "
        "1 unreadable ledger; 1 opted out (1 tainted); "
        "no more taints now: budget exhausted: 2 nodes are tainted, 1 may be"
    )


def test_without_a_budget_the_rate_still_refuses() -> None:
    fresh = [named(sick(record()), f"n{number}") for number in range(3)]
    calm = fleet(*fresh, budget_enabled=False)
    assert (calm.sums.allowed, calm.sums.refusal) == (None, "")
    assert "3 tainted, no budget" in sums_text(calm.sums)
    late = survey(fresh, policy(budget_enabled=False, rate_per_minute=3), NOW - 3590 * NS)
    assert late.sums.refusal == "3 nodes were tainted within the last minute"


def test_an_empty_cluster_has_sums_and_no_table() -> None:
    stream = io.StringIO()
    print_fleet(fleet(), Choice(), Console(file=stream, width=80))
    assert stream.getvalue() == ("0 managed; 0 tainted of 0 allowed; 0 unreadable ledgers\n")


def test_a_name_that_is_no_managed_node_is_told_why() -> None:
    names = ("c-faulty", "f-opted", "g-cpu", "no\x1b[1msuch")
    told = list(unknown(mixed(), names))
    assert told[0] == "f-opted: not managed: label trainy.konduktor.ai/managed=false opts it out"
    assert told[1].startswith("g-cpu: not managed: no GPU capacity, ")
    assert told[2] == "no [1msuch: no such node"
    assert len(told) == 3


def test_json_has_the_same_form_whatever_the_fleet_is() -> None:
    whole = fleet_as_json(mixed(), shown(mixed(), Choice()))
    assert whole.keys() == fleet_as_json(fleet(), ()).keys()
    assert whole["summary"].keys() == fleet_as_json(fleet(), ())["summary"].keys()
    assert whole["nodes"][0]["node"] == "c-faulty"
    assert whole["version"] == 1


def test_a_pipe_gets_whole_lines_and_a_terminal_cut_ones() -> None:
    long = sick(record(text="x" * 190))
    for terminal in (False, True):
        stream = io.StringIO()
        console = Console(file=stream, width=80, force_terminal=terminal, color_system=None)
        print_fleet(fleet(long), Choice(wide=True), console)
        lines = stream.getvalue().splitlines()
        assert len(lines) == 3
        assert (max(map(len, lines[:2])) <= 80) is terminal


def test_a_frame_fits_its_terminal_and_says_what_is_left_out() -> None:
    many = fleet(*(named(sick(record()), f"n{number:02}") for number in range(40)))
    stream = io.StringIO()
    console = Console(file=stream, width=60, height=12)
    console.print(frame(many, Choice(), 12, note="not read: \x5b[bold]"), markup=False)
    lines = stream.getvalue().splitlines()
    assert len(lines) < 12
    assert lines[0].startswith("40 managed")
    assert lines[1] == "not read: [[bold]"
    assert lines[-1] == "and 33 more"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (90_000, "1d")],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert age(NOW - seconds * NS, NOW) == text


def test_watching_appends_what_is_new_and_only_that(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Choice())
    first = fleet(node("a"), named(sick(record()), "b"))
    lines.show(first, "")
    assert len(capsys.readouterr().out.splitlines()) == 2  # b, and the sums
    lines.show(survey([node("a"), named(sick(record()), "b")], policy(), NOW + 60 * NS), "")
    lines.show(first, "not read")
    lines.show(first, "not read, later")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: not read\n")
    lines.show(fleet(node("a"), node("b")), "")
    healed, sums = capsys.readouterr().out.splitlines()
    assert healed == "2027-01-15T08:00:00.000000Z  b  healthy"
    assert "2 managed (2 healthy)" in sums
    lines.show(fleet(node("a"), named(sick(record()), "b")), "")
    lines.show(fleet(node("a")), "")
    assert "  b  gone, or no longer managed\n" in capsys.readouterr().out


def test_watching_as_json_appends_an_object_for_each_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = JsonLines(Choice())
    lines.show(fleet(node("a")), "")
    lines.show(survey([node("a")], policy(), NOW + 60 * NS), "")
    assert len(capsys.readouterr().out.splitlines()) == 1
    lines.show(fleet(node("a", taints=(OUR_TAINT,))), "")
    assert '"node":"a"' in capsys.readouterr().out


class NoTime:
    """A clock on which waiting takes no time."""

    def now_ns(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.is_set()


def followed(*looks: Fleet | BaseException) -> list[tuple[str, str]]:
    """What a watch showed, node by node, until a look raised what ends it."""
    coming = iter(looks)
    seen: list[tuple[str, str]] = []

    def look() -> Fleet:
        answer = next(coming)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def show(fleet: Fleet, note: str) -> None:
        seen.append((fleet.stories[0].node, note))

    with pytest.raises((KeyboardInterrupt, ClusterForbidden)):
        follow(look, show, NoTime(), 5.0, look())
    return seen


def test_a_cluster_that_does_not_answer_for_a_while_ends_no_watch() -> None:
    seen = followed(
        fleet(node("a")), ClusterUnavailable("no\x1banswer"), fleet(node("b")), KeyboardInterrupt()
    )
    told = "2027-01-15T08:00:00.000000Z not read: no answer"
    assert seen == [("a", ""), ("a", told), ("b", "")]


def test_a_right_that_is_taken_away_ends_a_watch() -> None:
    assert followed(fleet(node("a")), ClusterForbidden("not allowed")) == [("a", "")]


# ---------------------------------------------------------------- what operators declared; surges


def test_a_healthy_node_on_hold_is_shown_and_summed() -> None:
    found = fleet(
        node("a"),
        node("b", hold="2999-01-02T03:04:05Z"),
        node("c", maintenance='{"reason":"rack move"}'),
        node("d", hold="2020-01-02T03:04:05Z"),
        node("e", hold="2999-01-02T03:04:05Z", managed_label="false"),
    )
    assert [each.node for each in shown(found, Choice())] == ["b", "c"]
    held = [dict(zip(NARROW, row, strict=True))["held"] for row in rows(found.stories, SINCE)]
    assert held == [
        "-",
        "HeldByOperator: until 2999-01-02T03:04:05Z",
        "Maintenance: until it is ended: rack move",
        "-",
    ]
    assert "; 1 opted out; 1 on hold; 1 in maintenance" in sums_text(found.sums)
    summary = fleet_as_json(found, ())["summary"]
    assert (summary["on_hold"], summary["in_maintenance"]) == (1, 1)


def test_what_was_declared_and_what_the_condition_says_are_told_once() -> None:
    condition = Condition("False", "HeldByOperator", "m")
    view = sick(record(), taints=(), owned=(), condition=condition, hold="2999-01-02T03:04:05Z")
    (row,) = rows(fleet(view).stories, SINCE)
    assert row[NARROW.index("held")] == "HeldByOperator: until 2999-01-02T03:04:05Z"
    (row,) = rows(fleet(replace(view, hold=None)).stories, SINCE)
    assert row[NARROW.index("held")].startswith("HeldByOperator: an operator holds the node")
    condition = Condition("False", "BudgetExhausted", "m")
    (row,) = rows(fleet(replace(view, condition=condition)).stories, SINCE)
    assert row[NARROW.index("held")] == (
        "BudgetExhausted: as many nodes are tainted as may be; "
        "HeldByOperator: until 2999-01-02T03:04:05Z"
    )


def test_surges_of_the_state_are_told_with_the_sums() -> None:
    state = {
        "surges": {
            "xid/79": {"since": NOW, "last": NOW, "scope": "", "released": True},
            "xid/74": {"since": NOW - NS, "last": NOW, "scope": "pool a", "released": False},
        }
    }
    found = survey([node()], policy(), NOW, Stored(surges_of(state)))
    assert fleet_text(found).endswith(
        "; surge of xid/74 in pool a since 2027-01-15T07:59:59Z, held"
        "; surge of xid/79 since 2027-01-15T08:00:00Z, released: it acts"
    )
    assert fleet_as_json(found, ())["surges"][0] == {
        "fault_id": "xid/74",
        "scope": "pool a",
        "since": "2027-01-15T07:59:59.000000Z",
        "last": "2027-01-15T08:00:00.000000Z",
        "released": False,
    }
    assert fleet_as_json(fleet(node()), ())["surges"] is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
_fields = st.sampled_from(["since", "last", "scope", "released"])


@given(_json | st.dictionaries(st.text(max_size=200), st.dictionaries(_fields, _json)))
def test_whatever_the_state_holds_is_told_in_printable_words(stored: object) -> None:
    for surge in surges_of({"surges": stored}):
        text = surge_text(surge)
        assert text.isprintable()
        assert len(text) < 400


def test_a_state_that_may_not_be_read_is_asked_for_once() -> None:
    cluster = MemoryCluster()
    asked: list[str] = []

    class Closed(MemoryCluster):
        error: HealthError = ClusterUnavailable("503")

        def read_state(self) -> None:
            asked.append("state")
            raise self.error

    assert StoredState(cluster).look().surges is None  # no state: no controller has stored one
    cluster.state = {"v": 1}
    assert StoredState(cluster).look().surges == ()
    closed = Closed()
    stored = StoredState(closed)
    assert [stored.look().surges, stored.look().surges] == [None, None]
    closed.error = ClusterForbidden("403")
    assert [stored.look().surges, stored.look().surges] == [None, None]
    assert len(asked) == 3


# ---------------------------------------------------------------- what is missing; pools; memory


def test_wide_says_what_is_missing_and_since_when() -> None:
    waits = (Missing("repair", NOW - 7200 * NS), Missing("probe:light", NOW - 60 * NS))
    view = sick(record(rule="fatal", reached=True, missing=waits), record("xid/48", rule="fatal"))
    told = [
        dict(zip(WIDE, row, strict=True)) for row in rows(fleet(view).stories, SINCE, wide=True)
    ]
    assert [each["missing"] for each in told] == ["-", "repair 2h, probe:light 1m"]


def test_recovering_and_unobserved_nodes_are_counted_and_shown() -> None:
    found = fleet(
        named(sick(record(), health_label="recovering"), "a"),
        node("b", health_label="unobserved"),
        named(sick(record()), "c"),
        node("d"),
    )
    assert sums_text(found.sums).startswith(
        "4 managed (1 faulty, 1 recovering, 1 unobserved, 1 healthy); "
    )
    assert [each.node for each in shown(found, Choice())] == ["c", "a", "b"]


POOLS = (
    Pool("gold", parse_selector("tier=gold"), count_unready=True),
    Pool("racks", label="rack", max_nodes=1),
)


def in_pool(view: NodeView, name: str, **labels: str) -> NodeView:
    return replace(named(view, name), labels=tuple(labels.items()))


def pooled() -> Fleet:
    held = sick(record(), taints=(SOFT,), owned=(SOFT.effect,))
    ledger = replace(parse(held.ledger or ""), soft=True)
    return fleet(
        in_pool(sick(record()), "a", tier="gold"),
        in_pool(node(ready=False), "b", tier="gold"),
        in_pool(sick(record()), "c", rack="1"),
        in_pool(node(), "d", rack="2"),
        in_pool(replace(held, ledger=render(ledger)), "e", rack="2"),
        in_pool(node(), "f"),
        pools=POOLS,
    )


def test_sums_are_told_for_each_pool_as_the_budgets_count() -> None:
    found = pooled()
    assert fleet_text(found) == (
        "6 managed (3 faulty, 3 healthy); 3 tainted of 3 allowed; "
        "1 of them weakly, without a place; 1 unavailable and counted as tainted; "
        "0 unreadable ledgers; "
        "pool gold: 2 managed, 1 tainted of 1 allowed, 1 unavailable; "
        "pool racks/1: 1 managed, 1 tainted of 1 allowed; "
        "pool racks/2: 2 managed, 0 tainted of 1 allowed, 1 without a place; "
        "1 more pool with nothing tainted"
    )
    told = {each["pool"]: each for each in fleet_as_json(found, ())["pools"]}
    assert told["racks/2"] == {
        "pool": "racks/2",
        "managed": 2,
        "tainted": 0,
        "without_place": 1,
        "unavailable": 0,
        "allowed": 1,
        "refusal": (
            "budget exhausted: 1 nodes are tainted in all pools of racks together, 1 may be"
        ),
    }
    assert (told["default"]["refusal"], found.sums.refusal) == (None, "")
    page = (Path(__file__).parents[3] / "docs/reference/node-json.md").read_text()
    for name in (*told["default"], *fleet_as_json(found, ())["summary"]):
        assert f"`{name}`" in page, name


def test_a_node_that_only_the_controller_remembers_is_managed() -> None:
    bare = node("g", gpu_capacity=0, selected=False)
    state = {"managed": [short_hash(bare.uid), 7, None], "surges": "damaged"}
    known = survey([bare], policy(), NOW, stored_of(state))
    assert (known.sums.managed, [each.node for each in known.stories]) == (1, ["g"])
    assert as_json(known.stories[0])["managed"] is True
    assert survey([bare], policy(), NOW, stored_of({"managed": "damaged"})).sums.managed == 0
