"""Does a GPU's memory make errors that ECC cannot correct, or too many that it can?

Volatile counts (since the driver was loaded, so that a reset clears them) fail; aggregate ones of
the GPU's life tell, but for SRAM, which nothing repairs:

- uncorrectable in SRAM since load: fatal, reset (AzNHC: any);
- uncorrectable in DRAM since load: degraded, reset when drained, which remaps the row (GCM: 0);
- the driver says that the SRAM threshold is exceeded: fatal, inspect: NVIDIA replaces such GPUs.
  Where it does not say, more than 5 uncorrectable SRAM errors in its life (OCI, H100);
- corrected since load: DRAM more than 20,000,000, SRAM more than 10,000 (AzNHC).

ECC switched off warns: then nothing of this is seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.backends.readings import Ecc
from probes.check import Cadence, CheckSpec, Context, Finding, Measurement, Outcome, Tier
from probes.each_gpu import at_most, each_gpu, equal, is_good, not_supported, of, plausible, told

_MOST_COUNT = 2.0**63
_DRAM_CORRECTED, _SRAM_CORRECTED = 20_000_000, 10_000
_SRAM_LIFE = 5


class GpuEcc:
    """Check ``gpu-ecc``."""

    spec = CheckSpec(
        "gpu-ecc", "Does a GPU's memory make errors that ECC cannot correct?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    ecc = context.backend.ecc(gpu)
    if ecc.enabled is None:
        return not_supported(gpu, "ECC")
    if not ecc.enabled:
        return of(gpu, Outcome.WARN, "ECC is switched off: memory errors are not seen")
    values = list(_measured(ecc))
    if not values:
        return not_supported(gpu, "counts of ECC")
    bad = {each.name for each in values if not is_good(each)}
    if not bad:
        return of(gpu, Outcome.PASS, "no uncorrectable errors since the driver was loaded", values)
    words = ", ".join(f"{each.name} {each.value:.0f}" for each in values if each.name in bad)
    severity, remedy = "degraded", "inspect"
    if bad & {"sram_uncorrected"}:
        severity, remedy = "fatal", "reset_gpu"
    elif bad & {"dram_uncorrected"}:
        remedy = "drain_reset"
    if bad & {"sram_threshold_exceeded"}:
        severity, remedy = "fatal", "inspect"
    return of(gpu, Outcome.FAIL, f"ECC: {words}", values, severity=severity, remedy=remedy)


def _measured(ecc: Ecc) -> Iterator[Measurement]:
    now, life = ecc.volatile, ecc.aggregate
    limits = (
        ("dram_uncorrected", now.dram_uncorrected, 0, "GCM"),
        ("sram_uncorrected", now.sram_uncorrected, 0, "AzNHC"),
        ("dram_corrected", now.dram_corrected, _DRAM_CORRECTED, "AzNHC"),
        ("sram_corrected", now.sram_corrected, _SRAM_CORRECTED, "AzNHC"),
    )
    for name, count, limit, source in limits:
        if count is not None:
            yield at_most(name, plausible(count, 0, _MOST_COUNT, name), "count", limit, source)
    yield from told("dram_uncorrected_life", life.dram_uncorrected, "count")
    if ecc.sram_threshold_exceeded is not None:
        exceeded = float(ecc.sram_threshold_exceeded)
        yield equal("sram_threshold_exceeded", exceeded, "", 0, "the driver's own word")
        yield from told("sram_uncorrected_life", life.sram_uncorrected, "count")
    elif life.sram_uncorrected is not None:
        ever = plausible(life.sram_uncorrected, 0, _MOST_COUNT, "sram_uncorrected_life")
        yield at_most("sram_uncorrected_life", ever, "count", _SRAM_LIFE, "OCI (H100)")
