"""Which slips in an operator's command are told, and how is a time said? Without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from konduktor_health.cli.app import app
from konduktor_health.cli.chosen import wanted
from konduktor_health.cli.times import MOST_S, moment, seconds
from konduktor_health.core.overdrawn import overdrawn
from konduktor_health.errors import ConfigError
from konduktor_health.model import NodeView, Pool
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import NS, rfc3339
from tests.support.builders import NOW, OUR_TAINT, node, policy


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("hold gpu-a", "say how long: --until"),
        ("hold gpu-a --until soon", "--until: neither a time nor a duration: 'soon'"),
        ("hold gpu-a --until 2020-01-02T03:04:05Z", "--until: that is over: 2020-"),
        ("hold gpu-a --until 2030-01-02T03:04:05", "--until: neither a time nor a duration"),
        ("hold gpu-a --until 9998-01-02T03:04:05Z", "--until: too far away: 9998-"),
        ("hold gpu-a --until 9999d", "--until: too long: 9999d"),
        ("hold gpu-a --until 0s", "--until: that is over at once: 0s"),
        ("maintenance start gpu-a --for 0m", "--for: that is over at once: 0m"),
        ("hold --until 1h", "name the nodes, or give a --selector"),
        ("release", "name the nodes, or give a --selector"),
        ("release gpu-a -l rack=r1", "name the nodes, or give a --selector"),
        ("release -l ,", "--selector: not a label selector at ','"),
        ("release -l a=b=c", "--selector: not a label selector at"),
        ("taint gpu-a", "say why: --reason"),
        ("taint gpu-a --reason \x1b", "say why: --reason"),
        ("maintenance start gpu-a --for 1h --until 2h", "--for or --until, not both"),
        ("maintenance start gpu-a --for 2030-01-02T03:04:05Z", "--for: not a duration: '2030"),
    ],
)
def test_a_slip_is_told_with_a_hint_before_anything_is_read(arguments: str, error: str) -> None:
    # no kubeconfig is there: whatever asked for the cluster first would end otherwise
    result: Any = CliRunner(env={"KUBECONFIG": ""}).invoke(app, arguments.split())
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(error)
    assert result.exception.hint
    assert result.exception.exit_code == 2


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_selector_does_not_take_every_node(text: str) -> None:
    with pytest.raises(ConfigError, match="an empty one takes every node"):
        wanted(None, text, "hold")


def test_a_name_given_twice_is_one_node() -> None:
    assert wanted(["b", "a", "b"], None, "hold").names == ("b", "a")


def test_a_moment_is_a_time_or_a_duration_from_now() -> None:
    assert moment(" 90s ", "--until", NOW) == NOW + 90 * NS
    assert moment("2d", "--until", NOW) == NOW + 172_800 * NS
    assert moment("2027-01-15T10:00:00+01:00", "--until", NOW) == NOW + 3600 * NS
    assert seconds("15m", "--since") == 900


@given(st.text(max_size=60))
def test_whatever_is_said_is_a_time_to_come_or_a_clear_error(text: str) -> None:
    said = ""
    try:
        told = moment(text, "--until", NOW)
    except ConfigError as error:
        told, said = NOW, f"{error} ({error.hint})"
    assert NOW <= told <= NOW + MOST_S * NS
    assert said.isprintable()
    assert len(said) < 300


@given(st.integers(1, MOST_S - 1))
def test_a_time_as_it_is_printed_is_read(later_s: int) -> None:
    assert moment(rfc3339(NOW + later_s * NS), "--until", NOW) == NOW + later_s * NS


# ---------------------------------------------------------------- the budget that is not asked


def rack(count: int, name: str = "a", **fields: Any) -> list[NodeView]:
    return [node(f"{name}-{n}", labels=(("rack", name),), **fields) for n in range(count)]


def test_a_budget_that_is_exceeded_is_told_and_one_that_is_not_is_not() -> None:
    views = [*rack(20), *rack(1, "tainted", taints=(OUR_TAINT,))]
    assert overdrawn(views, {"a-0", "a-1"}, policy(), NOW) == ()  # 3 of 21 are
    assert overdrawn(views, {"tainted-0"}, policy(), NOW) == ()
    (told,) = overdrawn(views, {"a-0", "a-1", "a-2"}, policy(), NOW)
    assert told.startswith("budget exceeded in pool default: 4 nodes are then tainted, 3 may be;")
    assert overdrawn(views, {"a-0", "a-1", "a-2"}, policy(budget_enabled=False), NOW) == ()


def test_each_pool_of_the_nodes_has_a_budget_of_its_own() -> None:
    pools = (Pool("racks", label="rack"), Pool("rest", parse_selector("!rack")))
    views = [*rack(10), *rack(10, "b"), *rack(2, "spent", taints=(OUR_TAINT,))]
    limits = policy(pools=pools)
    assert overdrawn(views, {"a-0", "b-0"}, limits, NOW) == ()
    (told,) = overdrawn(views, {"a-0", "b-0", "b-1"}, limits, NOW)
    assert told.startswith("budget exceeded in pool racks/b: 2 nodes are then tainted, 1 may be")


def test_nodes_that_are_away_count_and_the_pools_of_a_label_have_a_bound_in_common() -> None:
    pools = (Pool("racks", label="rack", max_nodes=1, count_unready=True),)
    views = [*rack(10), *rack(9, "b"), *rack(1, "c", ready=False)]
    (away,) = overdrawn(views, {"a-0"}, policy(pools=pools), NOW)
    assert away.startswith("budget exceeded in all pools of racks together: 2 nodes are then taken")
    both = (Pool("racks", label="rack", count_unready=True),)
    views = [*rack(9), node("away", labels=(("rack", "a"),), ready=False)]
    (told,) = overdrawn(views, {"a-0"}, policy(pools=both), NOW)
    assert "2 nodes are then tainted or unavailable (1), 1 may be" in told


def test_a_node_that_is_not_managed_counts_once_it_is_tainted() -> None:
    spare = node("cpu", gpu_capacity=0, selected=False)
    assert overdrawn([spare, node()], {"cpu"}, policy(), NOW) == ()
    (told,) = overdrawn([spare, node(taints=(OUR_TAINT,))], {"cpu"}, policy(), NOW)
    assert "2 nodes are then tainted, 1 may be" in told
