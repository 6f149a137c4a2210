"""Does a GPU's PCIe link make errors?

Counters of the driver (replays) and of the kernel (advanced error reporting), as growth since the
last run of this boot. More than 8 replays a minute are above what the driver's makers recommend
(DCGM, dcgm_gpu_hardware_limits.h): they warn, and fail in the third run in a row. A fatal error
fails: fatal, reboot, as ``kernel/pcie-aer-fatal``. Non-fatal ones warn. Corrected ones are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.backends.base import Gpu
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import boot_clock, grown, recent
from probes.each_gpu import at_most, each_gpu, not_supported, of, plausible, told

_REPLAYS_PER_MINUTE = 8.0
_RUNS = 3


class PcieErrors:
    """Check ``pcie-errors``."""

    spec = CheckSpec(
        "pcie-errors", "Does a GPU's PCIe link make errors?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu, self._clock())])


def _look(context: Context, gpu: Gpu, now_s: float) -> Finding:
    counts = context.backend.pcie_counters(gpu)
    if not counts:
        return not_supported(gpu, "PCIe error counters")
    for name, count in counts.items():
        plausible(count, 0, 2.0**64, name)
    growth = grown(context, gpu.device, counts, now_s)
    if growth is None:
        return of(gpu, Outcome.SKIP, "counted for the first time in this boot")
    replays = growth.per_second("replays") * 60
    values = [
        at_most("replays", replays, "1/min", _REPLAYS_PER_MINUTE, "DCGM hardware limits"),
        at_most("fatal", growth.by.get("aer_fatal", 0), "count", 0, "PCIe AER"),
        *told("nonfatal", growth.by.get("aer_nonfatal"), "count"),
        *told("correctable", growth.per_second("aer_correctable"), "1/s"),
    ]
    many, runs = recent(context, gpu.device, replays > _REPLAYS_PER_MINUTE, _RUNS)
    if fatal := growth.by.get("aer_fatal"):
        message = f"{fatal} fatal PCIe errors"
        return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="reboot")
    words = f"{replays:.3g} replays a minute"
    if many == _RUNS:
        return of(gpu, Outcome.FAIL, f"{words}, {runs} runs in a row", values)
    if replays > _REPLAYS_PER_MINUTE:
        return of(gpu, Outcome.WARN, words, values)
    if nonfatal := growth.by.get("aer_nonfatal"):
        return of(gpu, Outcome.WARN, f"{nonfatal} non-fatal PCIe errors", values)
    return of(gpu, Outcome.PASS, words, values)
