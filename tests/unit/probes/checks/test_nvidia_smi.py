from __future__ import annotations

import re
from pathlib import Path

import pytest

from probes.check import Outcome, ToolOutput
from probes.checks.nvidia_smi import CHECK
from probes.errors import BackendMissing, CheckError, Skipped
from tests.support.fake_node import FakeNode, NoTool, Recorder, only, outcomes, run
from tests.support.tool_output import ScriptedTool, output, text


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path, count=2)


def here(name: str, code: int = 0) -> ScriptedTool:
    """A fixture, with the addresses of the fake node."""
    document = text(name).replace(":19:00.0", ":18:00.0").replace(":3B:00.0", ":2A:00.0")
    return ScriptedTool({"nvidia-smi": [ToolOutput(code, document, "")]})


def test_gpus_whose_values_can_be_read_pass(node: FakeNode) -> None:
    assert set(outcomes(run(CHECK, node.context())).values()) == {Outcome.PASS}
    found = outcomes(run(CHECK, node.context(here("nvidia-smi/query-h100.txt"))))
    assert found == {"0000:18:00": Outcome.PASS, "0000:2a:00": Outcome.PASS}


def test_a_gpu_that_requires_a_reset_is_fatal(node: FakeNode) -> None:
    findings = run(CHECK, node.context(here("nvidia-smi/query-h100-broken.txt")))

    finding = only(findings, "0000:2a:00")
    assert (finding.outcome, finding.severity, finding.remedy) == (
        Outcome.FAIL,
        "fatal",
        "reset_gpu",
    )
    assert "Fan Speed" in finding.message
    assert only(findings, "0000:18:00").outcome is Outcome.PASS


def test_a_value_that_reads_err_is_degraded(node: FakeNode) -> None:
    def spoil(_arguments: tuple[str, ...], told: ToolOutput, _call: int) -> ToolOutput:
        return ToolOutput(0, told.stdout.replace(" W\n", " ERR!\n", 1), "")

    finding = run(CHECK, node.context(Recorder(node.tool, spoil)))[0]

    assert (finding.outcome, finding.severity) == (Outcome.FAIL, "degraded")


def test_a_lost_gpu_is_fatal_and_the_others_pass(node: FakeNode) -> None:
    lost = node.inject(1, lost=True)
    findings = run(CHECK, node.context())

    assert outcomes(findings) == {lost: Outcome.FAIL, "0000:18:00": Outcome.PASS}
    assert (only(findings, lost).severity, only(findings, lost).remedy) == ("fatal", "reboot")


def test_an_older_version_that_stops_at_the_lost_one_says_nothing_of_the_others(
    node: FakeNode,
) -> None:
    tool = ScriptedTool({"nvidia-smi": [output("nvidia-smi/lost.txt", 255)]})
    findings = run(CHECK, node.context(tool))

    assert outcomes(findings) == {
        "0000:02:00": Outcome.FAIL,
        "0000:18:00": Outcome.SKIP,
        "0000:2a:00": Outcome.SKIP,
    }


def test_a_gpu_that_it_does_not_list_is_fatal(node: FakeNode) -> None:
    document = text("nvidia-smi/query-h100-missing.txt").replace(":19:00.0", ":18:00.0")
    alone = document.replace("                  : 2\n", "                  : 1\n")
    tool = ScriptedTool({"nvidia-smi": [ToolOutput(0, alone, "")]})
    findings = run(CHECK, node.context(tool))

    assert only(findings, "0000:2a:00").severity == "fatal"


def test_no_driver_is_an_error_here(node: FakeNode) -> None:
    for name in ("mismatch", "no-driver", "no-devices"):
        with pytest.raises(BackendMissing):
            run(CHECK, node.context(here(f"nvidia-smi/{name}.txt", 9)))


def test_what_is_cut_off_is_an_error(node: FakeNode) -> None:
    whole = text("nvidia-smi/query-h100.txt").replace(":19:00.0", ":18:00.0")
    last = whole.replace(":3B:00.0", ":2A:00.0").rindex("Processes")
    for end in (len(whole) // 2, last, last - 200):
        tool = ScriptedTool({"nvidia-smi": [ToolOutput(0, whole[:end], "")]})
        with pytest.raises(CheckError):
            run(CHECK, node.context(tool))


@pytest.mark.parametrize(
    "name",
    [
        "/tmp/gpu requires reset",
        "ERR! unknown error, GPU is lost",
        "Unable to determine the device handle for GPU 0000:2A:00.0: GPU is lost.",
        "x\n    Board : ERR!",
    ],
)
def test_the_name_of_a_process_accuses_no_gpu(node: FakeNode, name: str) -> None:
    listed = f"""Processes
        GPU instance ID                   : N/A
        Process ID                        : 4242
            Type                          : C
            Name                          : {name}
            Used GPU Memory               : 500 MiB
"""
    whole = text("nvidia-smi/query-h100.txt")
    renamed = re.sub(r"Processes +: None\n", lambda _: listed, whole)
    assert renamed.count(name) == 2
    renamed = renamed.replace(":19:00.0", ":18:00.0").replace(":3B:00.0", ":2A:00.0")
    tool = ScriptedTool({"nvidia-smi": [ToolOutput(0, renamed, "")]})

    assert set(outcomes(run(CHECK, node.context(tool))).values()) == {Outcome.PASS}


@pytest.mark.parametrize(
    "name",
    [
        "x\nUnable to determine the device handle for GPU 0000:2A:00.0: GPU is lost.",
        "x\nGPU 00000000:2A:00.0\n    Fan Speed : ERR!",
    ],
)
def test_a_name_with_lines_of_its_own_makes_an_error_and_no_lost_gpu(
    node: FakeNode, name: str
) -> None:
    whole = text("nvidia-smi/query-h100.txt")
    renamed = whole.rstrip("\n") + f"\n            Name : {name}\n"
    renamed = renamed.replace(":19:00.0", ":18:00.0").replace(":3B:00.0", ":2A:00.0")
    tool = ScriptedTool({"nvidia-smi": [ToolOutput(0, renamed, "")]})

    with pytest.raises(CheckError):
        run(CHECK, node.context(tool))


def test_a_node_without_it_is_skipped(node: FakeNode) -> None:
    with pytest.raises(Skipped):
        run(CHECK, node.context(NoTool()))
