"""What is wrong with a node's agent is stored by the controller and told by explain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.agents import AgentStanding, AgentState
from konduktor_health.cli.agent_told import agents_of
from konduktor_health.cli.node_explained import node_rows
from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.node_story import tell
from konduktor_health.runtime.agents_told import MOST_NODES, STATE_KEY, AgentsTold
from tests.support.builders import KEYS, NOW, node
from tests.unit.runtime.test_probes_prove import MemoryProbes

SILENT = AgentStanding(AgentState.SILENT, NOW, "no answer within the time-out")
SLOW = AgentStanding(AgentState.OK, NOW, unmeasured=(("dcgm-1", 7),))


class Agents(MemoryProbes):
    """Agents that are doing as told."""

    def __init__(self, **standing: AgentStanding) -> None:
        super().__init__(frozenset(standing))
        self.doing = standing

    def standing(self, names: Iterable[str]) -> Mapping[str, AgentStanding]:
        return {name: self.doing[name] for name in names if name in self.doing}


def stored(**standing: AgentStanding) -> Any:
    probes = Agents(**standing)
    return AgentsTold(probes, lambda: dict.fromkeys(standing)).state()


def told(standing: AgentStanding) -> dict[str, str]:
    """Rows of explain about a node whose agent is doing so."""
    story = tell(node("gpu1"), KEYS, NOW)
    agent = agents_of({STATE_KEY: stored(gpu1=standing)}).get("gpu1")
    return dict(node_rows(replace(story, agent=agent), NOW + 60 * 10**9))


def test_why_an_agent_is_not_believed_is_told() -> None:
    text = told(SILENT)["agent"]
    assert text.startswith("silent: does not answer (no answer within the time-out), since ")


def test_checks_that_cannot_be_measured_are_told_of_an_agent_that_answers() -> None:
    assert "not measured in a row: dcgm-1 7 times" in told(SLOW)["agent"]


@pytest.mark.parametrize("state", [AgentState.OK, AgentState.NEW])
def test_of_an_agent_that_is_well_nothing_is_stored_or_told(state: AgentState) -> None:
    assert stored(gpu1=AgentStanding(state, NOW)) == {}
    assert "agent" not in told(AgentStanding(state, NOW))


def test_programs_get_the_same() -> None:
    story = tell(node("gpu1"), KEYS, NOW)
    assert as_json(story)["agent"] is None
    agent = agents_of({STATE_KEY: stored(gpu1=SLOW)})["gpu1"]
    assert as_json(replace(story, agent=agent))["agent"]["unmeasured"] == [
        {"check": "dcgm-1", "times": 7}
    ]


def test_what_concerns_the_whole_cluster_fills_no_state() -> None:
    many = {f"gpu{n}": SILENT for n in range(MOST_NODES + 1)}
    assert stored(**many) == {}
    assert stored() == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_damage_counts_as_nothing(damage: Any) -> None:
    agents_of({STATE_KEY: damage})
    found = agents_of({STATE_KEY: {"bad": damage, **stored(gpu1=SILENT)}})
    assert found["gpu1"].state is AgentState.SILENT
