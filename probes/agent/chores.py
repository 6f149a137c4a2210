"""What does the agent do beside running checks and answering?

Takes up what Jobs have delivered, and follows the kernel log. Invariant: trouble with one of them
is told and does not end the other.
"""

from __future__ import annotations

import threading

from probes.agent.attest import Attestor
from probes.agent.delivered import Deliveries
from probes.agent.intake import Intake
from probes.agent.log import Log

_EVERY_S = 2.0


class Chores:
    """Runs in a thread of its own."""

    def __init__(
        self, deliveries: Deliveries, intake: Intake, attestor: Attestor | None, log: Log
    ) -> None:
        """``attestor``: None where the kernel log is not read."""
        self._deliveries, self._intake, self._attestor = deliveries, intake, attestor
        self._log = log
        self._stopping = threading.Event()
        self._trouble = ""

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(_EVERY_S)

    def step(self) -> None:
        """Each chore once."""
        for chore in (self._take_up, self._follow):
            try:
                chore()
            except Exception as error:
                name = chore.__name__.strip("_")
                self._log.warning(
                    "a chore failed", chore=name, why=f"{type(error).__name__}: {error}"
                )

    def stop(self) -> None:
        """Any thread."""
        self._stopping.set()

    def _take_up(self) -> None:
        for run in self._deliveries.take():
            self._intake.put(run)

    def _follow(self) -> None:
        if self._attestor is None:
            return
        self._attestor.follow()
        trouble = self._attestor.trouble()
        if trouble and trouble != self._trouble:
            self._log.warning("kernel records cannot be attested", why=trouble)
        self._trouble = trouble
