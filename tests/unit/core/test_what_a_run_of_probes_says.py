"""A run of probes proves by its passes, accuses by its failures, and else says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.clearing import Watch, needs_of, still_missing, with_probes
from konduktor_health.core.record import Record
from konduktor_health.model import ProbeResult, ProbeStatus
from konduktor_health.timestamps import NS
from konduktor_health.treatment import FOUND_BY, Asked, ClearRule, ProbeNeed, Treatment
from tests.support.builders import BOOT, NOW, policy
from tests.support.ledgers import record

GPU, OTHER_GPU = "0000:3b:00", "0000:86:00"
PASS, FAIL, WARN = ProbeStatus.PASS, ProbeStatus.FAIL, ProbeStatus.WARN
SKIP, TIMEOUT, ERROR = ProbeStatus.SKIP, ProbeStatus.TIMEOUT, ProbeStatus.ERROR
WATCH = Watch(BOOT, observed_from_ns=NOW, agent=True)


def light(
    at_s: float, *statuses: ProbeStatus, device: str = GPU, check: str = ""
) -> list[ProbeResult]:
    """One run of the light tier with a check of each of these outcomes."""
    return [
        ProbeResult(
            check or f"check-{number}",
            "light",
            status,
            NOW + int((at_s + number / 100) * NS),
            device,
            boot_id=BOOT,
            run_id=f"run-{at_s}",
        )
        for number, status in enumerate(statuses)
    ]


def count(results: list[ProbeResult], *needs: ProbeNeed, **fields: Any) -> int:
    """How long the row of passes of the first need is."""
    asked = needs or (ProbeNeed("light", 9),)
    seen = record(**({"last_ns": NOW} | fields))
    treatment = Treatment(clear=ClearRule(Asked.NOTHING, asked))
    found = with_probes(seen, treatment, results, WATCH)
    name = needs_of(seen, treatment)[0].name
    return {each.name: each.count for each in found.passes}.get(name, 0)


def test_a_run_whose_checks_all_passed_counts() -> None:
    assert count(light(1, PASS, PASS)) == 1


@pytest.mark.parametrize("status", [TIMEOUT, ERROR])
def test_what_was_not_measured_may_hide_the_failure_so_the_run_has_not_passed(
    status: ProbeStatus,
) -> None:
    assert count(light(1, PASS, status)) == 0


@pytest.mark.parametrize("status", [TIMEOUT, ERROR, WARN, SKIP])
def test_what_was_not_measured_accuses_nobody_and_breaks_no_row(status: ProbeStatus) -> None:
    runs = [*light(1, PASS), *light(2, status), *light(3, PASS)]
    assert count(runs) == 2


def test_a_failure_breaks_the_row_whatever_else_the_run_says() -> None:
    runs = [*light(1, PASS), *light(2, PASS, ERROR, FAIL), *light(3, PASS)]
    assert count(runs) == 1


def test_a_check_that_was_skipped_is_no_pass_and_keeps_no_other_from_passing() -> None:
    assert count(light(1, SKIP, SKIP)) == 0
    assert count(light(1, PASS, SKIP)) == 1


def test_a_warning_is_measured_and_is_no_pass_of_its_own_check() -> None:
    assert count(light(1, WARN)) == 0
    assert count(light(1, PASS, WARN)) == 1
    ping = light(1, WARN, check="ping")
    assert count(ping, ProbeNeed("ping", 9)) == 0
    assert count(light(1, PASS, WARN, check="ping"), ProbeNeed("ping", 9)) == 0


def test_passes_of_other_gpus_and_of_the_disk_prove_nothing_of_a_gpu_that_is_busy_or_gone() -> None:
    others = light(1, PASS, device=OTHER_GPU) + light(1, PASS, device="", check="disk")
    assert count(others) == 0
    assert count(others + light(1, SKIP, check="pcie-bandwidth")) == 0
    assert count(others + light(1, PASS, check="pcie-bandwidth")) == 1


@pytest.mark.parametrize("device", [GPU, ""])
def test_a_tier_in_which_no_gpu_was_measured_proves_nothing(device: str) -> None:
    """No driver, or no GPU that it knows: what is left are the disk and the network."""
    skipped = light(1, SKIP, device="", check="gpu-ecc")
    rest = [
        *light(1, PASS, device="", check="clock"),
        *light(1, PASS, device="/", check="disk"),
        *light(1, PASS, device="mlx5_0/1", check="infiniband"),
    ]
    assert count(skipped + rest, device=device) == 0
    assert count(light(1, PASS, device="", check="clock"), device=device) == 0
    assert count(skipped + rest + light(1, PASS), device=device) == 1


def test_a_check_that_looks_at_no_device_speaks_for_each() -> None:
    own = light(1, PASS, device="", check="fabric-manager")
    assert count(own, ProbeNeed("fabric-manager", 9)) == 1
    assert count(own, ProbeNeed("fabric-manager", 9), device="") == 1


NO_GPUS = [
    ("kernel/edac-uncorrected", "CPU_SrcID#0_Ha#0_Chan#2_DIMM#0"),
    ("kernel/mlx5-health-lost", "0000:d2:00"),
    ("kernel/disk-io-error", "sda"),
    ("sxid/12028", "0000:c3:00"),
]


@pytest.mark.parametrize(("fault_id", "device"), NO_GPUS)
def test_what_no_check_looks_at_is_proven_by_a_tier_that_finds_all_of_the_node_well(
    fault_id: str, device: str
) -> None:
    of = {"fault_id": fault_id, "device": device}
    well = light(1, PASS) + light(1, PASS, device="mlx5_0/1", check="infiniband")
    assert count(well, **of) == 1
    assert count(well + light(1, FAIL, device="mlx5_1/1", check="other"), **of) == 0
    assert count(well + light(1, ERROR, device=OTHER_GPU, check="other"), **of) == 0
    assert count(light(1, PASS, device="mlx5_0/1", check="infiniband"), **of) == 0


@pytest.mark.parametrize("fault_id", ["xid/79", "kernel/gpu-init-failed", "kernel/pcie-contained"])
def test_a_gpu_that_is_gone_is_proven_by_no_other(fault_id: str) -> None:
    assert count(light(1, PASS, device=OTHER_GPU), fault_id=fault_id) == 0


def test_a_port_is_proven_by_its_own_pass() -> None:
    port = {"fault_id": "probe/infiniband", "device": "mlx5_0/1"}
    own, need = light(1, PASS, device="mlx5_0/1", check="infiniband"), ProbeNeed(FOUND_BY, 9)
    assert count(own, need, **port) == 1
    assert count(light(1, PASS, device="mlx5_1/1", check="infiniband"), need, **port) == 0
    assert count(light(1, PASS) + light(1, SKIP, device="mlx5_0/1", check="x"), **port) == 0


def test_a_check_that_is_called_like_a_tier_is_no_pass_of_the_tier() -> None:
    named = [replace(each, tier="boot") for each in light(1, PASS, check="light")]
    assert count(named) == 0


def test_another_gpu_that_fails_is_no_failure_of_this_one() -> None:
    runs = [*light(1, PASS), *light(1, FAIL, device=OTHER_GPU, check="other")]
    assert count(runs) == 1


def test_a_record_of_the_node_itself_needs_each_device_to_be_well() -> None:
    both = light(1, PASS) + light(1, PASS, device=OTHER_GPU, check="other")
    assert count(both, device="") == 1
    one = light(1, PASS) + light(1, FAIL, device=OTHER_GPU, check="other")
    assert count(one, device="") == 0


def test_the_check_that_found_a_fault_clears_it_and_no_other_does() -> None:
    need = ProbeNeed(FOUND_BY, 3)
    own = [each for n in (1, 2, 3) for each in light(n, PASS, check="pcie-link")]
    others = [each for n in (1, 2, 3) for each in light(n, PASS, check="ping")]
    assert count(own, need, fault_id="probe/pcie-link") == 3
    assert count(others, need, fault_id="probe/pcie-link") == 0


def test_what_no_check_has_found_no_check_clears() -> None:
    rule = Treatment(clear=ClearRule(Asked.NOTHING, (ProbeNeed(FOUND_BY),), 0.0))
    seen = with_probes(record(last_ns=NOW), rule, light(1, PASS), WATCH)
    assert still_missing(seen, rule, WATCH, policy(), NOW + 9 * NS).missing == ("probe:found-by",)


RUNS = st.lists(st.lists(st.sampled_from(ProbeStatus), min_size=1, max_size=4), max_size=8)


@given(RUNS)
def test_a_row_grows_only_by_runs_that_are_measured_and_passed(
    runs: list[list[ProbeStatus]],
) -> None:
    results = [each for n, run in enumerate(runs, 1) for each in light(n, *run)]
    row = 0
    for run in runs:
        if FAIL in run:
            row = 0
        elif PASS in run and not {ERROR, TIMEOUT} & set(run):
            row += 1
    assert count(results) == row


@given(RUNS)
def test_a_record_without_a_pass_is_never_proven(runs: list[list[ProbeStatus]]) -> None:
    results = [
        each
        for n, run in enumerate(runs, 1)
        for each in light(n, *(status for status in run if status is not PASS))
    ]
    seen: Record = record(last_ns=NOW)
    rule = Treatment(clear=ClearRule(Asked.NOTHING, (ProbeNeed("light"),), 0.0))
    found = with_probes(seen, rule, results, WATCH)
    assert "probe:light" in still_missing(found, rule, WATCH, policy(), NOW + 99 * NS).missing
