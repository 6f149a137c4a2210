"""What is mounted on the node, and how? ``/proc/1/mountinfo`` (proc(5)).

The options of the file system (after the dash) say whether it is read-only itself; those of the
mount say only how this mount shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.errors import CheckError
from probes.tools.reading import excerpt

_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOST_MOUNTS = 20_000


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    device: str  # "259:1": the same of two mounts of one file system
    path: str
    kind: str  # "ext4"
    source: str  # "/dev/nvme0n1p1"
    options: frozenset[str]  # of the file system
    number: int = 0  # of the mount, for as long as it is mounted

    @property
    def read_only(self) -> bool:
        """The file system itself takes no writes."""
        return "ro" in self.options or "emergency_ro" in self.options


def parse_mountinfo(text: str) -> list[Mount]:
    """All mounts, in order: of two on one path the later one is seen. Raises CheckError."""
    found = []
    for line in text.splitlines()[:_MOST_MOUNTS]:
        left, dash, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if not dash or len(before) < 6 or len(after) < 3:
            raise CheckError(f"mountinfo: a line that is not understood: {excerpt(line)}")
        if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", before[2], re.ASCII):
            raise CheckError(f"mountinfo: {excerpt(before[2])} is no device")
        options = frozenset(after[2].split(","))
        if not {"ro", "rw"} & options:
            raise CheckError(f"mountinfo: neither ro nor rw: {excerpt(line)}")
        if not re.fullmatch(r"[0-9]{1,10}", before[0], re.ASCII):
            raise CheckError(f"mountinfo: {excerpt(before[0])} is no number of a mount")
        found.append(
            Mount(
                before[2],
                _plain(before[4]),
                after[0],
                _plain(after[1]),
                options,
                int(before[0]),
            )
        )
    if not found:
        raise CheckError("mountinfo: nothing is mounted")
    return found


def holding(mounts: list[Mount], path: str) -> Mount | None:
    """The mount that a path is in."""
    best: Mount | None = None
    for mount in mounts:
        inside = path == mount.path or path.startswith(mount.path.rstrip("/") + "/")
        if inside and (best is None or len(mount.path) >= len(best.path)):
            best = mount
    return best


def _plain(word: str) -> str:
    """Blanks and backslashes are written as octal numbers."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8) & 0xFF), word)
