"""The texts of Autopilot's checks. Each file in ``golden`` was written from a section of what is
known of Autopilot 2.1, which its name begins with, and none by the code that it tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.autopilot.names import CHECKS, PERIODIC, asked, ours
from probes.autopilot.texts import Told, banner, text_of
from probes.autopilot.verdicts import Verdict, verdict_of
from probes.registry import CHECKS as OURS
from probes.report import Limit, Measured, OutcomeName, Result

GOLDEN = Path(__file__).parent / "golden"
NODE = "gpu-1"
ONE, TWO = "0000:3b:00", "0000:5e:00"
NEVER = Told(why_none="it was never measured in this boot")


def got(outcome: OutcomeName, device: str = "", message: str = "", **more: Any) -> Result:
    return Result(
        check="any", tier="light", outcome=outcome, device=device, message=message, ended_ns=1,
        **more,
    )  # fmt: skip


def speed(outcome: OutcomeName, device: str, value: float) -> Result:
    limit = Limit(value=48, bound="at_least", source="PCIe 5 x16")
    return got(
        outcome, device, f"h2d {value:g} GB/s",
        measurements=(Measured(name="h2d", value=value, unit="GB/s", threshold=limit),),
    )  # fmt: skip


def rates(outcome: OutcomeName, device: str, daxpy: float, dgemm: float, text: str = "") -> Result:
    return got(
        outcome, device, text,
        measurements=(Measured(name="daxpy", value=daxpy), Measured(name="dgemm", value=dgemm)),
    )  # fmt: skip


def pinged(outcome: OutcomeName, interface: str, *peers: str) -> Result:
    detail = {f"peer.{number}": peer for number, peer in enumerate(peers, 1)}
    return got(outcome, interface, "", detail=detail)


BUSY = got("skip", ONE, "the GPU is busy", busy=True)
TEXTS: Mapping[str, tuple[Result, ...] | Told] = {
    "2.4-pciebw-success": (speed("pass", TWO, 54.9), speed("pass", ONE, 55.2)),
    "2.4-pciebw-low": (speed("pass", ONE, 55.2), speed("fail", TWO, 3.3)),
    "2.4-pciebw-low-and-one-busy": (BUSY, speed("fail", TWO, 3.3)),
    "2.4-pciebw-abort": (BUSY, speed("pass", TWO, 54.9)),
    "2.4-pciebw-timeout": (got("timeout", "", "did not end within 300 s"),),
    "2.4-remapped-success": (got("pass", ONE), got("pass", TWO)),
    "2.4-remapped-fail": (got("fail", ONE, "a remapping waits for a reset"), got("pass", TWO)),
    "2.4-remapped-abort": (got("error", ONE, "the driver does not answer"), got("pass", TWO)),
    "2.4-gpupower-success": (got("pass", ONE), got("pass", TWO)),
    "2.4-gpupower-fail": (got("pass", ONE), got("fail", TWO, "power brake lasts")),
    "2.4-gpupower-abort": (got("skip", "", "no GPU that the driver knows"),),
    "2.4-gpumem-success": (rates("pass", ONE, 2900, 60.5),),
    "2.5-gpumem-fail": (
        rates("pass", ONE, 2900, 60.5), rates("fail", TWO, 900, 12, "dgemm too slow"),
    ),
    "2.4-gpumem-abort": NEVER,
    "2.4-dcgm-success": (got("pass", ONE), got("pass", TWO)),
    "2.4-dcgm-fail": (got("pass", ONE), got("fail", TWO, "pcie: replays")),
    "2.4-dcgm-busy": (got("pass", ONE), got("skip", TWO, "the GPU is busy", busy=True)),
    "2.4-dcgm-error": (got("error", "", "the host engine does not answer"),),
    "2.4-ping-success": (
        pinged(
            "pass", "eth0", "gpu-2 10.0.0.7 loss=0 rtt_ms=0.2", "gpu-3 10.0.0.8 loss=0",
            "gpu-3 fd00::8 loss=5 rtt_ms=0.3",
        ),
        pinged("pass", "net1-0", "gpu-2 10.1.0.7 loss=0 rtt_ms=0.2"),
    ),
    "2.4-ping-fail": (
        pinged("pass", "eth0", "gpu-2 10.0.0.7 loss=0 rtt_ms=0.2", "gpu-3 10.0.0.8 loss=100"),
    ),
    "2.4-ping-none": NEVER,
    "2.4-ping-one-not-measured": (
        pinged("pass", "eth0", "gpu-2 10.0.0.7 loss=0", "gpu-3 10.0.0.8 error"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_autopilots(name: str) -> None:
    results = TEXTS[name]
    told = results if isinstance(results, Told) else Told(results)
    assert text_of(name.split("-")[1], told, NODE) == (GOLDEN / f"{name}.txt").read_text()


def test_each_golden_file_is_tested() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(TEXTS)


@pytest.mark.parametrize(
    ("check", "line"),
    [
        ("remapped", "Requesting Remapped Rows check on all GPUs"),
        ("dcgm", "DCGM test"),
        ("gpumem", "GPU Memory DGEMM+DAXPY test"),
        ("gpupower", "GPU Power Measurement test"),
        ("ping", "Ping test"),
        ("pvc", "PVC create-delete test"),
    ],
)
def test_each_path_begins_with_its_banner(check: str, line: str) -> None:
    assert banner(check, Told()) == f"{line}\n"


def test_the_banner_of_pcie_tells_the_least_that_is_asked_for() -> None:
    told = Told((speed("pass", ONE, 55.0),))
    assert banner("pciebw", told) == "Requesting pcie test with bw: 48\n"
    assert banner("pciebw", Told()) == "Requesting pcie test with bw: unknown\n"


def test_a_check_that_autopilot_does_not_have_is_named() -> None:
    assert text_of("nothing", Told(), NODE) == "check not supported: nothing\n"


def test_results_of_before_say_when_they_were_measured() -> None:
    told = Told((got("pass", ONE),), note="measured at 2027-01-15T08:00:00Z, 120 s ago")
    lines = text_of("remapped", told, NODE).splitlines()
    assert "measured at 2027-01-15T08:00:00Z, 120 s ago" in lines
    assert lines[-1] == "0"


def test_what_a_fake_backend_says_proves_nothing() -> None:
    for check in ("pciebw", "remapped", "dcgm", "gpupower", "gpumem"):
        for outcome in ("pass", "fail"):
            text = text_of(check, Told((got(outcome, ONE, fake=True),)), NODE)
            assert "ABORT" in text
            assert "SUCCESS" not in text
            assert "Check successful" not in text


OUTCOMES = st.sampled_from(["pass", "fail", "warn", "skip", "timeout", "error"])
HOSTILE = st.text(max_size=60) | st.sampled_from(
    ["[[ DCGM ]] SUCCESS", "a\n[[ PCIEBW ]] FAIL", "ABORT", "x\r\nSUCCESS\r\n", "ERR"]
)
RESULTS = st.lists(
    st.builds(
        lambda outcome, device, message, peer: got(
            outcome, device, message, detail={"peer.1": peer}, measurements=()
        ),
        OUTCOMES,
        st.sampled_from(["", ONE, TWO, "eth0"]),
        HOSTILE,
        HOSTILE | st.just("gpu-2 10.0.0.7 loss=0"),
    ),
    max_size=5,
)


@given(st.sampled_from(CHECKS), RESULTS, HOSTILE)
def test_the_verdict_is_never_better_than_the_results(
    check: str, results: list[Result], note: str
) -> None:
    text = text_of(check, Told(results, note=note), NODE)
    good = any(word in text for word in ("SUCCESS", "Check successful", ". success"))
    verdicts = text.count("FAIL") + text.count("ABORT") + good
    assert verdicts == 1, text
    if good:
        assert results
        assert {each.outcome for each in results} <= {"pass", "warn"}
    if any(each.outcome == "fail" for each in results) and check not in ("pvc", "iperf"):
        assert "FAIL" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_a_check_without_results_could_not_be_run() -> None:
    assert verdict_of(()) is Verdict.ABORT
    for check in CHECKS:
        assert "ABORT" in text_of(check, Told(), NODE)


def test_each_of_theirs_has_one_of_ours() -> None:
    known = {check.spec.name for check in OURS} | {"ping"}
    answered = {ours(check, level) for check in CHECKS for level in "1234"} - {None}
    assert answered <= known
    assert {check for check in CHECKS if ours(check) is None} == {"iperf", "pvc"}
    assert ours("dcgm", "5") is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", PERIODIC),
        ("", PERIODIC),
        ("pciebw,all", PERIODIC),
        ("iperf,pciebw", ("iperf", "pciebw")),
        ("pciebw, dcgm,,pciebw", ("pciebw", "dcgm")),
        ("nothing", ("nothing",)),
    ],
)
def test_the_checks_that_are_asked_for(text: str, names: tuple[str, ...]) -> None:
    assert asked(text) == names
