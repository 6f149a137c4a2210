"""What does the agent tell: the report, and what each check found last?

Runs are put up whole, when they have ended. What is told of this moment is one immutable ``Told``
that every reader gets without a lock: a report of 8 GPUs is asked for every few seconds, and built
once a minute.

Invariants: only runs of this boot, each with all of its outcomes; the newest run of each cadence
always, and older ones as far as they fit into ``MOST_BODY_BYTES``; the ETag is one of the content.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from probes.agent.shelf import Shelf, Shown
from probes.report import MOST_BODY_BYTES, OutcomeName, Report, Result, Run

_MOST_RUNS = 64  # of ``Report.runs``
_ROOM = MOST_BODY_BYTES - 16 * 1024  # the rest is for what is not a run
WORST_FIRST: Sequence[OutcomeName] = ("fail", "timeout", "error", "warn", "skip", "pass")
_MOST_STUCK = 64
_BUSY_NS = 600 * 1_000_000_000
UNMEASURED = frozenset({"timeout", "error"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What the agent says of itself."""

    node: str
    boot_id: str
    version: str = ""
    started_ns: int = 0


@dataclass(frozen=True, slots=True)
class CheckState:
    """What a check found in its newest run."""

    results: tuple[Result, ...]
    worst: OutcomeName
    unmeasured: int = 0  # runs in a row, up to the newest, that ended in timeout or error


@dataclass(frozen=True, slots=True)
class Told:
    """All that is told at a moment."""

    body: bytes = b""  # of the report, JSON
    etag: str = ""  # with its quotes
    checks: Mapping[str, CheckState] = field(default_factory=dict)
    stuck: tuple[str, ...] = ()
    backend: str = ""
    fake: bool = False

    def busy(self, now_ns: int) -> tuple[str, ...]:
        """Devices on which something ran when a check last looked at them, not long ago."""
        newest: dict[str, Result] = {}
        for state in self.checks.values():
            for result in state.results:
                recent = result.ended_ns >= now_ns - _BUSY_NS
                if result.busy is not None and result.device and recent:
                    known = newest.get(result.device)
                    if known is None or known.ended_ns <= result.ended_ns:
                        newest[result.device] = result
        return tuple(sorted(device for device, result in newest.items() if result.busy))


class Board:
    """Changed by one thread at a time, read by any."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._sequence = 0
        self._shelves: dict[str, Shelf] = {}
        self._checks: dict[str, CheckState] = {}
        self._stuck: tuple[str, ...] = ()
        self._settings = ""
        self._backend, self._fake = "", False
        self.told = Told()
        self._publish()

    def put(self, run: Run, stuck: Collection[str] | None = None) -> None:
        """A run has ended; these checks are stuck now (None: as before)."""
        self._take(run)
        if stuck is not None:
            self._stuck = tuple(sorted(set(stuck))[:_MOST_STUCK])
        self._publish()

    def load(self, runs: Sequence[Run], stuck: Collection[str] = ()) -> None:
        """Runs of before the agent was started, oldest first, and what has been stuck since."""
        for run in runs:
            self._take(run)
        self._stuck = tuple(sorted(set(stuck))[:_MOST_STUCK])
        self._publish()

    def settings(self, digest: str) -> None:
        """Other settings are in force."""
        if digest != self._settings:
            self._settings = digest
            self._publish()

    def _take(self, run: Run) -> None:
        if run.boot_id != self._identity.boot_id:
            return
        self._sequence += 1
        shelf = self._shelves.setdefault(run.cadence, Shelf(run.cadence))
        shelf.put(run, self._sequence)
        found: dict[str, list[Result]] = defaultdict(list)
        for result in run.results:
            found[result.check].append(result)
            if result.backend and result.backend != "none":
                self._backend, self._fake = result.backend, result.fake
        for check, results in found.items():
            self._checks[check] = _state(results, self._checks.get(check))

    def _publish(self) -> None:
        runs = _chosen(self._shelves.values())
        head = Report(
            node=self._identity.node,
            boot_id=self._identity.boot_id,
            agent=self._identity.version,
            backend=self._backend,
            fake=self._fake,
            started_ns=self._identity.started_ns,
            stuck=self._stuck,
            settings=self._settings,
        )
        # Runs are JSON already: putting the text together costs a twentieth of building models.
        rest = head.model_dump_json(exclude={"runs"}).encode()
        body = b'{"runs":[' + b",".join(each.content for each in runs) + b"]," + rest[1:]
        self.told = Told(
            body=body,
            etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            checks=dict(self._checks),
            stuck=self._stuck,
            backend=self._backend,
            fake=self._fake,
        )


def worst(outcomes: Sequence[OutcomeName]) -> OutcomeName:
    """What a check came to: a pass only when all of it is."""
    return min(outcomes, key=WORST_FIRST.index)


def _state(results: Sequence[Result], before: CheckState | None) -> CheckState:
    came_to = worst([result.outcome for result in results])
    count = before.unmeasured if before is not None else 0
    return CheckState(tuple(results), came_to, count + 1 if came_to in UNMEASURED else 0)


def _chosen(shelves: Iterable[Shelf]) -> list[Shown]:
    """The newest of each cadence, then the second newest of each, as far as there is room."""
    by_age = sorted(
        ((age, each) for shelf in shelves for age, each in enumerate(reversed(shelf.runs))),
        key=lambda pair: (pair[0], -pair[1].sequence),
    )
    chosen: list[Shown] = []
    room = _ROOM
    for _, each in by_age[:_MOST_RUNS]:
        if len(each.content) + 1 <= room:
            room -= len(each.content) + 1
            chosen.append(each)
    return sorted(chosen, key=lambda each: each.sequence)
