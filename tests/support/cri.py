"""What does a container runtime write into /var/log/pods?

Lines ``TIME STREAM P|F TEXT``: containerd splits what is longer than 16 KiB into pieces, of which
all but the last are marked P (partial). Kubelet rotates by renaming the file; the next line makes
a new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

PIECE_BYTES = 16 * 1024


class ContainerLog:
    """Standard output of one container, as kubelet and the runtime keep it."""

    def __init__(
        self, pod_logs: Path, *, namespace: str, pod: str, uid: str, container: str
    ) -> None:
        self.folder = pod_logs / f"{namespace}_{pod}_{uid}" / container
        self.file = self.folder / "0.log"

    def write(self, lines: Iterable[str], piece_bytes: int = PIECE_BYTES) -> None:
        """Append lines, each with the present time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:
            for line in lines:
                file.write(b"".join(pieces(line.encode(), piece_bytes)))

    def rotate(self) -> Path:
        """Give the file kubelet's name for a rotated one; the name."""
        rotated = self.file.with_name(f"0.log.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        self.file.rename(rotated)
        return rotated


def pieces(line: bytes, size: int = PIECE_BYTES) -> list[bytes]:
    """One line of the container as lines of the log file, line feeds included."""
    cuts = range(0, max(1, len(line)), size)
    last = cuts[-1]
    return [
        b"%s stdout %s %s\n" % (_now(), b"F" if cut == last else b"P", line[cut : cut + size])
        for cut in cuts
    ]


def _now() -> bytes:
    """RFC 3339 in nanoseconds, as runtimes print it."""
    seconds, ns = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ns:09d}Z".encode()
