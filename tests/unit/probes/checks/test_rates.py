from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.check import Check, Outcome, ToolOutput
from probes.checks import gpu_arithmetic, hbm_bandwidth, p2p_bandwidth, pcie_bandwidth
from probes.errors import CheckError, Skipped, ToolTimeout
from tests.support.fake_node import FakeNode, NoTool, Recorder, edited, only, outcomes, run
from tests.support.tool_output import ScriptedTool

ALL = [pcie_bandwidth.CHECK, hbm_bandwidth.CHECK, gpu_arithmetic.CHECK, p2p_bandwidth.CHECK]
PCIE = pcie_bandwidth.CHECK


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.mark.parametrize("check", ALL, ids=lambda c: c.spec.name)
def test_good_gpus_pass_each_with_its_measurements(node: FakeNode, check: Check) -> None:
    findings = run(check, node.context())

    assert outcomes(findings) == {gpu.device: Outcome.PASS for gpu in node.backend.gpus()}
    for finding in findings:
        assert finding.measurements
        assert finding.measurements[0].threshold is not None
        assert finding.busy is False
        assert finding.under_load


@pytest.mark.parametrize(
    ("check", "fault", "words"),
    [
        (PCIE, {"pcie_bandwidth_factor": 0.4}, "h2d 22"),
        (hbm_bandwidth.CHECK, {"hbm_bandwidth_factor": 0.4}, "hbm 12"),
        (gpu_arithmetic.CHECK, {"compute_factor": 0.4}, "dgemm 23"),
        (p2p_bandwidth.CHECK, {"nvlink_bandwidth_factor": 0.4}, "p2p 15"),
    ],
)
def test_a_slow_gpu_is_degraded_and_nobody_else(
    node: FakeNode, check: Check, fault: dict[str, object], words: str
) -> None:
    slow = node.inject(3, **fault)
    findings = run(check, node.context())

    assert {d: o for d, o in outcomes(findings).items() if o is not Outcome.PASS} == {
        slow: Outcome.FAIL
    }
    finding = only(findings, slow)
    assert (finding.severity, finding.remedy) == ("degraded", "inspect")
    assert words in finding.message
    assert "below" in finding.message.partition(";")[0], "what is bad comes first"


def by_own_kernel(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
    """There is no cuBLAS on the node: the own kernel reaches half of it."""

    def edit(document: dict[str, Any]) -> None:
        for gpu in document["gpus"]:
            for result in gpu["results"]:
                if result["name"] == "dgemm":
                    result["kernel"] = "own"
                    for name in ("value", "min", "max", "median"):
                        if name in result:
                            result[name] /= 2
                    result["samples"] = [each / 2 for each in result["samples"]]

    return edited(output, edit, output.returncode)


def test_limits_of_cublas_are_not_those_of_the_own_kernel(tmp_path: Path) -> None:
    """9 TFLOPS are what it reaches on an A100; 16 are asked of cuBLAS."""
    node = FakeNode(tmp_path, "A100-SXM-80GB")
    for _ in range(2):
        findings = run(gpu_arithmetic.CHECK, node.context(Recorder(node.tool, by_own_kernel)))
        assert set(outcomes(findings).values()) == {Outcome.PASS}
        names = [each.name for each in findings[0].measurements]
        assert "dgemm_own" in names
        assert "dgemm" not in names
        (own,) = [each for each in findings[0].measurements if each.name == "dgemm_own"]
        assert own.threshold is None or own.threshold.source.startswith("baseline")


def test_an_own_kernel_that_is_slow_among_its_siblings_is_found_all_the_same(
    tmp_path: Path,
) -> None:
    node = FakeNode(tmp_path, "A100-SXM-80GB")
    slow = node.inject(3, compute_factor=0.4)
    findings = run(gpu_arithmetic.CHECK, node.context(Recorder(node.tool, by_own_kernel)))
    assert only(findings, slow).outcome is Outcome.FAIL
    assert "dgemm_own" in only(findings, slow).message


def test_slow_cublas_still_fails_by_its_published_limit(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, "A100-SXM-80GB")
    for gpu in range(8):
        node.inject(gpu, compute_factor=0.4)
    findings = run(gpu_arithmetic.CHECK, node.context())
    assert set(outcomes(findings).values()) == {Outcome.FAIL}
    assert "Autopilot gpucheck.cu (A100, cuBLAS)" in findings[0].message


def test_a_wrong_result_is_fatal_whatever_the_speed(node: FakeNode) -> None:
    wrong = node.inject(5, wrong_results=1)
    finding = only(run(gpu_arithmetic.CHECK, node.context()), wrong)

    assert (finding.outcome, finding.severity, finding.remedy) == (Outcome.FAIL, "fatal", "inspect")
    assert "iteration 17" in finding.message
    assert finding.measurements[0].value == 1


def test_what_the_driver_calls_a_failure_of_the_hardware_asks_for_a_reset(node: FakeNode) -> None:
    device = node.device(0)

    def by_driver(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        def edit(document: dict[str, object]) -> None:
            gpu = document["gpus"][0]  # type: ignore[index]
            gpu["errors"] = [{"kind": "device", "test": "dgemm", "message": "uncorrectable ECC"}]
            gpu["errors_total"] = 1

        return edited(output, edit, 3)

    tool = Recorder(node.tool, by_driver)
    finding = only(run(gpu_arithmetic.CHECK, node.context(tool)), device)

    assert (finding.severity, finding.remedy) == ("fatal", "reset_gpu")
    assert "uncorrectable ECC" in finding.message


def test_wrong_data_in_a_bandwidth_test_is_fatal_too(node: FakeNode) -> None:
    def spoil(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        def edit(document: dict[str, object]) -> None:
            gpu = document["gpus"][2]  # type: ignore[index]
            gpu["errors"] = [{"kind": "mismatch", "test": "h2d", "address": "0x1f40", "bit": 3}]
            gpu["errors_total"] = 1

        return edited(output, edit, 3)

    findings = run(PCIE, node.context(Recorder(node.tool, spoil)))

    assert only(findings, node.device(2)).severity == "fatal"
    assert list(outcomes(findings).values()).count(Outcome.PASS) == 7


def test_a_value_that_is_low_once_is_measured_again_and_passes(node: FakeNode) -> None:
    slow = node.inject(3, pcie_bandwidth_factor=0.4)

    def then_well(_arguments: tuple[str, ...], output: ToolOutput, call: int) -> ToolOutput:
        if call == 1:
            node.clear()
        return output

    tool = Recorder(node.tool, then_well)
    findings = run(PCIE, node.context(tool))

    assert set(outcomes(findings).values()) == {Outcome.PASS}
    assert len(tool.calls) == 2
    assert tool.calls[1][2] == slow, "only the slow one is measured again"


def test_a_value_that_stays_low_is_measured_as_often_as_asked(node: FakeNode) -> None:
    slow = node.inject(3, pcie_bandwidth_factor=0.4)
    for tries, calls in (("1", 1), ("3", 3), ("5", 5)):
        tool = Recorder(node.tool)
        finding = only(run(PCIE, node.context(tool, tries=tries)), slow)
        assert finding.outcome is Outcome.FAIL
        assert len(tool.calls) == calls


@pytest.mark.parametrize("tries", ["0", "11", "-1", "many", "1.5", ""])
def test_an_option_that_cannot_be_is_an_error(node: FakeNode, tries: str) -> None:
    with pytest.raises(CheckError, match="tries"):
        run(PCIE, node.context(tries=tries))


def test_a_wrong_result_in_a_later_run_is_not_forgotten(node: FakeNode) -> None:
    slow = node.inject(3, pcie_bandwidth_factor=0.4)

    def spoil(_arguments: tuple[str, ...], output: ToolOutput, call: int) -> ToolOutput:
        def edit(document: dict[str, object]) -> None:
            gpu = document["gpus"][0]  # type: ignore[index]
            gpu["errors"] = [{"kind": "mismatch", "test": "h2d", "bit": 3}]
            gpu["errors_total"] = 1

        return output if call == 1 else edited(output, edit, 3)

    findings = run(PCIE, node.context(Recorder(node.tool, spoil)))

    assert only(findings, slow).severity == "fatal"


def test_busy_gpus_and_those_in_mig_mode_are_skipped_and_the_others_measured(
    node: FakeNode,
) -> None:
    busy, cut = node.inject(1, busy=True), node.inject(2, mig=True)
    tool = Recorder(node.tool)
    findings = run(PCIE, node.context(tool))

    assert only(findings, busy).outcome is Outcome.SKIP
    assert only(findings, busy).busy is True
    assert only(findings, cut).outcome is Outcome.SKIP
    assert "MIG" in only(findings, cut).message
    assert list(outcomes(findings).values()).count(Outcome.PASS) == 6
    assert not {busy, cut} & set(tool.calls[0][2].split(","))


def test_nothing_is_run_when_all_gpus_are_busy(node: FakeNode) -> None:
    node.inject("*", busy=True)
    tool = Recorder(node.tool)

    assert set(outcomes(run(PCIE, node.context(tool))).values()) == {Outcome.SKIP}
    assert tool.calls == []


def test_a_gpu_that_becomes_busy_meanwhile_is_not_accused(node: FakeNode) -> None:
    slow = node.inject(3, pcie_bandwidth_factor=0.4)

    def busy(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        node.inject(3, busy=True)
        return output

    finding = only(run(PCIE, node.context(Recorder(node.tool, busy))), slow)

    assert finding.outcome is Outcome.SKIP
    assert finding.busy is True
    assert "became busy" in finding.message


def test_a_lost_gpu_is_skipped_and_the_others_are_measured(node: FakeNode) -> None:
    lost = node.inject(4, answers_lost=True)
    findings = run(PCIE, node.context())

    assert only(findings, lost).outcome is Outcome.SKIP
    assert "lost" in only(findings, lost).message
    assert list(outcomes(findings).values()).count(Outcome.PASS) == 7


def test_a_node_without_gpus_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="no GPU"):
        run(PCIE, FakeNode(tmp_path, count=0).context())


def test_a_program_that_is_not_there_is_a_skip_with_where_it_was_looked_for(
    node: FakeNode,
) -> None:
    for check in ALL:
        with pytest.raises(Skipped, match=r"not on this node .*/opt/konduktor/bin"):
            run(check, node.context(NoTool()))


def test_a_program_that_was_named_and_is_not_there_is_an_error(node: FakeNode) -> None:
    with pytest.raises(CheckError, match="option program=/nowhere/bandwidth"):
        run(PCIE, node.context(NoTool(), program="/nowhere/bandwidth"))


def test_the_installed_program_is_found(node: FakeNode) -> None:
    class OnlyInstalled(NoTool):
        def __call__(
            self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
        ) -> ToolOutput:
            if not arguments[0].startswith("/opt/konduktor/bin/"):
                return super().__call__(arguments, deadline_s=deadline_s)
            return node.tool(arguments, deadline_s=deadline_s, input_text=input_text)

    findings = run(PCIE, node.context(OnlyInstalled()))

    assert set(outcomes(findings).values()) == {Outcome.PASS}


def test_a_program_that_does_not_end_is_a_timeout(node: FakeNode) -> None:
    with pytest.raises(ToolTimeout):
        run(PCIE, node.context(ScriptedTool({"bandwidth": [ToolTimeout("bandwidth did not end")]})))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("out-of-memory", Outcome.ERROR),
        ("cuda", Outcome.ERROR),
        ("gpu-busy", Outcome.SKIP),
        ("architecture", Outcome.SKIP),
        ("deadline", Outcome.TIMEOUT),
    ],
)
def test_why_one_gpu_could_not_be_measured_is_no_accusation(
    node: FakeNode, code: str, outcome: Outcome
) -> None:
    def fail(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        def edit(document: dict[str, object]) -> None:
            gpu = document["gpus"][1]  # type: ignore[index]
            gpu["error"] = {"code": code, "message": "why", "hint": "what to do"}

        return edited(output, edit, 1)

    findings = run(PCIE, node.context(Recorder(node.tool, fail)))

    finding = only(findings, node.device(1))
    assert finding.outcome is outcome
    assert "why (what to do)" in finding.message
    assert list(outcomes(findings).values()).count(Outcome.PASS) == 7


def test_a_gpu_that_the_program_does_not_speak_of_is_an_error(node: FakeNode) -> None:
    def leave_out(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        return edited(output, lambda document: document["gpus"].pop(6), 0)

    findings = run(PCIE, node.context(Recorder(node.tool, leave_out)))

    assert only(findings, node.device(6)).outcome is Outcome.ERROR


def test_a_driver_that_does_not_work_is_an_error(node: FakeNode) -> None:
    def no_driver(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        def edit(document: dict[str, object]) -> None:
            document["gpus"] = []
            document["error"] = {"code": "no-driver", "message": "libcuda.so.1 is not there"}

        return edited(output, edit, 1)

    with pytest.raises(CheckError, match=r"libcuda\.so\.1"):
        run(PCIE, node.context(Recorder(node.tool, no_driver)))


@pytest.mark.parametrize("stdout", ["", "Segmentation fault", "{}", '{"program": "bandwidth"}'])
@pytest.mark.parametrize("code", [0, 1, 3, -11])
def test_garbage_is_an_error(node: FakeNode, stdout: str, code: int) -> None:
    tool = ScriptedTool({"bandwidth": [ToolOutput(code, stdout, "")]})

    with pytest.raises(CheckError):
        run(PCIE, node.context(tool))


def test_a_rate_above_what_the_hardware_can_is_an_error(node: FakeNode) -> None:
    device = node.inject(0, pcie_bandwidth_factor=3.0)
    finding = only(run(PCIE, node.context()), device)

    assert finding.outcome is Outcome.ERROR
    assert "cannot be" in finding.message


def test_a_result_that_is_missing_is_an_error_and_one_with_a_reason_a_skip(node: FakeNode) -> None:
    def edit(document: dict[str, object]) -> None:
        for index, reason in ((0, []), (1, [{"name": "d2h", "reason": "no memory to pin"}])):
            gpu = document["gpus"][index]  # type: ignore[index]
            gpu["results"] = [r for r in gpu["results"] if r["name"] != "d2h"]
            gpu["skipped"] = reason

    tool = Recorder(node.tool, lambda _arguments, output, _call: edited(output, edit, 0))
    findings = run(PCIE, node.context(tool))

    assert only(findings, node.device(0)).outcome is Outcome.ERROR
    assert only(findings, node.device(1)).outcome is Outcome.SKIP
    assert "no memory to pin" in only(findings, node.device(1)).message


def test_arithmetic_that_was_not_verified_is_an_error(node: FakeNode) -> None:
    def edit(document: dict[str, object]) -> None:
        for gpu in document["gpus"]:  # type: ignore[attr-defined]
            for result in gpu["results"]:
                result["count"] = 0

    tool = Recorder(node.tool, lambda _arguments, output, _call: edited(output, edit, 0))
    findings = run(gpu_arithmetic.CHECK, node.context(tool))

    assert set(outcomes(findings).values()) == {Outcome.ERROR}


def test_unknown_hardware_learns_and_is_skipped_until_it_has(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, "Some GPU of tomorrow", count=1)
    seen = [outcomes(run(hbm_bandwidth.CHECK, node.context())) for _ in range(6)]

    assert [set(each.values()) for each in seen[:5]] == [{Outcome.SKIP}] * 5
    assert set(seen[5].values()) == {Outcome.PASS}
    node.inject(0, hbm_bandwidth_factor=0.5)
    finding = run(hbm_bandwidth.CHECK, node.context())[0]
    assert finding.outcome is Outcome.FAIL
    assert "baseline of this GPU" in finding.message


def test_verified_arithmetic_passes_while_its_speed_is_being_learned(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, "Some GPU of tomorrow", count=1)
    finding = run(gpu_arithmetic.CHECK, node.context())[0]

    assert finding.outcome is Outcome.PASS
    assert "all results right" in finding.message
    assert "learning a baseline" in finding.message


def test_a_threshold_of_the_controller_outranks_the_shipped_one(node: FakeNode) -> None:
    context = node.limited({"pcie-bandwidth/h2d": 60.0})

    finding = run(PCIE, context)[0]
    assert finding.outcome is Outcome.FAIL
    assert "override pcie-bandwidth/h2d" in finding.message


def test_one_slow_pair_accuses_neither_of_its_ends(node: FakeNode) -> None:
    one, other = node.device(1), node.device(6)

    def slow_pair(_arguments: tuple[str, ...], output: ToolOutput, _call: int) -> ToolOutput:
        def edit(document: dict[str, object]) -> None:
            for gpu in document["gpus"]:  # type: ignore[attr-defined]
                for result in gpu["results"]:
                    if {gpu["device"], result.get("peer")} == {one, other}:
                        result.update(value=20.0, samples=[20.0])

        return edited(output, edit, 0)

    findings = run(p2p_bandwidth.CHECK, node.context(Recorder(node.tool, slow_pair)))

    assert {d: o for d, o in outcomes(findings).items() if o is not Outcome.PASS} == {
        one: Outcome.WARN,
        other: Outcome.WARN,
    }
    assert f"20 with {other}" in only(findings, one).message


def test_a_gpu_alone_has_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="fewer than 2"):
        run(p2p_bandwidth.CHECK, FakeNode(tmp_path, count=1).context())


@pytest.mark.parametrize("check", [PCIE, gpu_arithmetic.CHECK], ids=lambda c: c.spec.name)
def test_a_virtual_gpu_is_not_measured(tmp_path: Path, check: Check) -> None:
    """Who else uses the hardware makes it slow; its own baseline would accuse it."""

    class Virtual(FakeBackend):
        def gpus(self) -> tuple[Gpu, ...]:
            return tuple(replace(each, vgpu=True) for each in super().gpus())

    node = FakeNode(tmp_path)
    node.backend = Virtual("H100", 2)

    findings = run(check, node.context())

    assert set(outcomes(findings).values()) == {Outcome.SKIP}
    assert "virtual GPU" in findings[0].message
