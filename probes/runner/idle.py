"""Are all GPUs idle?"""

from __future__ import annotations

from probes.backends.base import GpuBackend

_MOST_NAMED = 8


def why_not_idle(backend: GpuBackend) -> str:
    """Which GPUs something runs on; "" when they are idle. Raises BackendError: not known."""
    busy = [gpu.device for gpu in backend.gpus() if backend.busy(gpu)]
    if not busy:
        return ""
    named = ", ".join(busy[:_MOST_NAMED])
    more = f" and {len(busy) - _MOST_NAMED} more" if len(busy) > _MOST_NAMED else ""
    return f"needs idle GPUs, and these are in use: {named}{more}"
