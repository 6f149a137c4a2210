"""Does a GPU get its power, and keep to its limit?

Missing power cables fail (NVML error 8, fatal: the GPU does not run). A draw of more than 1.1 times
the enforced limit that lasts fails: the regulation does not work. A limit below the shipped one is
somebody's setting, or a board that protects itself; it costs speed, so it warns.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.backends.readings import Power
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import at_most, each_gpu, not_supported, of, plausible, settled, told

_OVER = 1.1
_MOST_W = 5000.0


class GpuPower:
    """Check ``gpu-power``."""

    spec = CheckSpec(
        "gpu-power", "Does a GPU get its power, and keep to its limit?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    power = settled(context, lambda: context.backend.power(gpu), _too_much)
    if not power.cables:
        message = "external power cables are missing or loose"
        return of(gpu, Outcome.FAIL, message, severity="fatal", remedy="inspect")
    if power.draw_w is None:
        return not_supported(gpu, "power")
    draw = plausible(power.draw_w, 0.0, _MOST_W, "power draw")
    if power.limit_w is None:
        return of(gpu, Outcome.SKIP, f"{draw:.0f} W; no limit is told", told("draw", draw, "W"))
    limit = plausible(power.limit_w, 1.0, _MOST_W, "power limit")
    values = [
        at_most("draw", draw, "W", limit * _OVER, "1.1 times the enforced limit"),
        *told("limit", limit, "W"),
    ]
    if _too_much(power):
        return of(gpu, Outcome.FAIL, f"{draw:.0f} W, above its limit of {limit:.0f} W", values)
    if power.default_limit_w is not None and limit < power.default_limit_w:
        message = f"limited to {limit:.0f} W of {power.default_limit_w:.0f} W"
        return of(gpu, Outcome.WARN, message, values)
    return of(gpu, Outcome.PASS, f"{draw:.0f} W of {limit:.0f} W", values)


def _too_much(power: Power) -> bool:
    if power.draw_w is None or power.limit_w is None:
        return False
    return power.draw_w > power.limit_w * _OVER
