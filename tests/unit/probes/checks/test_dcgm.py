from __future__ import annotations

from pathlib import Path

import pytest

from probes.check import Cadence, Outcome, Tier, ToolOutput
from probes.checks import dcgm
from probes.errors import CheckError, Skipped, ToolTimeout
from tests.support.fake_node import FakeNode, NoTool, Recorder, only, outcomes, run
from tests.support.tool_output import ScriptedTool, output, text


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def answering(node: FakeNode, diag: ToolOutput) -> Recorder:
    """The node's own table of GPUs, and this diagnostic."""

    def change(arguments: tuple[str, ...], told: ToolOutput, _call: int) -> ToolOutput:
        return told if "discovery" in arguments else diag

    return Recorder(node.tool, change)


def t4(tmp_path: Path, diag: str, code: int = 0) -> tuple[FakeNode, ScriptedTool]:
    """The node that the recorded outputs are from: one GPU."""
    node = FakeNode(tmp_path, "T4", count=1)
    table = text("dcgmi/discovery-t4.txt").replace("00000001:00:00.0", "00000000:18:00.0")
    answers = [ToolOutput(0, table, ""), output(diag, code)]
    return node, ScriptedTool({"dcgmi": answers})


def test_recorded_level_3_of_dcgm_3_passes(tmp_path: Path) -> None:
    node, tool = t4(tmp_path, "dcgmi/v3-level3-t4.json")
    finding = only(run(dcgm.LEVEL_3, node.context(tool)), "0000:18:00")

    assert finding.outcome is Outcome.PASS
    assert "not run: eud" in finding.message
    assert {m.name: m.value for m in finding.measurements} == {
        "pcie_d2h": 13.15,
        "pcie_h2d": 13.11,
        "memory_tested": 97.3,
        "dgemm": 11103.02,
    }
    assert tool.calls[1] == ("dcgmi", "diag", "-j", "-r", "3")


def test_recorded_level_2_of_dcgm_4_warns_of_a_setting_and_is_no_failure(tmp_path: Path) -> None:
    node, tool = t4(tmp_path, "dcgmi/v4-level2.json", 226)
    (finding,) = run(dcgm.LEVEL_2, node.context(tool))

    assert finding.outcome is Outcome.WARN
    assert "Persistence mode" in finding.message
    assert finding.detail["dcgm"] == "4.5.2"


def test_recorded_level_2_whose_tests_were_skipped_is_a_skip(tmp_path: Path) -> None:
    node, tool = t4(tmp_path, "dcgmi/v4-level2-skipped.json", 226)
    (finding,) = run(dcgm.LEVEL_2, node.context(tool))

    assert finding.outcome is Outcome.SKIP
    assert "memory did not run" in finding.message
    assert "pcie did not run" in finding.message


def test_a_level_without_its_main_tests_is_an_error(tmp_path: Path) -> None:
    node, tool = t4(tmp_path, "dcgmi/v3-level2-t4.json")
    (finding,) = run(dcgm.LEVEL_3, node.context(tool))

    assert finding.outcome is Outcome.ERROR
    assert "diagnostic" in finding.message


def test_each_failing_gpu_is_named_with_what_it_failed(node: FakeNode) -> None:
    tool = answering(node, output("dcgmi/v4-level3-failures.json", 226))
    findings = run(dcgm.LEVEL_3, node.context(tool))

    bad = {f.device: (f.outcome, f.severity) for f in findings if f.outcome is not Outcome.PASS}
    assert bad == {
        node.device(3): (Outcome.FAIL, "fatal"),
        node.device(5): (Outcome.FAIL, "degraded"),
        node.device(6): (Outcome.FAIL, "fatal"),
    }
    assert "a mismatch was found" in only(findings, node.device(3)).message


def test_the_tests_that_failed_are_told_with_dcgms_own_ids(node: FakeNode) -> None:
    tool = answering(node, output("dcgmi/v4-level3-failures.json", 226))
    findings = run(dcgm.LEVEL_3, node.context(tool))

    told = {f.device: (f.detail.get("failed"), f.detail["dcgm_gpus"]) for f in findings}
    assert told[node.device(0)] == (None, "0")
    failed, gpus = told[node.device(3)]
    assert gpus == "3"
    assert failed
    assert set(failed.split(",")) <= {"memory", "pcie", "diagnostic", "nvlink", "software"}


def test_a_failure_in_a_later_result_of_dcgm_3_is_found(node: FakeNode) -> None:
    tool = answering(node, output("dcgmi/v3-level3-pcie-fails.json", 226))
    found = outcomes(run(dcgm.LEVEL_3, node.context(tool)))

    assert {d for d, o in found.items() if o is Outcome.FAIL} == {node.device(7)}
    assert list(found.values()).count(Outcome.PASS) == 7


def test_failures_count_whatever_dcgmi_exits_with(node: FakeNode) -> None:
    for code in (0, 1, 205, 226):
        tool = answering(node, output("dcgmi/v4-level3-failures.json", code))
        found = outcomes(run(dcgm.LEVEL_3, node.context(tool)))
        assert list(found.values()).count(Outcome.FAIL) == 3


def test_a_setting_on_all_gpus_is_a_warning_of_each(node: FakeNode) -> None:
    tool = answering(node, output("dcgmi/v4-persistence-8gpu.json", 226))
    found = outcomes(run(dcgm.LEVEL_1, node.context(tool)))

    assert list(found.values()) == [Outcome.WARN] * 8


def test_a_failure_of_the_node_as_a_whole_lets_no_gpu_pass(tmp_path: Path) -> None:
    node, tool = t4(tmp_path, "dcgmi/v3-level2-t4.json")
    document = text("dcgmi/v3-level2-t4.json")
    at = document.index('"status"', document.index("Page Retirement"))
    tool.answers["dcgmi"] = [
        tool.answers["dcgmi"][0],
        ToolOutput(226, document[:at] + document[at:].replace("Pass", "Fail", 1), ""),
    ]
    findings = run(dcgm.LEVEL_2, node.context(tool))

    assert outcomes(findings) == {"0000:18:00": Outcome.SKIP, "": Outcome.FAIL}
    assert only(findings, "").remedy == "reset_gpu"


def test_without_the_table_of_gpus_all_is_of_the_node(node: FakeNode) -> None:
    diag = output("dcgmi/v4-level3-failures.json", 226)
    tool = ScriptedTool({"dcgmi": [output("dcgmi/host-engine-down.txt", 1), diag]})
    (finding,) = run(dcgm.LEVEL_3, node.context(tool))

    assert (finding.device, finding.outcome, finding.severity) == ("", Outcome.FAIL, "fatal")
    assert "DCGM's GPU 3" in finding.message


def test_without_the_table_a_good_diagnostic_is_no_pass_of_a_gpu(tmp_path: Path) -> None:
    node, _ = t4(tmp_path, "dcgmi/v3-level3-t4.json")
    tool = ScriptedTool({"dcgmi": [ToolOutput(1, "", ""), output("dcgmi/v3-level3-t4.json")]})
    (finding,) = run(dcgm.LEVEL_3, node.context(tool))

    assert (finding.device, finding.outcome) == ("", Outcome.PASS)
    assert "not known" in finding.message


def test_a_gpu_that_dcgm_does_not_know_is_an_error(node: FakeNode) -> None:
    def without_last(arguments: tuple[str, ...], told: ToolOutput, _call: int) -> ToolOutput:
        if "discovery" not in arguments:
            return told
        rows = told.stdout.split("| 7      |")[0]
        return ToolOutput(0, rows.replace("8 GPUs", "7 GPUs"), "")

    findings = run(dcgm.LEVEL_1, node.context(Recorder(node.tool, without_last)))

    assert only(findings, node.device(7)).outcome is Outcome.ERROR


def test_the_host_engine_that_does_not_answer_is_an_error(node: FakeNode) -> None:
    tool = ScriptedTool({"dcgmi": [output("dcgmi/host-engine-down.txt", 1)]})

    with pytest.raises(CheckError, match="start nv-hostengine"):
        run(dcgm.LEVEL_1, node.context(tool))


def test_another_diagnostic_is_a_skip(node: FakeNode) -> None:
    tool = answering(node, output("dcgmi/already-running.txt", 217))

    with pytest.raises(Skipped, match="holds the GPUs"):
        run(dcgm.LEVEL_1, node.context(tool))


def test_a_node_without_dcgm_is_skipped_and_one_without_gpus_too(
    node: FakeNode, tmp_path: Path
) -> None:
    with pytest.raises(Skipped, match="dcgmi is not on this node"):
        run(dcgm.LEVEL_1, node.context(NoTool()))
    with pytest.raises(Skipped, match="no GPU"):
        run(dcgm.LEVEL_1, FakeNode(tmp_path, count=0).context())


def test_a_diagnostic_that_does_not_end_is_a_timeout(node: FakeNode) -> None:
    tool = ScriptedTool({"dcgmi": [ToolTimeout("dcgmi did not end within 140 s")]})

    with pytest.raises(ToolTimeout):
        run(dcgm.LEVEL_1, node.context(tool))


@pytest.mark.parametrize("stdout", ["", "x", "{}", text("dcgmi/v4-level2.json")[:700]])
def test_garbage_is_an_error(node: FakeNode, stdout: str) -> None:
    for code in (0, 226):
        with pytest.raises(CheckError):
            run(dcgm.LEVEL_2, node.context(answering(node, ToolOutput(code, stdout, ""))))


@pytest.mark.parametrize(
    ("fault", "level", "outcome", "severity", "remedy"),
    [
        ({"memory_errors": 1}, dcgm.LEVEL_2, Outcome.FAIL, "fatal", "inspect"),
        ({"wrong_results": 1}, dcgm.LEVEL_3, Outcome.FAIL, "fatal", "inspect"),
        ({"aer_fatal": 2}, dcgm.LEVEL_2, Outcome.FAIL, "fatal", "inspect"),
        ({"remap_pending": True}, dcgm.LEVEL_1, Outcome.FAIL, "fatal", "reset_gpu"),
        ({"remap_failed": True}, dcgm.LEVEL_1, Outcome.FAIL, "fatal", "inspect"),
        ({"temperature_c": 95}, dcgm.LEVEL_3, Outcome.FAIL, "fatal", "inspect"),
        ({"persistence_off": True}, dcgm.LEVEL_1, Outcome.WARN, "degraded", "inspect"),
        ({"memory_errors": 1}, dcgm.LEVEL_4, Outcome.FAIL, "fatal", "inspect"),
    ],
)
def test_faults_of_fake_gpus_are_found_through_dcgms_own_format(
    node: FakeNode,
    fault: dict[str, object],
    level: dcgm.DcgmDiag,
    outcome: Outcome,
    severity: str,
    remedy: str,
) -> None:
    device = node.inject(2, **fault)
    findings = run(level, node.context())

    finding = only(findings, device)
    assert (finding.outcome, finding.severity, finding.remedy) == (outcome, severity, remedy)
    assert list(outcomes(findings).values()).count(Outcome.PASS) == 7


def test_the_host_of_the_engine_is_an_option_and_no_other_option_of_dcgmi(node: FakeNode) -> None:
    tool = Recorder(node.tool)
    run(dcgm.LEVEL_1, node.context(tool, host="10.0.0.7:5555"))
    assert tool.calls[1][1:4] == ("diag", "--host", "10.0.0.7:5555")
    for wrong in ("-r", "--iterations", "a b", "$(x)"):
        with pytest.raises(CheckError, match="option host"):
            run(dcgm.LEVEL_1, node.context(host=wrong))


def test_level_1_runs_beside_workloads_and_the_others_only_on_idle_gpus() -> None:
    levels = (dcgm.LEVEL_1, dcgm.LEVEL_2, dcgm.LEVEL_3, dcgm.LEVEL_4)
    specs = [each.spec for each in levels]

    assert [s.needs_idle_gpus for s in specs] == [False, True, True, True]
    assert [s.tier for s in specs] == [Tier.LIGHT, *[Tier.INVASIVE] * 3]
    assert specs[2].cadence is Cadence.INVASIVE
    assert [s.deadline_s for s in specs] == sorted(s.deadline_s for s in specs)
