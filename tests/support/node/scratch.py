"""Where does a real node keep its files and cgroups, and how is nothing left of them?

A folder with a short name (UNIX socket paths end at 107 bytes) and a cgroup of the same name.
The folder's lock is held as long as its process lives: whoever makes the next folder removes
those that nobody holds any more, with their cgroups.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_PREFIX = "kh-"
_CGROUPS = Path("/sys/fs/cgroup")


class Scratch:
    """One folder, its lock and its cgroups."""

    def __init__(self) -> None:
        _remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        self.path.chmod(0o755)  # pods of other users read below it
        self._lock = (self.path / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._in_memory("containerd")
        self.cgroup = self.path.name
        for hierarchy in _hierarchies():
            (hierarchy / self.cgroup).mkdir(exist_ok=True)

    def _in_memory(self, name: str) -> None:
        """Unpacked images are 30,000 files, copied for each container and removed at the end."""
        folder = self.path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "mode=755", "konduktor-node", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=20)

    def remove(self) -> None:
        """Mounts, cgroups and folder; nothing happens the second time."""
        unmount_below(self.path)
        _remove_cgroups(self.cgroup)
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def unmount_below(folder: Path) -> None:
    """Unmount everything in a folder, the innermost first."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    inside = [line.split(" ")[1] for line in lines if line.split(" ")[1].startswith(f"{folder}/")]
    for point in sorted(inside, reverse=True):
        subprocess.run(["umount", "-l", point], capture_output=True, timeout=20)


def _hierarchies() -> list[Path]:
    """Every cgroup v1 hierarchy, or the one of v2."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [folder for folder in _CGROUPS.iterdir() if (folder / "cgroup.procs").exists()]


def _remove_cgroups(name: str) -> None:
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            try:
                Path(folder).rmdir()  # a cgroup without processes and children goes
            except OSError:
                continue


def _remove_abandoned() -> None:
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unmount_below(folder)
                _remove_cgroups(folder.name)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # held, or none of ours
