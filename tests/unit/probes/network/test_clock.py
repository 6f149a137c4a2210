from __future__ import annotations

import pytest

from probes.check import Finding, Outcome, ToolOutput
from probes.checks.clock import Clock
from probes.errors import CheckError, Skipped
from probes.tools.chrony import parse_tracking
from probes.tools.kernel_clock import KernelClock, kernel_clock
from tests.support.gpus import Clock as SinceBoot
from tests.support.network_checks import again, context, run, said, text
from tests.support.tool_output import Answer

GOOD, BAD = KernelClock(True, 0.002), KernelClock(False, 16.0)


def clock(answer: Answer | None = None, kernel: KernelClock = GOOD, **options: str) -> Finding:
    answers = {"chronyc": [answer]} if answer is not None else {}
    (finding,) = run(Clock(lambda: kernel), context(answers, options=options))
    return finding


def test_chronyd_knows_the_offset() -> None:
    tracking = parse_tracking(said("chronyc/tracking-normal.txt"))
    assert (tracking.synchronised, tracking.offset_s) == (True, -0.000006523)
    assert tracking.most_error_s == pytest.approx(0.000006523 + 0.001100737 + 0.013639022 / 2)
    assert parse_tracking(said("chronyc/tracking-off.txt")).offset_s == 2.75


def test_a_clock_that_is_right_passes() -> None:
    finding = clock(said("chronyc/tracking-normal.txt"))
    assert (finding.outcome, finding.detail["by"]) == (Outcome.PASS, "chronyd")
    assert {each.unit for each in finding.measurements} == {"s"}


def test_a_clock_that_stays_off_fails() -> None:
    since_boot = SinceBoot()
    check = Clock(lambda: GOOD, since_boot)
    before: dict[str, object] = {}
    outcomes = []
    for name in ("off", "off", "off", "normal", "off"):
        its = context({"chronyc": [said(f"chronyc/tracking-{name}.txt")]}, before=before)
        outcomes += [each.outcome.value for each in run(check, its)]
        before = again(its)
        since_boot.now_s += 150
    assert outcomes == ["warn", "warn", "fail", "pass", "warn"]


def test_an_offset_may_be_allowed() -> None:
    finding = clock(said("chronyc/tracking-off.txt"), offset="3")
    assert "for 0 s" not in finding.message
    assert finding.outcome is Outcome.WARN  # by its possible error


def test_an_unsynchronised_clock_warns() -> None:
    assert clock(said("chronyc/tracking-not-synchronised.txt")).outcome is Outcome.WARN


@pytest.mark.parametrize(
    ("kernel", "outcome"),
    [(GOOD, "pass"), (BAD, "warn"), (KernelClock(True, 0.6), "warn")],
)
@pytest.mark.parametrize(
    "answer", [None, ToolOutput(1, "506 Cannot talk to daemon\n", "")], ids=["none", "no daemon"]
)
def test_without_chronyd_the_kernel_is_asked_and_accuses_nobody(
    answer: Answer | None, kernel: KernelClock, outcome: str
) -> None:
    finding = clock(answer, kernel)
    assert (finding.outcome.value, finding.detail["by"]) == (outcome, "kernel")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seconds slow of NTP time", "seconds of NTP time"),
        ("0.000006523", "fast"),
        ("Leap status     : Normal", "Leap status     : Fine"),
        ("Root delay", "Root"),
        ("Leap status     : Normal\n", ""),
    ],
)
def test_what_is_not_understood_is_an_error(old: str, new: str) -> None:
    output = text("chronyc/tracking-normal.txt")
    assert old in output
    with pytest.raises(CheckError):
        clock(ToolOutput(0, output.replace(old, new), ""))


def test_no_chronyd_is_told_apart_from_garbage() -> None:
    with pytest.raises(Skipped):
        parse_tracking(ToolOutput(1, "506 Cannot talk to daemon\n", ""))
    with pytest.raises(CheckError):
        parse_tracking(ToolOutput(1, "", "501 Not authorised\n"))


def test_this_machines_kernel_answers() -> None:
    assert kernel_clock().most_error_s >= 0
