"""What DCGM's levels came to, out of an agent's runs."""

from __future__ import annotations

from typing import Any

import pytest

from konduktor_health.adapters.probes.diagnoses import diagnoses_of
from konduktor_health.model import Diagnosis
from probes.report import Result, Run
from tests.support.agents import result, run

ONE, TWO = "0000:3b:00", "0000:5e:00"


def dcgm(level: int, outcome: str, device: str = ONE, **fields: Any) -> Result:
    return result(f"dcgm-{level}", outcome, device=device, ended_ns=fields.pop("at", 7), **fields)


def ran(*results: Result, cadence: str = "hourly") -> Run:
    return run("r", *results, cadence=cadence, began_ns=1)


def failed(tests: str, gpus: str, device: str = ONE) -> Result:
    return dcgm(3, "fail", device, detail={"failed": tests, "dcgm_gpus": gpus})


def test_each_level_is_told_by_its_newest_run() -> None:
    runs = [ran(dcgm(1, "fail"), dcgm(3, "pass")), ran(dcgm(1, "pass", at=9))]
    assert diagnoses_of(runs, accept_fake=False) == (
        Diagnosis(1, passed=True, time_ns=9),
        Diagnosis(3, passed=True, time_ns=7),
    )


def test_tests_that_failed_are_told_with_their_gpus() -> None:
    [found] = diagnoses_of(
        [
            ran(
                failed("pcie,memory", "3"),
                failed("memory", "0", TWO),
                dcgm(3, "fail", "", detail={"failed": "software"}),
            )
        ],
        accept_fake=False,
    )
    assert found == Diagnosis(
        3, passed=False, time_ns=7, failed="memory.0.3,pcie.3,software.NoGPUid"
    )


@pytest.mark.parametrize("outcome", ["skip", "error", "timeout"])
def test_what_was_not_measured_to_its_end_says_nothing(outcome: str) -> None:
    before = (Diagnosis(3, passed=False, time_ns=1),)
    part = [ran(dcgm(3, "pass"), dcgm(3, outcome, TWO))]
    assert diagnoses_of(part, before, accept_fake=False) == before
    [bad] = diagnoses_of([ran(dcgm(3, "fail"), dcgm(3, outcome, TWO))], accept_fake=False)
    assert not bad.passed


def test_a_fake_backend_says_nothing() -> None:
    runs = [ran(dcgm(1, "pass", fake=True))]
    assert diagnoses_of(runs, accept_fake=False) == ()
    assert diagnoses_of(runs, accept_fake=True) != ()


def test_what_an_agent_makes_up_becomes_no_annotation() -> None:
    hostile = "x" * 65, "A", "a\nb", "a b", '{"', "pcie"
    [found] = diagnoses_of([ran(failed(",".join(hostile), "0,-1,x,99999"))], accept_fake=False)
    assert found.failed == "pcie.0"
    many = [failed(",".join(f"t{n}_{m}" for m in range(60)), "1") for n in range(40)]
    [found] = diagnoses_of([ran(*many)], accept_fake=False)
    assert 0 < len(found.failed) <= 1000


def test_other_checks_and_levels_are_none() -> None:
    runs = [ran(dcgm(5, "fail"), result("gpu-count", "fail"), result("dcgm-1x", "fail"))]
    assert diagnoses_of(runs, accept_fake=False) == ()
