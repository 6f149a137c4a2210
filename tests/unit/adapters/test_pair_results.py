"""What agents report of a pair, whatever it is, becomes an outcome, and never a better one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.pair_results import (
    Rate,
    both,
    ping_outcome,
    rate_outcome,
    rates,
    usual,
)
from konduktor_health.core.pair_tests import PairOutcome, PairResult, PairTest
from probes.report import Limit, Measured, Result

TEST = PairTest("a", "b", ("eth0",))
LIMIT = Limit(value=5.0, bound="at_most", source="test")


def result(check: str, **changes: Any) -> Result:
    given_: dict[str, Any] = {
        "check": check, "tier": "light", "outcome": "pass", "device": "eth0", "ended_ns": 1,
    }  # fmt: skip
    return Result.model_validate(given_ | changes)


def pinged(**peers: str) -> Result:
    loss = Measured(name="loss_worst", value=0, unit="%", threshold=LIMIT)
    detail = {name.replace("_", "."): told for name, told in peers.items()}
    return result("ping", measurements=(loss,), detail=detail)


def iperf3(said: str, *gbps: float, **changes: Any) -> Result:
    names = ("send", "receive")
    measured = [Measured(name=n, value=v, unit="Gb/s") for n, v in zip(names, gbps, strict=False)]
    detail = {"peer": "b", "address": "10.0.0.2", "result": said}
    return result("iperf3-client", measurements=measured, detail=detail, **changes)


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ("b 10.0.0.2 loss=0 rtt_ms=0.3", PairOutcome.OK),
        ("b 10.0.0.2 loss=5 rtt_ms=0.3", PairOutcome.OK),
        ("b 10.0.0.2 loss=6.6 rtt_ms=0.3", PairOutcome.LOSSY),
        ("b 10.0.0.2 loss=100", PairOutcome.FAILED),
        ("b 10.0.0.2 error", PairOutcome.NOT_MEASURED),
        ("b 10.0.0.2 loss=101", PairOutcome.NOT_MEASURED),
        ("b 10.0.0.2 loss=1.2.3", PairOutcome.NOT_MEASURED),
        ("b 10.0.0.2 loss=nan", PairOutcome.NOT_MEASURED),
        ("c 10.0.0.3 loss=100", PairOutcome.NOT_MEASURED),
        ("", PairOutcome.NOT_MEASURED),
    ],
)
def test_a_ping_is_judged_by_the_limit_beside_it(told: str, outcome: PairOutcome) -> None:
    assert ping_outcome(TEST, "eth0", [pinged(peer_1=told)]).outcome is outcome


def test_the_worst_address_of_a_peer_counts() -> None:
    good, dead = "b 10.0.0.2 loss=0", "b fd00::2 loss=100"
    found = ping_outcome(TEST, "eth0", [pinged(peer_1=good, peer_2=dead)])
    assert (found.outcome, found.text) == (PairOutcome.FAILED, "loss 100 %")
    found = ping_outcome(TEST, "eth0", [pinged(peer_1=good, peer_2="b fd00::2 error")])
    assert found.outcome is PairOutcome.NOT_MEASURED


def test_another_interface_and_another_check_say_nothing() -> None:
    dead = pinged(peer_1="b 10.0.0.2 loss=100")
    assert ping_outcome(TEST, "net1", [dead]).outcome is PairOutcome.NOT_MEASURED
    assert ping_outcome(TEST, "eth0", []).outcome is PairOutcome.NOT_MEASURED


def test_the_slower_direction_is_the_rate() -> None:
    assert rates(TEST, "eth0", [iperf3("ok", 9.0, 0.1)]) == Rate("a", "b", "eth0", 0.1)
    assert rates(TEST, "eth0", [iperf3("refused", 9.0, 9.0)]) is None
    assert rates(TEST, "eth0", [iperf3("ok")]) is None


def test_a_rate_far_below_the_others_is_slow() -> None:
    expected = usual(Rate(f"n{i}", f"m{i}", "eth0", 10.0 + i) for i in range(5))
    assert expected == {"eth0": 12.0}
    outcomes = [
        rate_outcome(TEST, "eth0", [iperf3("ok", gbps, 20.0)], expected).outcome
        for gbps in (11.0, 6.1, 5.9)
    ]
    assert outcomes == [PairOutcome.OK, PairOutcome.OK, PairOutcome.SLOW]


def test_three_pairs_make_no_median() -> None:
    assert usual(Rate(f"n{i}", f"m{i}", "eth0", 10.0) for i in range(3)) == {}


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("ok", PairOutcome.OK),
        ("slow", PairOutcome.SLOW),
        ("unreachable", PairOutcome.FAILED),
        ("refused", PairOutcome.NOT_MEASURED),
        ("busy", PairOutcome.NOT_MEASURED),
        ("error", PairOutcome.NOT_MEASURED),
        ("whatever", PairOutcome.NOT_MEASURED),
    ],
)
def test_what_iperf3_said(said: str, outcome: PairOutcome) -> None:
    assert rate_outcome(TEST, "eth0", [iperf3(said, 10.0, 10.0)], {}).outcome is outcome


def test_the_worse_of_both_counts_and_one_is_enough() -> None:
    def of(outcome: PairOutcome) -> PairResult:
        return PairResult("a", "b", "eth0", outcome)

    ok, slow, lossy = of(PairOutcome.OK), of(PairOutcome.SLOW), of(PairOutcome.LOSSY)
    nothing = of(PairOutcome.NOT_MEASURED)
    assert both(ok, slow) is slow
    assert both(lossy, slow) is lossy
    assert both(ok, nothing) is ok
    assert both(nothing, slow) is slow


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_an_outcome_and_its_text_is_printable(told: str, name: str) -> None:
    reported = result("ping", detail={"peer.1": told, name[:128]: told})
    found = ping_outcome(TEST, "eth0", [reported])
    assert found.text.isprintable()
