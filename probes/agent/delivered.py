"""Which runs of Jobs lie in the delivery directory?

The invasive tier runs in a Job's pod on this node, with the same directory mounted; it leaves its
run there as a file (``konduktor-probe run --deliver``). Invariants: a file is taken up once and is
gone then, whatever was in it; only root's own regular files count, neither links nor what others
could have written; a run of another boot says nothing of this one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator

from parsers.printable import printable
from probes.agent.files import StateDir
from probes.agent.log import Log
from probes.report import MOST_BODY_BYTES, Run

_MOST_FILES = 64  # in one look
_LEFT_BEHIND_NS = 3600 * 1_000_000_000


class Deliveries:
    """Looks into a directory. ``owner``: the user id whose files count."""

    def __init__(
        self,
        folder: str,
        state: StateDir,
        log: Log,
        *,
        boot_id: str,
        now_ns: Callable[[], int],
        owner: int = 0,
    ) -> None:
        self._folder, self._state, self._log = folder, state, log
        self._boot_id, self._now_ns, self._owner = boot_id, now_ns, owner

    def take(self) -> Iterator[Run]:
        """Runs that were delivered, oldest file first. A file is removed once the caller comes back
        for the next: after a crash in between it is taken again, and known by its run id."""
        if not self._is_safe():
            return
        for path in self._files():
            try:
                content = self._content(path)
            except (OSError, ValueError) as error:
                self._log.warning("a delivered file is refused", file=path, why=error)
                _remove(path)
                continue
            run = self._run(path, content)
            if run is not None:
                yield run
            _remove(path)

    def _is_safe(self) -> bool:
        try:
            told = os.stat(self._folder, follow_symlinks=False)
        except OSError:
            return False  # nobody has delivered anything yet
        if not stat.S_ISDIR(told.st_mode) or told.st_uid != self._owner or told.st_mode & 0o022:
            self._log.warning("others could write into the delivery directory", file=self._folder)
            return False
        return True

    def _files(self) -> list[str]:
        found: list[tuple[int, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        continue  # it cannot be read nor unlinked, and would be met each time
                    age = entry.stat(follow_symlinks=False).st_mtime_ns
                    if entry.name.endswith(".json") and not entry.name.startswith("."):
                        found.append((age, entry.path))
                    elif age < self._now_ns() - _LEFT_BEHIND_NS:
                        _remove(entry.path)  # half a file of a Job that was ended
        return [path for _, path in sorted(found)[:_MOST_FILES]]

    def _content(self, path: str) -> bytes:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path, flags), "rb") as file:
            told = os.fstat(file.fileno())
            if not stat.S_ISREG(told.st_mode):
                raise ValueError("not a regular file")
            if told.st_uid != self._owner or told.st_mode & 0o022 or told.st_nlink != 1:
                raise ValueError("others could have written it")
            content = file.read(MOST_BODY_BYTES + 1)
        if len(content) > MOST_BODY_BYTES:
            raise ValueError(f"more than {MOST_BODY_BYTES} bytes")
        return content

    def _run(self, path: str, content: bytes) -> Run | None:
        try:
            run = Run.model_validate_json(content)
        except ValueError as error:
            self._state.set_aside(path, printable(str(error), 200))
            return None
        if run.boot_id != self._boot_id:
            self._log.warning("a delivered run is of another boot", file=path, run=run.run_id)
            return None
        return run


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
