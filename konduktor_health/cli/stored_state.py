"""What does the controller's stored state tell a person? Surges, agents, whom it remembers.

The state is the controller's own; a person may read it only where the namespace's role says so.
Without the right, or without a state, nothing is known, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.cli.agent_told import AgentTold, agents_of
from konduktor_health.cli.surges_told import SurgeTold, surges_of
from konduktor_health.errors import HealthError, TransientError
from konduktor_health.ports import Cluster
from konduktor_health.runtime.checkpoint import MAX_REMEMBERED, RememberedUids

MANAGED = "managed"  # of the state: short hashes of the UIDs of nodes managed before


@dataclass(frozen=True, slots=True)
class Stored:
    """What the state tells."""

    surges: tuple[SurgeTold, ...] | None = None  # None: it cannot be read, or there is none
    agents: Mapping[str, AgentTold] = field(default_factory=dict)  # that are not well
    remembered: Container[str] = ()  # UIDs of nodes that were managed before


@dataclass(slots=True)
class StoredState:
    """Reads it from the cluster, again and again; not once more where it is not allowed."""

    cluster: Cluster
    _denied: bool = field(default=False)

    def look(self) -> Stored:
        """What the state tells now."""
        if self._denied:
            return Stored()
        try:
            state = self.cluster.read_state()
        except HealthError as error:
            self._denied = not isinstance(error, TransientError)
            return Stored()
        return Stored() if state is None else stored_of(state)


def stored_of(state: Mapping[str, Any]) -> Stored:
    """What a stored state tells; what is damaged is left out."""
    managed = state.get(MANAGED)
    hashes = managed[:MAX_REMEMBERED] if isinstance(managed, list) else []
    remembered = RememberedUids(each for each in hashes if isinstance(each, str))
    return Stored(surges_of(state), agents_of(state), remembered)
