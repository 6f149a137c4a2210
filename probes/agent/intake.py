"""What happens to a run that has ended, here or in a Job?

It is kept, put up and counted, once: a run id that is known is dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence

from probes.agent.board import Board
from probes.agent.fitting import fitted
from probes.agent.history import History
from probes.agent.log import Log
from probes.agent.shelf import OTHER_SHARE, SHARES
from probes.check import Cadence
from probes.report import Run

_MOST_IDS = 512


class Intake:
    """Any thread. Each of ``counted`` is told of each run."""

    def __init__(
        self, history: History, board: Board, log: Log, *, counted: Sequence[Callable[[Run], None]]
    ) -> None:
        self._history, self._board, self._log, self._counted = history, board, log, counted
        self._lock = threading.Lock()
        self._ids: deque[str] = deque(maxlen=_MOST_IDS)

    def load(self, boot_id: str, stuck: Collection[str] = ()) -> tuple[Run, ...]:
        """Put up what was kept of this boot; returns it, oldest first."""
        left = {cadence: max(share.newest, share.failed) for cadence, share in SHARES.items()}
        runs: list[Run] = []
        for entry in reversed(self._history.entries):
            if left.setdefault(entry.cadence, OTHER_SHARE.newest) <= 0:
                continue
            left[entry.cadence] -= 1
            run = self._history.read(entry)
            if run is not None and run.boot_id == boot_id:
                runs.append(run)
        runs.reverse()
        with self._lock:
            self._ids.extend(run.run_id for run in runs)
            self._board.load(runs, stuck)
        return tuple(runs)

    def put(self, run: Run, stuck: Collection[str] | None = None) -> bool:
        """Keep, put up and count it; ``stuck`` as for ``Board.put``. False: it was known."""
        with self._lock:
            if run.run_id in self._ids:
                self._log.warning("a run is known already", run=run.run_id)
                return False
            self._ids.append(run.run_id)
            run = fitted(run)
            self._history.add(run)
            self._board.put(run, stuck)
            for count in self._counted:
                count(run)
        bad = [result for result in run.results if result.outcome not in ("pass", "skip")]
        tell = self._log.info if bad or run.cadence != Cadence.LIGHT.value else self._log.debug
        tell(
            "run ended",
            run=run.run_id,
            cadence=run.cadence,
            reason=run.reason,
            seconds=round(max(0, run.ended_ns - run.began_ns) / 1e9, 3),
            results=len(run.results),
            bad="; ".join(
                f"{each.check} {each.device} {each.outcome}: {each.message}" for each in bad[:4]
            ),
        )
        return True
