"""Could the memory repair itself, and does a repair wait for a reset?

NVIDIA, "GPU memory error management" (Ampere and later): a failed remapping is a reason to replace
the GPU: fatal, inspect. A pending one takes effect with the next reset: degraded, reset when
drained, without hurry (Xid 63 says the same). More than 512 rows for uncorrectable errors are more
than there are spares for (OCI). Before Ampere: not supported, see gpu-retired-pages.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import at_most, each_gpu, equal, not_supported, of, plausible, told

_MOST_ROWS = 512
_SOURCE = "NVIDIA GPU memory error management"


class GpuRemappedRows:
    """Check ``gpu-remapped-rows``."""

    spec = CheckSpec(
        "gpu-remapped-rows", "Is a row remapping pending, or has one failed?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    rows = context.backend.remapped_rows(gpu)
    if rows is None:
        return not_supported(gpu, "row remapping")
    uncorrected = plausible(rows.uncorrected, 0, 2.0**31, "remapped rows")
    values = [
        *told("corrected", plausible(rows.corrected, 0, 2.0**31, "remapped rows"), "count"),
        at_most("uncorrected", uncorrected, "count", _MOST_ROWS, "OCI"),
        equal("pending", float(rows.pending), "", 0, _SOURCE),
        equal("failed", float(rows.failed), "", 0, _SOURCE),
    ]
    counts = f"{rows.corrected} rows for corrected, {rows.uncorrected} for uncorrectable errors"
    if rows.failed:
        message = f"a row could not be remapped ({counts}): the GPU has to be replaced"
        return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="inspect")
    if uncorrected > _MOST_ROWS:
        return of(gpu, Outcome.FAIL, f"{counts}: more than there are spares for", values)
    if rows.pending:
        message = f"a remapping waits for a reset ({counts})"
        return of(gpu, Outcome.FAIL, message, values, remedy="drain_reset")
    return of(gpu, Outcome.PASS, counts, values)
