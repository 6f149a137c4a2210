"""Does something hold a GPU's clocks down that should not?

The driver's clocks event reasons. Hardware slow-down, hardware thermal slow-down and the power
brake (asserted by the power supply) halve the clocks or worse: three looks in a row, or in 6 of the
last 10 runs, fail (gpud: 0.6 events a minute over 10 minutes). Idle, the software power cap, sync
boost and set clocks are normal. Software thermal slow-down warns: the driver keeps the GPU below
its limit. NVML says that hardware slow-down may also be reported during a change of state, so a
single look proves nothing, and none does on a GPU that idles: its clocks are low anyhow. A machine
with a battery (a laptop) brakes its GPU by design: it warns.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.backends.readings import ClockReason, Clocks
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import recent
from probes.each_gpu import at_most, each_gpu, not_supported, of, settled, told
from probes.tools.battery import has_battery

_BAD = {
    ClockReason.HW_SLOWDOWN: "hardware slow-down",
    ClockReason.HW_THERMAL: "hardware thermal slow-down",
    ClockReason.HW_POWER_BRAKE: "power brake",
}
_RUNS, _MOST_BAD = 10, 6


class GpuClocks:
    """Check ``gpu-clocks``."""

    spec = CheckSpec(
        "gpu-clocks", "Does something hold a GPU's clocks down?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    first = context.backend.clocks(gpu)
    if first.reasons is None:
        return not_supported(gpu, "clocks event reasons")
    last = first
    if _held(first):
        last = settled(context, lambda: context.backend.clocks(gpu), lambda now: bool(_held(now)))
    bad, runs = recent(context, gpu.device, bool(_held(first)), _RUNS)
    values = [
        at_most("slowed_runs", bad, "count", _MOST_BAD - 1, f"gpud: 6 of {_RUNS} runs"),
        *told("sm_clock", last.sm_mhz, "MHz"),
    ]
    accused = Outcome.WARN if has_battery(context.root) else Outcome.FAIL
    if lasting := _held(last):
        return of(gpu, accused, f"{', '.join(lasting)} lasts", values)
    if bad >= _MOST_BAD:
        return of(gpu, accused, f"slowed down in {bad} of the last {runs} runs", values)
    if passing := _held(first):
        return of(gpu, Outcome.WARN, f"{', '.join(passing)} for a moment", values)
    if ClockReason.SW_THERMAL in (last.reasons or ()):
        return of(gpu, Outcome.WARN, "software thermal slow-down", values)
    names = ", ".join(sorted(each.value for each in last.reasons or ())) or "none"
    return of(gpu, Outcome.PASS, f"clocks event reasons: {names}", values)


def _held(clocks: Clocks) -> list[str]:
    reasons = clocks.reasons or frozenset()
    if ClockReason.IDLE in reasons:
        return []
    return [words for reason, words in _BAD.items() if reason in reasons]
