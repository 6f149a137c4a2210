"""Did a GPU's PCIe link come up with all lanes, at its full generation?

The width has to be the highest that GPU and slot allow, at all times. The generation is told while
the GPU is idle and judged while it works: links idle down to save power
(NVIDIA/open-gpu-kernel-modules#731). A GPU that a process holds without using it idles too, where
the driver lets it (CUDA_DISABLE_PERF_BOOST): the clocks event reason "idle" tells. A generation
that was once seen too low on a working GPU is not forgotten while it idles: then it is a skip, no
pass, until the full one is seen.

A link that is too narrow or too slow is degraded; a reboot trains it anew (the card may need to be
seated again: the ladder ends with a person).
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.backends.readings import ClockReason, PcieLink
from probes.check import Cadence, CheckSpec, Context, Finding, Measurement, Outcome, Tier
from probes.each_gpu import at_least, each_gpu, not_supported, of, plausible, settled, told
from probes.errors import BackendError

_KEY = "slow"
_MOST_GENERATION, _MOST_WIDTH = 8, 32
_SOURCE = "highest of GPU and slot"


class PcieLinkState:
    """Check ``pcie-link``."""

    spec = CheckSpec(
        "pcie-link", "Did a GPU's PCIe link come up with all lanes, at full speed?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        context.keep[_KEY] = sorted(_slow_before(context))
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    link = settled(context, lambda: context.backend.pcie_link(gpu), _narrow)
    if link.width is None or link.max_width is None:
        return not_supported(gpu, "PCIe width")
    width = plausible(link.width, 1, _MOST_WIDTH, "PCIe width")
    most = plausible(link.max_width, 1, _MOST_WIDTH, "highest PCIe width")
    values = [at_least("width", width, "lanes", most, _SOURCE)]
    if link.generation is None or link.max_generation is None:
        words = f"x{width:.0f} of x{most:.0f}; no generation is told"
        values += told("generation", link.generation, "")
        return _found(gpu, Outcome.FAIL if width < most else Outcome.SKIP, words, values, None)
    here = plausible(link.generation, 1, _MOST_GENERATION, "PCIe generation")
    full = plausible(link.max_generation, 1, _MOST_GENERATION, "highest PCIe generation")
    words = f"PCIe {here:.0f} x{width:.0f} of {full:.0f} x{most:.0f}"
    busy = _busy(context, gpu)
    works = _works(context, gpu, busy)
    if works and here < full:  # it may have begun to work just now
        here = float(settled(context, lambda: _generation(context, gpu), lambda g: g < full))
        works = _works(context, gpu, busy)
        words = f"PCIe {here:.0f} x{width:.0f} of {full:.0f} x{most:.0f}"
    slow = _slow_before(context)
    if here >= full:
        slow -= {gpu.device}
    elif works:
        slow |= {gpu.device}
    _remember(context, gpu, slow)
    judged = here >= full or works
    told_generation = told("generation", here, "")
    values += [at_least("generation", here, "", full, _SOURCE)] if judged else told_generation
    if width < most:
        return _found(gpu, Outcome.FAIL, f"{words}: lanes are missing", values, busy)
    if here < full and works:
        return _found(gpu, Outcome.FAIL, f"{words}, though the GPU is busy", values, busy)
    if here < full and gpu.device in slow:
        return _found(gpu, Outcome.SKIP, f"{words}, idle; it was too slow before", values, busy)
    if here < full:
        return _found(gpu, Outcome.PASS, f"{words}; idle, its speed is not judged", values, busy)
    return _found(gpu, Outcome.PASS, words, values, busy)


def _found(
    gpu: Gpu, outcome: Outcome, words: str, values: list[Measurement], busy: bool | None
) -> Finding:
    return of(gpu, outcome, words, values, remedy="reboot", busy=busy)


def _narrow(link: PcieLink) -> bool:
    return link.width is not None and link.max_width is not None and link.width < link.max_width


def _busy(context: Context, gpu: Gpu) -> bool | None:
    try:
        return context.backend.busy(gpu)
    except BackendError:
        return None


def _works(context: Context, gpu: Gpu, busy: bool | None) -> bool:
    """Whether a GPU that is in use is not idle either, as far as the driver tells."""
    if not busy:
        return False
    try:
        reasons = context.backend.clocks(gpu).reasons
    except BackendError:
        return True
    return ClockReason.IDLE not in (reasons or ())


def _generation(context: Context, gpu: Gpu) -> float:
    generation = context.backend.pcie_link(gpu).generation
    return plausible(generation or 0, 1, _MOST_GENERATION, "PCIe generation")


def _slow_before(context: Context) -> set[str]:
    kept = context.before.get(_KEY)
    return {each for each in kept if isinstance(each, str)} if isinstance(kept, list) else set()


def _remember(context: Context, gpu: Gpu, slow: set[str]) -> None:
    kept = context.keep.get(_KEY)
    devices = set(kept) if isinstance(kept, list) else set()
    devices = devices | {gpu.device} if gpu.device in slow else devices - {gpu.device}
    context.keep[_KEY] = sorted(devices)
