"""What does the controller's stored state tell of a node's agent? Damage counts as nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from konduktor_health.agents import AgentState
from konduktor_health.runtime.agents_told import STATE_KEY
from konduktor_health.timestamps import NS
from parsers.printable import printable

MEANING: Mapping[AgentState, str] = {
    AgentState.OK: "answers",
    AgentState.MISSING: "no agent's pod on the node",
    AgentState.NEW: "not asked yet",
    AgentState.SILENT: "does not answer",
    AgentState.REFUSING: "gives no report",
    AgentState.GARBLED: "what it answers is no report",
    AgentState.WRONG_NODE: "not believed: its report is of another node",
    AgentState.WRONG_BOOT: "not believed: its report is of another boot",
    AgentState.FAKE: "not believed: it measures nothing",
    AgentState.STALE: "has ended no run for long",
}
_TEXT = 200


@dataclass(frozen=True, slots=True)
class AgentTold:
    """The agent of a node, when the controller stored it last."""

    state: AgentState
    since_ns: int  # 0: not known
    message: str
    unmeasured: tuple[tuple[str, int], ...]  # checks, and how many runs in a row

    @property
    def text(self) -> str:
        """In words."""
        why = f" ({self.message})" if self.message else ""
        checks = ", ".join(f"{name} {times} times" for name, times in self.unmeasured)
        not_measured = f"; not measured in a row: {checks}" if checks else ""
        return f"{self.state.value}: {MEANING[self.state]}{why}{not_measured}"


def agents_of(state: Mapping[str, Any]) -> Mapping[str, AgentTold]:
    """The agents that a stored state says something of."""
    stored = state.get(STATE_KEY)
    found: dict[str, AgentTold] = {}
    for name, row in stored.items() if isinstance(stored, dict) else ():
        try:
            word, since_s, message, checks = row
            found[name] = AgentTold(
                AgentState(word),
                int(since_s) * NS,
                printable(str(message), _TEXT),
                tuple((printable(str(check), 64), int(times)) for check, times in checks),
            )
        except (TypeError, ValueError):
            continue
    return found
