from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.check import Check, Outcome, ToolOutput
from probes.checks import (
    dcgm,
    gpu_arithmetic,
    gpu_memory,
    hbm_bandwidth,
    nccl_node,
    nvidia_smi,
    p2p_bandwidth,
    pcie_bandwidth,
)
from probes.errors import BackendError, ProbeError, Skipped
from probes.registry import CHECKS
from tests.support.fake_node import FakeNode, Recorder, run

RUNNING_TOOLS: list[Check] = [
    nvidia_smi.CHECK,
    dcgm.LEVEL_1,
    dcgm.LEVEL_3,
    pcie_bandwidth.CHECK,
    hbm_bandwidth.CHECK,
    gpu_arithmetic.CHECK,
    gpu_memory.CHECK,
    p2p_bandwidth.CHECK,
    nccl_node.CHECK,
]


def test_each_is_in_the_registry_once() -> None:
    names = [check.spec.name for check in CHECKS]

    assert len(names) == len(set(names))
    assert {check.spec.name for check in RUNNING_TOOLS} <= set(names)


@pytest.mark.parametrize("check", RUNNING_TOOLS, ids=lambda c: c.spec.name)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(cut=st.floats(0, 0.999), code=st.sampled_from([None, 0, 1, 3, 226]))
def test_an_output_that_is_cut_off_lets_no_gpu_pass_that_it_does_not_tell_of(
    tmp_path: Path, check: Check, cut: float, code: int | None
) -> None:
    node = FakeNode(tmp_path, count=2)

    def shorter(arguments: tuple[str, ...], told: ToolOutput, _call: int) -> ToolOutput:
        if "discovery" in arguments:
            return told
        text = told.stdout.rstrip()
        ended = told.returncode if code is None else code
        return ToolOutput(ended, text[: int(len(text) * cut)], "")

    try:
        findings = run(check, node.context(Recorder(node.tool, shorter)))
    except ProbeError:
        return
    # nvidia-smi and nccl-tests print text whose last characters say nothing.
    assert cut > 0.9
    assert all(f.outcome is not Outcome.PASS for f in findings) or check.spec.name in (
        "nvidia-smi",
        "nccl-node",
    )


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("check", RUNNING_TOOLS, ids=lambda c: c.spec.name)
def test_a_driver_that_does_not_work_lets_nothing_pass(
    tmp_path: Path, check: Check, count: int
) -> None:
    node = FakeNode(tmp_path, count=count)
    node.inject("node", driver_missing=True)

    with pytest.raises(Skipped, match="driver"):
        run(check, node.context())


@pytest.mark.parametrize("check", RUNNING_TOOLS, ids=lambda c: c.spec.name)
def test_a_driver_that_does_not_answer_lets_nothing_pass(tmp_path: Path, check: Check) -> None:
    node = FakeNode(tmp_path, count=2)
    node.inject("node", driver_wedged=True)

    with pytest.raises(BackendError):
        run(check, node.context())
