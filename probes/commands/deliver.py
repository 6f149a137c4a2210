"""How does a finished run reach the agent? As a file in its directory, whole or not at all."""

from __future__ import annotations

import contextlib
import os

from probes.report import MOST_BODY_BYTES, Run


class DeliveryError(Exception):
    """The run cannot be delivered."""


class Delivery:
    """Puts runs into a directory, one file each: RUN_ID.json, for nobody else to read or write."""

    def __init__(self, folder: str) -> None:
        """Makes sure that it can be written, before a long run. Raises DeliveryError."""
        self._folder = folder
        part = os.path.join(folder, f".{os.getpid()}.part")
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            os.unlink(part)
        except OSError as error:
            raise DeliveryError(f"{folder} cannot be written: {error.strerror}") from error

    def put(self, run: Run) -> str:
        """The file that holds it now. A run of the same id is replaced. Raises DeliveryError."""
        content = run.model_dump_json().encode()
        if len(content) > MOST_BODY_BYTES:
            raise DeliveryError(f"the run has {len(content)} bytes, more than {MOST_BODY_BYTES}")
        path = os.path.join(self._folder, f"{run.run_id}.json")
        # The agent takes no file that begins with a dot.
        part = os.path.join(self._folder, f".{os.getpid()}.part")
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
            self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise DeliveryError(f"{path} cannot be written: {error.strerror}") from error
        return path

    def _sync(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
