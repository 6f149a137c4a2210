from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
)
from probes.report import Result
from probes.runner import findings
from probes.runner.results import MOST_RESULTS, Stamp, bounded

SPEC = CheckSpec("pcie-bandwidth", "?", Tier.LIGHT, Cadence.HOURLY, 30.0)
STAMP = Stamp(SPEC, "nvml", False, 10, 1.5)


def result(outcome: str) -> Result:
    return STAMP.of(outcome, "x")


@given(
    st.sampled_from(Outcome),
    st.text(),
    st.text(max_size=70),
    st.lists(
        st.builds(
            Measurement,
            st.text(max_size=200),
            st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=3),
            st.text(max_size=200),
            st.none()
            | st.builds(Threshold, st.floats(), st.sampled_from(Bound), st.text(max_size=200)),
        ),
        max_size=3,
    ),
    st.dictionaries(st.text(), st.text(), max_size=20),
)
def test_whatever_a_check_yields_is_told_as_it_is_or_as_an_error(
    outcome: Outcome,
    message: str,
    device: str,
    measurements: list[Measurement],
    detail: dict[str, str],
) -> None:
    finding = Finding(outcome, message, device, tuple(measurements), detail=detail)
    told = STAMP.result(findings.told(finding))

    assert told.outcome in (outcome.value, "error")
    assert told.message.isprintable()
    if told.outcome == "pass":
        for each in measurements:
            assert each.threshold is None or not findings.beyond(each.value, each.threshold)
        assert len(told.measurements) == len(measurements)


@pytest.mark.parametrize(
    ("bound", "value", "bad"),
    [
        (Bound.AT_LEAST, 50.0, False),
        (Bound.AT_LEAST, 49.9, True),
        (Bound.AT_MOST, 50.0, False),
        (Bound.AT_MOST, 50.1, True),
        (Bound.EQUAL, 50.0, False),
        (Bound.EQUAL, 16.0, True),
    ],
)
def test_a_value_is_beyond_its_threshold_on_the_bad_side(
    bound: Bound, value: float, bad: bool
) -> None:
    assert findings.beyond(value, Threshold(50.0, bound, "a table")) is bad


@pytest.mark.parametrize(
    "finding",
    [
        {},
        {"outcome": "good"},
        {"outcome": "pass", "message": 7},
        {"outcome": "pass", "device": "a b"},
        {"outcome": "pass", "measurements": [{"name": "x"}]},
        {"outcome": "pass", "measurements": 7},
        {"outcome": "fail", "severity": "terrible"},
        {"outcome": "pass", "detail": {"a": 1}},
    ],
)
def test_what_does_not_fit_the_wire_is_an_error(finding: dict[str, object]) -> None:
    assert STAMP.result(finding).outcome == "error"


def test_a_finding_does_not_say_which_check_it_is_of_or_that_it_is_not_fake() -> None:
    fake = Stamp(SPEC, "fake", True, 10, 1.5)
    told = fake.result(
        {"outcome": "pass", "check": "other", "tier": "boot", "fake": False, "backend": "nvml"}
    )

    assert (told.check, told.tier, told.fake, told.backend) == (
        "pcie-bandwidth",
        "light",
        True,
        "fake",
    )


def test_of_too_many_results_no_failure_is_lost_and_the_order_stays() -> None:
    many = [result("pass") for _ in range(MOST_RESULTS)]
    many[5:5] = [result("fail"), result("timeout")]
    many += [result("error"), result("fail")]
    kept = bounded(many)

    assert len(kept) == MOST_RESULTS
    outcomes = [each.outcome for each in kept]
    assert outcomes[5:7] == ["fail", "timeout"]
    assert outcomes[-2:] == ["error", "fail"]
    assert bounded(many[:3]) == tuple(many[:3])
