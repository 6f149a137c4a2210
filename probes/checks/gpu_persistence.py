"""Does the driver stay loaded when nobody uses a GPU?

Without persistence mode the driver initialises a GPU for each first user: jobs start seconds later,
and page retirement or a clocks setting is lost in between. That is a setting, no fault: it warns.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import each_gpu, not_supported, of


class GpuPersistence:
    """Check ``gpu-persistence``."""

    spec = CheckSpec(
        "gpu-persistence", "Does the driver stay loaded when nobody uses a GPU?",
        Tier.BOOT, Cadence.BOOT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    on = context.backend.persistence(gpu)
    if on is None:
        return not_supported(gpu, "persistence mode")
    if not on:
        return of(gpu, Outcome.WARN, "persistence mode is off (start nvidia-persistenced)")
    return of(gpu, Outcome.PASS, "persistence mode is on")
