"""Which backend do the checks of this node ask?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from probes.backends.base import GpuBackend
from probes.backends.none import NoBackend
from probes.errors import BackendMissing


def choose(environ: Mapping[str, str], root: str) -> GpuBackend:
    """The one that the environment asks for."""
    missing = BackendMissing(f"no backend for {root} ({len(environ)} variables)")
    return cast("GpuBackend", NoBackend(missing))
