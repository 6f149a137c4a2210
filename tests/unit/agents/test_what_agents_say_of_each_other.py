"""Agents' own pings make a pair suspected: at addresses that are those of pods, and lately."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from konduktor_health.adapters.probes.nccl_results import nccl_outcome
from konduktor_health.adapters.probes.pair_hearsay import suspected
from konduktor_health.core.pair_tests import PairOutcome, PairTest
from konduktor_health.timestamps import NS
from probes.report import Measured, Result, Run
from tests.support.agents import result, run
from tests.support.builders import NOW
from tests.support.rounds import pod_of

PODS = {
    "b": pod_of("b", 1, created_ns=NOW - 7200 * NS),
    "c": pod_of("c", 2, created_ns=NOW - 7200 * NS),
}
B, C = (PODS[name].interfaces[0][1][0] for name in ("b", "c"))


def ping(*peers: str, device: str = "eth0", **fields: Any) -> Result:
    limit = {"value": 5.0, "bound": "at_most", "source": "x"}
    worst = {"name": "loss_worst", "value": 100.0, "unit": "%", "threshold": limit}
    detail = {f"peer.{number}": each for number, each in enumerate(peers, 1)}
    measured = (Measured.model_validate(worst),)
    values = {"device": device, "detail": detail, "measurements": measured}
    return result("ping", "warn", **(values | fields))


def heard(*runs: Run, **changes: Any) -> list[tuple[str, str, str]]:
    pods = PODS | changes
    return list(suspected("a", runs, pods.get, NOW))


def test_a_peer_that_does_not_answer_and_one_that_loses_much_are_suspected() -> None:
    lately = run("hourly-1", ping(f"b {B} loss=100", f"c {C} loss=12 rtt_ms=0.3"))
    assert heard(lately) == [("a", "b", "eth0"), ("a", "c", "eth0")]


@pytest.mark.parametrize(
    "peer",
    [f"b {B} loss=0 rtt_ms=0.2", f"b {B} loss=5", f"b {B} error", f"b {C} loss=100", "b loss=100",
     f"gone {B} loss=100", f"a {B} loss=100", f"b {B} loss=101", f"b {B} loss=-", ""],
)  # fmt: skip
def test_what_is_well_not_measured_or_of_nobody_is_not(peer: str) -> None:
    assert heard(run("hourly-1", ping(peer))) == []


def test_an_address_that_the_pod_has_only_just_got_says_nothing() -> None:
    lately = run("hourly-1", ping(f"b {B} loss=100"))
    young = replace(PODS["b"], created_ns=lately.began_ns - 5 * NS)
    assert heard(lately, b=young) == []
    assert heard(lately, b=replace(PODS["b"], interfaces=(("eth0", ("10.0.9.9",)),))) == []
    assert heard(run("x", ping(f"b {B} loss=100", device="net1"))) == []


def test_what_was_measured_long_ago_or_was_asked_for_by_us_is_not_news() -> None:
    old = ping(f"b {B} loss=100", ended_ns=NOW - 1000 * NS)
    assert heard(run("hourly-1", old)) == []
    assert heard(run("pair-1", ping(f"b {B} loss=100"))) == []
    assert heard(run("hourly-1", ping(f"b {B} loss=100", fake=True))) == []


@given(st.text(max_size=80), st.sampled_from(["ping", "disk"]))
def test_whatever_a_node_says_nothing_breaks(peer: str, check: str) -> None:
    one = result(check, "warn", device="eth0", detail={"peer.1": peer})
    for client, server, interface in heard(run("hourly-1", one)):
        assert (client, interface) == ("a", "eth0")
        assert server in PODS


# ---------------------------------------------------------------- NCCL


def all_reduce(outcome: str, wrong: float = 0.0, peer: str = "10.0.0.7") -> Result:
    measured = (
        Measured(name="busbw", value=180.0, unit="GB/s"),
        Measured(name="wrong", value=wrong, unit="count"),
    )
    return result(
        "nccl-pair", outcome, device="", measurements=measured, detail={"peer": peer},
        message="all-reduce of 16 GPUs",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (all_reduce("pass"), PairOutcome.OK),
        (all_reduce("warn"), PairOutcome.SLOW),
        (all_reduce("warn", wrong=3), PairOutcome.FAILED),
        (all_reduce("error"), PairOutcome.NOT_MEASURED),
        (all_reduce("skip"), PairOutcome.NOT_MEASURED),
        (all_reduce("pass", peer="10.0.0.9"), PairOutcome.NOT_MEASURED),
        (result("nccl-node", "pass"), PairOutcome.NOT_MEASURED),
    ],
)
def test_an_all_reduce_says_something_of_the_pair_it_was_of(
    said: Result, outcome: PairOutcome
) -> None:
    test = PairTest("a", "b", ("nccl",))
    assert nccl_outcome(test, "nccl", "10.0.0.7", [said]).outcome is outcome
    assert nccl_outcome(test, "nccl", "", [said]).outcome is PairOutcome.NOT_MEASURED
