"""What a policy file says reaches the Nodes: effects, observation, and what it cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from konduktor_health.adapters.policy_file import Reader
from konduktor_health.model import Policy, Taint, Trust
from konduktor_health.runtime.wiring import _decide_by
from tests.support.builders import KEYS, policy
from tests.support.world import LOST, World

APPLICATION = "NVRM: Xid (PCI:0000:3b:00): 13, pid=1, name=x, Graphics Exception: ESR 0x404600=0x1"


def compiled(text: str) -> Policy:
    found = Reader(policy()).judge(f"version: 1\n{text}".encode())
    assert [str(problem) for problem in found.problems] == []
    return found.policy


def world(text: str) -> World:
    made = World()
    _decide_by(made.loop, compiled(text))
    return made


def effects(of: World, name: str) -> list[str]:
    taints = of.cluster.nodes[name].taints
    return [taint.effect for taint in taints if taint.key == KEYS.taint]


@pytest.mark.parametrize(
    ("preset", "line", "effect"),
    [
        ("default", LOST, ["NoSchedule"]),
        ("default", APPLICATION, []),
        ("conservative", LOST, ["NoSchedule"]),
        ("conservative", APPLICATION, []),
        ("strict", APPLICATION, []),
        ("konduktor-compatible", APPLICATION, []),
        ("navarch-compatible", APPLICATION, []),
        ("none", LOST, []),
    ],
)
def test_a_preset_acts_as_it_says(preset: str, line: str, effect: list[str]) -> None:
    made = world(f"preset: {preset}\n")
    made.hear(made.line("gpu-1", line))
    assert effects(made, "gpu-1") == effect


@pytest.mark.parametrize("effect", ["PreferNoSchedule", "NoExecute"])
def test_a_rule_of_the_file_chooses_the_effect(effect: str) -> None:
    made = world(
        f"rules: [{{name: x, match: {{faults: [xid/79]}}, mode: act, effect: {effect}}}]\n"
    )
    made.hear(made.line("gpu-1"))
    assert effects(made, "gpu-1") == [effect]


def test_a_condition_on_labels_decides_node_by_node() -> None:
    made = world(
        "rules: [{name: x, mode: observe,"
        ' match: {when: \'"pool" in labels && labels["pool"] == "spot"\'}}]\n'
    )
    made.change("gpu-1", labels=(("pool", "spot"),))
    made.change("gpu-2", labels=(("pool", "batch"),))
    made.hear(made.line("gpu-1"), made.line("gpu-2"))
    assert made.tainted() == ["gpu-2"]


def test_what_was_only_recorded_acts_once_the_policy_says_so() -> None:
    made = world("rules: [{name: look, mode: observe}]\n")
    made.hear(made.line("gpu-1"))
    assert made.tainted() == []
    assert made.cluster.nodes["gpu-1"].ledger is not None
    _decide_by(made.loop, compiled("preset: default\n"))
    made.turn(1)
    assert effects(made, "gpu-1") == ["NoSchedule"]


def test_a_policy_that_acts_no_longer_takes_no_taint_away() -> None:
    """The taint goes when its record is cleared by proof, not by a change of mind."""
    made = world("preset: default\n")
    made.hear(made.line("gpu-1"))
    _decide_by(made.loop, compiled("rules: [{name: look, mode: observe}]\n"))
    made.turn(1)
    made.settle()
    assert effects(made, "gpu-1") == ["NoSchedule"]


def test_no_policy_makes_pods_lines_act() -> None:
    made = world("rules: [{name: all, mode: act, effect: NoExecute}]\n")
    lines = [replace(made.line("gpu-1"), trust=Trust.POD, pod=True) for _ in range(50)]
    made.hear(*lines)
    made.settle()
    assert made.tainted() == []


def test_no_policy_touches_what_others_did() -> None:
    made = world("rules: [{name: all, mode: act, effect: PreferNoSchedule}]\n")
    foreign = Taint("example.com/theirs", "", "NoSchedule")
    made.change("gpu-1", taints=(foreign,), unschedulable=True)
    made.hear(made.line("gpu-1"))
    view = made.cluster.nodes["gpu-1"]
    assert foreign in view.taints
    assert view.unschedulable
    assert effects(made, "gpu-1") == ["PreferNoSchedule"]
