"""Autopilot's labels of DCGM's levels: written when what they say has changed, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.decide import decide
from konduktor_health.core.labels import AUTOPILOT, diagnosed
from konduktor_health.model import Diagnosis, EditKind, NodeView, SetCondition
from konduktor_health.timestamps import NS
from tests.support.builders import NOW, edited, edits, node, policy, sighting, snapshot

ON = policy(autopilot_labels=True)
LEVEL_1, LEVEL_3 = "autopilot.ibm.com/dcgm.level.1", "autopilot.ibm.com/dcgm.level.3"
OUTPUT_3 = f"{LEVEL_3}.output"
AT = 1_728_587_523 * NS  # 2024-10-10 19:12:03 UTC
GOOD = Diagnosis(3, passed=True, time_ns=AT)
BAD = Diagnosis(3, passed=False, time_ns=AT, failed="memory.0.1,pcie.3")


def test_a_failure_is_told_as_autopilot_does() -> None:
    marks = diagnosed(node(), [BAD], ON)
    assert marks.labels == {LEVEL_3: "ERR_2024-10-10_19.12.03UTC"}
    assert marks.annotations == {OUTPUT_3: "memory.0.1,pcie.3"}


def test_the_first_pass_says_that_the_node_is_well() -> None:
    marks = diagnosed(node(), [Diagnosis(1, passed=True, time_ns=AT), GOOD], ON)
    assert marks.labels == {
        LEVEL_1: "PASS_2024-10-10_19.12.03UTC",
        LEVEL_3: "PASS_2024-10-10_19.12.03UTC",
        AUTOPILOT: "PASS",
    }
    assert marks.annotations == {f"{LEVEL_1}.output": "", OUTPUT_3: ""}


def test_without_the_policy_nothing_is_written() -> None:
    assert not diagnosed(node(), [BAD, GOOD], policy())


@pytest.mark.parametrize("value", ["WARN", "EVICT", "TESTING", "PASS", ""])
def test_a_diagnosis_overwrites_no_word_about_the_node(value: str) -> None:
    view = node(labels=((AUTOPILOT, value),))
    assert AUTOPILOT not in diagnosed(view, [GOOD], ON).labels
    assert AUTOPILOT not in diagnosed(node(ledger="{}"), [GOOD], ON).labels
    other = Diagnosis(1, passed=False, time_ns=AT)
    assert AUTOPILOT not in diagnosed(node(), [other, GOOD], ON).labels


def test_the_same_again_writes_nothing_and_another_result_does() -> None:
    view = written(node(), BAD)
    later = AT + 3600 * NS
    assert not diagnosed(view, [Diagnosis(3, False, later, "memory.0.1,pcie.3")], ON)
    assert not diagnosed(view, [Diagnosis(3, False, later, "")], ON)  # forgotten meanwhile
    assert diagnosed(view, [Diagnosis(3, False, later, "pcie.3")], ON).annotations == {
        OUTPUT_3: "pcie.3"
    }
    well = written(view, Diagnosis(3, True, later))
    assert dict(well.diagnosed)[OUTPUT_3] == ""
    assert well.label(LEVEL_3) == "PASS_2024-10-10_20.12.03UTC"


@given(
    st.lists(
        st.builds(
            Diagnosis,
            st.integers(1, 4),
            st.booleans(),
            st.integers(0, 2**40).map(lambda s: s % 4_000_000_000 * NS),
            st.sampled_from(["", "memory.0", "pcie.3"]),
        ),
        unique_by=lambda each: each.level,
        max_size=4,
    )
)
def test_what_is_written_is_a_label_and_need_not_be_written_again(
    found: list[Diagnosis],
) -> None:
    view = written(node(), *found)
    assert not diagnosed(view, found, ON)
    for _, value in view.labels:
        assert len(value) <= 63
        assert value.replace("_", "").replace(".", "").replace("-", "").isalnum()


def test_a_node_without_a_record_gets_labels_and_nothing_else() -> None:
    plan = decide(snapshot([node()], diagnoses={"gpu-1": (GOOD,)}), ON, NOW)
    [edit] = edits(plan)
    assert edit.kind is EditKind.DIAGNOSIS
    assert edit.edit.labels == {LEVEL_3: "PASS_2024-10-10_19.12.03UTC", AUTOPILOT: "PASS"}
    assert not edit.edit.add_taints
    assert not any(isinstance(action, SetCondition) for action in plan.actions)
    view = edited(node(), edit)
    again = decide(snapshot([view], diagnoses={"gpu-1": (GOOD,)}), ON, NOW)
    assert again.actions == ()


def test_a_fault_comes_first_and_its_word_stands() -> None:
    seen = {"gpu-1": [sighting()]}
    view = node()
    snap = snapshot([view], seen, diagnoses={"gpu-1": (GOOD,)})
    [edit] = edits(decide(snap, ON, NOW))
    assert edit.kind is EditKind.TAINT
    view = edited(view, edit)
    [then] = edits(decide(snapshot([view], diagnoses={"gpu-1": (GOOD,)}), ON, NOW))
    view = edited(view, then)
    assert (view.label(AUTOPILOT), then.kind) == ("EVICT", EditKind.DIAGNOSIS)
    assert edits(decide(snapshot([view], diagnoses={"gpu-1": (GOOD,)}), ON, NOW)) == []


def written(view: NodeView, *found: Diagnosis) -> NodeView:
    """The node once it is labelled."""
    marks = diagnosed(view, found, ON)
    fields: dict[str, Any] = {"labels": marks.labels, "diagnosed": marks.annotations}
    for name, pairs in fields.items():
        fields[name] = tuple(sorted({**dict(getattr(view, name)), **pairs}.items()))
    return node(**fields)
