"""What does a run by hand remember of the one before it? With ``--state``: what the checks keep."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

_MOST_BYTES = 8 * 1024 * 1024


class Kept:
    """``keep.json`` in a directory; "" keeps nothing. Of another boot nothing counts."""

    def __init__(self, folder: str, boot_id: str) -> None:
        """Makes the directory when it is not there. Raises OSError."""
        self._folder, self._boot_id = folder, boot_id
        if folder:
            os.makedirs(folder, mode=0o700, exist_ok=True)

    @property
    def stuck_path(self) -> str:
        """Where the processes are that cannot be ended."""
        return os.path.join(self._folder, "stuck.json") if self._folder else ""

    def before(self) -> dict[str, dict[str, object]]:
        """By check. What cannot be understood is nothing."""
        if not self._folder:
            return {}
        try:
            with open(os.path.join(self._folder, "keep.json"), encoding="utf-8") as file:
                value: dict[str, Any] = json.loads(file.read(_MOST_BYTES))
            if value["boot_id"] != self._boot_id:
                return {}
            return {str(check): dict(kept) for check, kept in value["keep"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    def put(self, keep: Mapping[str, Mapping[str, object]]) -> None:
        """Replace what these checks keep. Raises OSError."""
        if not self._folder or not keep:
            return
        content = {"boot_id": self._boot_id, "keep": {**self.before(), **keep}}
        path = os.path.join(self._folder, "keep.json")
        part = f"{path}.{os.getpid()}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.replace(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
