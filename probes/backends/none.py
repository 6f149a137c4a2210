"""What do checks ask where no backend could be chosen? This, which says why each time."""

from __future__ import annotations

from typing import Any

from probes.backends.base import Gpu
from probes.errors import BackendError


class NoBackend:
    """Whatever is asked of it raises the error that it was made with."""

    name = "none"
    fake = False

    def __init__(self, error: BackendError) -> None:
        self._error = error

    def gpus(self) -> tuple[Gpu, ...]:
        """Raises the error."""
        raise self._error

    def busy(self, gpu: Gpu) -> bool:  # noqa: ARG002 - as the protocol has it
        """Raises the error."""
        raise self._error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by copying, pickling and the like
            raise AttributeError(name)
        raise self._error
