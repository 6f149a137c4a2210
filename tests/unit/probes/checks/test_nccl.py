from __future__ import annotations

from pathlib import Path

import pytest

from probes.check import Outcome, ToolOutput
from probes.checks import nccl_node, nccl_pair
from probes.errors import CheckError, Skipped
from tests.support.fake_node import FakeNode, NoTool, Recorder, run
from tests.support.tool_output import ScriptedTool, output, text

NODE, PAIR = nccl_node.CHECK, nccl_pair.CHECK


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def test_all_gpus_of_a_good_node_add_up_right_and_fast(node: FakeNode) -> None:
    (finding,) = run(NODE, node.context())

    assert (finding.outcome, finding.device) == (Outcome.PASS, "")
    assert [m.name for m in finding.measurements] == ["busbw", "wrong"]


def test_a_slow_link_slows_the_node(node: FakeNode) -> None:
    node.inject(2, nvlink_bandwidth_factor=0.5)
    tool = Recorder(node.tool)
    (finding,) = run(NODE, node.context(tool))

    assert (finding.outcome, finding.severity) == (Outcome.FAIL, "degraded")
    assert len(tool.calls) == 2, "it is run again before it fails"


def test_wrong_sums_are_fatal_whatever_the_bandwidth(node: FakeNode) -> None:
    node.inject(2, wrong_results=64)
    (finding,) = run(NODE, node.context())

    assert (finding.outcome, finding.severity) == (Outcome.FAIL, "fatal")
    assert "64 wrong values" in finding.message


def test_a_run_without_validation_passes_nothing(node: FakeNode) -> None:
    tool = ScriptedTool({"all_reduce_perf": [output("nccl-tests/a100-no-validation.txt")]})

    with pytest.raises(CheckError, match="did not verify"):
        run(NODE, node.context(tool))


def test_a_run_with_fewer_gpus_than_the_node_has_passes_nothing(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, count=4)
    tool = ScriptedTool({"all_reduce_perf": [output("nccl-tests/gh200-2-nodes.txt")]})

    with pytest.raises(CheckError, match="8 GPUs instead of 4"):
        run(NODE, node.context(tool))


def test_trouble_of_nccl_is_an_error(node: FakeNode) -> None:
    tool = ScriptedTool({"all_reduce_perf": [output("nccl-tests/cuda-failure.txt", 3)]})

    with pytest.raises(CheckError, match="unhandled cuda error"):
        run(NODE, node.context(tool))


def test_reasons_not_to_run_are_skips(node: FakeNode, tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="not on this node"):
        run(NODE, node.context(NoTool()))
    with pytest.raises(Skipped, match="one GPU"):
        run(NODE, FakeNode(tmp_path, count=1).context())
    node.inject(3, busy=True)
    with pytest.raises(Skipped, match="busy"):
        run(NODE, node.context())


def pair_tool(**changes: str) -> ScriptedTool:
    document = text("nccl-tests/gh200-2-nodes.txt")
    for old, new in changes.items():
        document = document.replace(old, new)
    return ScriptedTool({"mpirun": [ToolOutput(0, document, "")]})


def test_a_pair_runs_over_both_nodes(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, count=4)
    tool = pair_tool()
    (finding,) = run(PAIR, node.context(tool, peer="10.0.0.7"))

    assert finding.outcome is Outcome.SKIP, "no limit for this hardware is known yet"
    assert finding.measurements[0].value == 123.11
    assert finding.detail == {"peer": "10.0.0.7"}
    assert "localhost:4,10.0.0.7:4" in tool.calls[0]


def test_a_pair_that_is_too_slow_warns_and_accuses_nobody(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, count=4)
    context = node.limited({"nccl-pair/busbw": 300.0}, peer="node-b")
    slow = pair_tool()

    class WithMpi:
        def __call__(
            self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
        ) -> ToolOutput:
            return slow(arguments, deadline_s=deadline_s)

    object.__setattr__(context, "tool", WithMpi())
    (finding,) = run(PAIR, context)

    assert finding.outcome is Outcome.WARN
    assert finding.measurements[0].threshold is not None
    assert finding.measurements[0].value < finding.measurements[0].threshold.value
    assert len(slow.calls) == 2


def test_wrong_sums_of_a_pair_may_be_of_either_node(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, count=4)
    tool = ScriptedTool({"mpirun": [output("nccl-tests/wrong-results.txt", 1)]})
    (finding,) = run(PAIR, node.context(tool, peer="node-b"))

    assert finding.outcome is Outcome.WARN
    assert finding.measurements[0].value == 64


def test_a_pair_that_ran_on_one_host_is_an_error(tmp_path: Path) -> None:
    node = FakeNode(tmp_path, count=4)

    with pytest.raises(CheckError, match="1 hosts instead of 2"):
        run(PAIR, node.context(pair_tool(nid005487="nid005471"), peer="node-b"))


@pytest.mark.parametrize("peer", ["-x", "a b", "a;b", "a,b", "$(reboot)", "x" * 300])
def test_a_partner_that_is_no_host_is_an_error(node: FakeNode, peer: str) -> None:
    with pytest.raises(CheckError, match="peer"):
        run(PAIR, node.context(pair_tool(), peer=peer))


def test_a_pair_without_partner_or_without_mpi_is_skipped(node: FakeNode) -> None:
    with pytest.raises(Skipped, match="controller"):
        run(PAIR, node.context(pair_tool()))
    with pytest.raises(Skipped, match="mpirun is not on this node"):
        run(PAIR, node.context(NoTool(), peer="node-b"))
