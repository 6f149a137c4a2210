"""Which runs were there? Those of the past on the disk, bounded by size and age.

A run is a file ``runs/<sequence>-<cadence>.json`` with a ``probes.report.Run``. The sequence is the
agent's own count and orders runs; the wall clock may be set back between two of them.

Invariants: the newest run of each cadence stays, whatever the bounds; when there is too much, the
oldest run of that cadence goes which takes most room, so that one-minute runs do not push out those
of hours; a run that cannot be written is told all the same, and that it was not written is known.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from probes.agent.clocks import Clock
from probes.agent.files import StateDir
from probes.agent.fitting import MOST_RUN_BYTES
from probes.agent.log import Log
from probes.report import Run

MOST_BYTES = 32 * 1024 * 1024
MOST_AGE_S = 7 * 24 * 3600.0
_FILE = re.compile(r"([0-9]{12})-([a-z0-9-]{1,63})\.json")
_FOLDER = "runs"
#: A week of runs each minute.
_MOST_RUNS = 10_000
_MOST_LOOKED_THROUGH = 2000
#: Runs that cost too much to lose them by a power cut.
_DURABLE = frozenset({"boot", "invasive", "requested"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A run on the disk."""

    sequence: int
    cadence: str
    size: int  # bytes
    written_ns: int

    @property
    def name(self) -> str:
        """Of its file, in the state directory."""
        return f"{_FOLDER}/{self.sequence:012d}-{self.cadence}.json"


class History:
    """Written by one thread, read by any."""

    def __init__(
        self,
        state: StateDir,
        clock: Clock,
        log: Log,
        *,
        most_bytes: int = MOST_BYTES,
        most_age_s: float = MOST_AGE_S,
    ) -> None:
        self._state, self._clock, self._log = state, clock, log
        self._most_bytes, self._most_age_s = most_bytes, most_age_s
        self._folder = state.sub(_FOLDER)
        self._entries: tuple[Entry, ...] = tuple(sorted(self._found(), key=lambda e: e.sequence))
        self._sequence = self._entries[-1].sequence if self._entries else 0
        self.writable = True  # False: the newest run could not be written
        self._prune()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is on the disk, oldest first."""
        return self._entries

    def add(self, run: Run) -> None:
        """Keep a run that has ended. Trouble with the disk is logged."""
        content = run.model_dump_json(exclude_defaults=True).encode()
        self._sequence += 1
        entry = Entry(self._sequence, run.cadence, len(content), self._clock.now_ns())
        try:
            self._state.write(entry.name, content, durable=run.cadence in _DURABLE)
            # The age of a run after a restart, by the clock that its age is judged by.
            os.utime(self._path(entry), ns=(entry.written_ns, entry.written_ns))
        except OSError as error:
            self.writable = False
            self._log.warning("a run cannot be kept", run=run.run_id, why=error.strerror)
            return
        self.writable = True
        self._entries = (*self._entries, entry)
        self._prune()

    def read(self, entry: Entry) -> Run | None:
        """The run; None when its file is gone or damaged."""
        return self._state.read(entry.name, Run.model_validate_json, most_bytes=4 * MOST_RUN_BYTES)

    def newest_first(self) -> Iterator[Run]:
        """All runs that can be read."""
        for entry in reversed(self._entries):
            run = self.read(entry)
            if run is not None:
                yield run

    def of_check(self, check: str) -> Iterator[Run]:
        """Runs in which this check was, newest first, among the newest 2,000."""
        member = f'"check":"{check}"'.encode()

        def with_check(content: bytes) -> Run | None:
            # Looking for a text is a hundred times faster than reading a run.
            return Run.model_validate_json(content) if member in content else None

        for entry in reversed(self._entries[-_MOST_LOOKED_THROUGH:]):
            run = self._state.read(entry.name, with_check, most_bytes=4 * MOST_RUN_BYTES)
            if run is not None:
                yield run

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(entry.size for entry in self._entries)

    def _path(self, entry: Entry) -> str:
        return os.path.join(self._state.path, entry.name)

    def _found(self) -> Iterator[Entry]:
        with os.scandir(self._folder) as files:
            for file in files:
                match = _FILE.fullmatch(file.name)
                if match is None:
                    with contextlib.suppress(OSError):  # a part of a file, left by a crash
                        os.unlink(file.path)
                    continue
                with contextlib.suppress(OSError):
                    told = file.stat(follow_symlinks=False)
                    yield Entry(int(match[1]), match[2], told.st_size, told.st_mtime_ns)

    def _prune(self) -> None:
        oldest_ns = self._clock.now_ns() - int(self._most_age_s * 1e9)
        small = self.size() <= self._most_bytes and len(self._entries) <= _MOST_RUNS
        if small and all(entry.written_ns >= oldest_ns for entry in self._entries):
            return
        newest = {entry.cadence: entry for entry in self._entries}
        gone = {e for e in self._entries if e.written_ns < oldest_ns and newest[e.cadence] is not e}
        sizes: dict[str, int] = defaultdict(int)
        spare: dict[str, list[Entry]] = defaultdict(list)  # oldest last
        for entry in reversed(self._entries):
            if entry not in gone:
                sizes[entry.cadence] += entry.size
                if newest[entry.cadence] is not entry:
                    spare[entry.cadence].append(entry)
        while any(spare.values()) and (
            sum(sizes.values()) > self._most_bytes or len(self._entries) - len(gone) > _MOST_RUNS
        ):
            largest = max((name for name in sizes if spare[name]), key=lambda name: sizes[name])
            entry = spare[largest].pop()
            sizes[largest] -= entry.size
            gone.add(entry)
        for entry in gone:
            with contextlib.suppress(OSError):
                os.unlink(self._path(entry))
        if gone:
            self._entries = tuple(entry for entry in self._entries if entry not in gone)
