"""What of the agents is stored, so that `explain` can tell it without a controller to ask?

Nodes whose agent is not believed, or cannot measure something, and since when; never more than
MOST_NODES of them: where it is more, it is a matter of the whole cluster, and a metric. Nothing of
it is taken up after a restart: the agents are asked anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from konduktor_health.agents import AgentStanding, AgentState
from konduktor_health.ports import Probes
from konduktor_health.timestamps import NS

STATE_KEY = "agents"
MOST_NODES = 200
_MESSAGE = 120  # characters
_CHECKS = 4
_WELL = frozenset({AgentState.OK, AgentState.NEW})


class AgentsTold:
    """A part of the stored state (``checkpoint.Part``)."""

    def __init__(self, probes: Probes, nodes: Callable[[], Mapping[str, object]]) -> None:
        self._probes = probes
        self._nodes = nodes

    def urgent(self) -> bool:
        """It waits for the next write."""
        return False

    def state(self) -> Any:
        """Node to state, since when (Unix seconds), why, and checks that were not measured."""
        names = self._nodes().keys()
        some = self._probes.agents()
        if not some:
            return {}  # a cluster without agents misses none
        standing = self._probes.standing(names)
        told = {name: _row(each) for name, each in sorted(standing.items()) if not _is_well(each)}
        return told if len(told) <= MOST_NODES else {}

    def saved(self) -> None:
        """Nothing waits for it."""

    def restore(self, state: Any) -> None:
        """Nothing is taken up."""


def _is_well(standing: AgentStanding) -> bool:
    return standing.state in _WELL and not standing.unmeasured


def _row(standing: AgentStanding) -> list[Any]:
    checks = [list(each) for each in standing.unmeasured[:_CHECKS]]
    return [standing.state.value, standing.since_ns // NS, standing.message[:_MESSAGE], checks]
