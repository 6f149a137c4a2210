"""What does a backend answer that has no readings of a GPU's health? "Not supported", each time.

A base for backends that know some things only, so that each says just what it does know.
"""

# ruff: noqa: ARG002 - nothing is asked of the GPU

from __future__ import annotations

from probes.backends.base import Gpu
from probes.backends.readings import (
    Clocks,
    Ecc,
    Fabric,
    GpuProcess,
    NvLink,
    Power,
    RecoveryAction,
    RemappedRows,
    RetiredPages,
    Temperatures,
)


class NoReadings:
    """The readings of ``GpuBackend``, none of them supported."""

    def temperatures(self, gpu: Gpu) -> Temperatures:
        """Not supported."""
        return Temperatures()

    def power(self, gpu: Gpu) -> Power:
        """Not supported."""
        return Power()

    def clocks(self, gpu: Gpu) -> Clocks:
        """Not supported."""
        return Clocks()

    def ecc(self, gpu: Gpu) -> Ecc:
        """Not supported."""
        return Ecc()

    def remapped_rows(self, gpu: Gpu) -> RemappedRows | None:
        """Not supported."""

    def retired_pages(self, gpu: Gpu) -> RetiredPages | None:
        """Not supported."""

    def recovery_action(self, gpu: Gpu) -> RecoveryAction | None:
        """Not supported."""

    def persistence(self, gpu: Gpu) -> bool | None:
        """Not supported."""

    def nvlinks(self, gpu: Gpu) -> tuple[NvLink, ...]:
        """Not supported."""
        return ()

    def fabric(self, gpu: Gpu) -> Fabric | None:
        """Not supported."""

    def processes(self, gpu: Gpu) -> tuple[GpuProcess, ...]:
        """Not supported."""
        return ()
