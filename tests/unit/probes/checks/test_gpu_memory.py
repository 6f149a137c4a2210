from __future__ import annotations

from pathlib import Path

import pytest

from probes.check import Outcome, ToolOutput
from probes.checks.gpu_memory import CHECK
from probes.errors import CheckError, Skipped
from tests.support.fake_node import FakeNode, NoTool, Recorder, edited, only, outcomes, run
from tests.support.tool_output import ScriptedTool


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path, count=2)


def test_memory_that_keeps_what_is_written_passes_and_tells_how_much(node: FakeNode) -> None:
    findings = run(CHECK, node.context())

    assert set(outcomes(findings).values()) == {Outcome.PASS}
    assert "(89%)" in findings[0].message
    assert [m.name for m in findings[0].measurements] == ["errors", "tested"]


def test_wrong_words_are_fatal_and_counted(node: FakeNode) -> None:
    bad = node.inject(1, memory_errors=4211)
    findings = run(CHECK, node.context())

    finding = only(findings, bad)
    assert (finding.outcome, finding.severity) == (Outcome.FAIL, "fatal")
    assert finding.measurements[0].value == 4211
    assert "bit 8" in finding.message
    assert only(findings, node.device(0)).outcome is Outcome.PASS


def changed(node: FakeNode, of: str, **values: object) -> list[Outcome]:
    def edit(document: dict[str, object]) -> None:
        for gpu in document["gpus"]:  # type: ignore[attr-defined]
            for result in gpu["results"]:
                if result["name"] == of:
                    result.update(values)

    tool = Recorder(node.tool, lambda _arguments, output, _call: edited(output, edit, 0))
    return list(outcomes(run(CHECK, node.context(tool))).values())


def test_memory_that_somebody_holds_was_not_tested(node: FakeNode) -> None:
    assert changed(node, "memory_tested", value=10**9) == [Outcome.SKIP] * 2


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("memory_tested", {"value": 10**13}),
        ("memory_total", {"value": 0}),
        ("random", {"count": 0}),
        ("walking", {"name": "walk"}),
        ("memory_tested", {"name": "tested"}),
    ],
)
def test_a_test_that_is_not_whole_is_an_error(
    node: FakeNode, name: str, values: dict[str, object]
) -> None:
    assert changed(node, name, **values) == [Outcome.ERROR] * 2


def test_garbage_is_an_error_and_a_missing_program_a_skip(node: FakeNode) -> None:
    with pytest.raises(CheckError):
        run(CHECK, node.context(ScriptedTool({"memtest": [ToolOutput(0, "OK\n", "")]})))
    with pytest.raises(Skipped):
        run(CHECK, node.context(NoTool()))
