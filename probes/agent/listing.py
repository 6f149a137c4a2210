"""Which checks does this node have, when do they run by themselves, and what did they find last?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parsers.printable import printable
from probes.agent.board import Board
from probes.check import CheckSpec
from probes.report import CheckInfo


class Listing:
    """Any thread."""

    def __init__(
        self, specs: Sequence[CheckSpec], intervals: Mapping[str, float], board: Board
    ) -> None:
        self._specs, self._intervals, self._board = specs, intervals, board

    def __call__(self) -> tuple[CheckInfo, ...]:
        """In the order in which a run goes through them."""
        checks = self._board.told.checks
        return tuple(
            CheckInfo(
                name=spec.name,
                title=printable(spec.title, 512),
                tier=spec.tier.value,
                cadence=spec.cadence.value,
                deadline_s=spec.deadline_s,
                needs_idle_gpus=spec.needs_idle_gpus,
                interval_s=self._intervals.get(spec.cadence.value, 0.0),
                last=checks[spec.name].worst if spec.name in checks else None,
            )
            for spec in self._specs
        )
