"""Up to which record of which boot has the kernel log been delivered?

A small JSON file ``{"boot_id": ..., "seq": ...}``, replaced atomically. Invariant: it never
names a record that was not delivered; being behind costs repeats, which readers count once.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A delivered record. ``seq`` -1: of this boot nothing was delivered yet."""

    boot_id: str
    seq: int


class PositionFile:
    """Reads and replaces the file; writes only when the position moved."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._saved: Position | None = None

    def start_after(self, boot_id: str) -> int | None:
        """Number of the last delivered record of this boot; None without a file: from now.

        A file of another boot, or a damaged one, gives -1: what was logged since boot has not
        been delivered. Raises OSError when the file exists and cannot be read.
        """
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                content = file.read(4096)
        except FileNotFoundError:
            return None
        position = _parse(content)
        if position is None or position.boot_id != boot_id:
            return -1
        self._saved = position
        return position.seq

    def save(self, position: Position) -> None:
        """Write and rename. Raises OSError (no directory, read-only, disk full)."""
        if position == self._saved:
            return
        part = f"{self._path}.{os.getpid()}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump({"boot_id": position.boot_id, "seq": position.seq}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        self._saved = position


def _parse(content: str) -> Position | None:
    try:
        value = json.loads(content)
        boot_id, seq = value["boot_id"], value["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(boot_id, str) or not isinstance(seq, int) or isinstance(seq, bool):
        return None
    return Position(boot_id, seq) if seq >= -1 else None
