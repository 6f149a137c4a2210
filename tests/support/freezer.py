"""A cgroup v1 freezer: what is in it survives SIGKILL until it is thawed, like a process that waits
in the driver (state D). The freezer of cgroup v2 would let it die."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Freezer:
    """A group of a freezer that is mounted for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # a process that writes itself into it, and FROZEN, is frozen
        self._state = folder / "freezer.state"

    def frozen(self) -> bool:
        return self._state.read_text().strip() == "FROZEN"

    def thaw(self) -> None:
        """Returns when all that was killed meanwhile is gone."""
        self._state.write_text("THAWED")
        end = time.monotonic() + 10
        while (self.folder / "cgroup.procs").read_text() and time.monotonic() < end:
            threading.Event().wait(0.02)


@contextmanager
def freezer(mount_point: Path) -> Iterator[Freezer | str]:
    """The freezer, or why there is none. Needs root."""
    mount_point.mkdir()
    mount = ["mount", "-t", "cgroup", "-o", "freezer", "konduktor-test", str(mount_point)]
    mounted = subprocess.run(mount, capture_output=True, text=True, timeout=10)
    if mounted.returncode != 0:
        yield f"no cgroup v1 freezer on this kernel: {mounted.stderr.strip()}"
        return
    group = mount_point / f"konduktor-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        made = Freezer(group)
        try:
            yield made
        finally:
            made.thaw()
            group.rmdir()
    finally:
        subprocess.run(["umount", str(mount_point)], check=True, timeout=10)
