"""Does the agent work, and if not, what can be done?"""

from __future__ import annotations

from dataclasses import dataclass

from probes.agent.attest import Attestor
from probes.agent.history import History
from probes.agent.worker import Worker


@dataclass(frozen=True, slots=True)
class Trouble:
    """What does not work."""

    message: str
    hint: str


class Health:
    """Any thread."""

    def __init__(
        self, worker: Worker, history: History, attestor: Attestor, *, attests: bool
    ) -> None:
        """``attests``: this agent is meant to read the kernel log."""
        self._worker, self._history, self._attestor = worker, history, attestor
        self._attests = attests

    def fatal(self) -> tuple[Trouble, ...]:
        """What only a restart can help."""
        if self._worker.stands_still():
            return (Trouble("a run has not come to its end", "the agent is to be restarted"),)
        return ()

    def troubles(self) -> tuple[Trouble, ...]:
        """All that does not work."""
        found = []
        if why := self._worker.trouble():
            found.append(Trouble(f"checks are not run: {why}", "the agent's log says more"))
        if not self._history.writable:
            found.append(
                Trouble("runs cannot be kept", "see to the node's disk and the state directory")
            )
        if self._attests and (why := self._attestor.trouble()):
            found.append(Trouble(why, "or start the agent with --no-kmsg"))
        return tuple(found)
