"""Has an older GPU retired too many pages of its memory, or does one wait for it?

NVIDIA, "dynamic page retirement" (before Ampere): 64 pages can be retired. From 62 on the GPU is to
be replaced (AzNHC; DCGM: 63): fatal, inspect. A pending one takes effect when the driver is loaded
anew: degraded, reset when drained. More than 15 warn (DCGM's soft limit). From Ampere on: not
supported, see gpu-remapped-rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import at_most, each_gpu, equal, not_supported, of, plausible

_MOST, _SOFT = 61, 15


class GpuRetiredPages:
    """Check ``gpu-retired-pages``."""

    spec = CheckSpec(
        "gpu-retired-pages", "Has an older GPU retired too many pages of memory?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    pages = context.backend.retired_pages(gpu)
    if pages is None:
        return not_supported(gpu, "page retirement")
    count = plausible(pages.single_bit + pages.double_bit, 0, 2.0**31, "retired pages")
    values = [
        at_most("pages", count, "count", _MOST, "AzNHC (62 and more)"),
        equal("pending", float(pages.pending), "", 0, "NVIDIA dynamic page retirement"),
    ]
    words = f"{count:.0f} pages retired ({pages.double_bit} for double-bit errors)"
    if count > _MOST:
        message = f"{words}: the GPU has to be replaced"
        return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="inspect")
    if pages.pending:
        message = f"a page waits to be retired; {words}"
        return of(gpu, Outcome.FAIL, message, values, remedy="drain_reset")
    if count > _SOFT:
        return of(gpu, Outcome.WARN, f"{words}, more than {_SOFT}", values)
    return of(gpu, Outcome.PASS, words, values)
