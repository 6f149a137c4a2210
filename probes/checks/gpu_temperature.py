"""Is a GPU or its memory too hot?

The limits are the device's own. Up to Ampere: the temperature at which the hardware slows down
fails, the highest one for steady operation warns. From Ada on the driver tells the distance to the
limit instead ("T.Limit", nvidia-smi manual): at its slow-down distance it fails, 5 °C before that
it warns. A GPU that tells neither fails at 95 °C and warns above 85 °C (Navarch's default policy).

Memory: the device's highest operating temperature; where it tells none, 105 °C (JEDEC JESD238,
junction of HBM3), with a warning from 95 °C on, where HBM begins to slow down without any clocks
event reason. A machine with a battery (a laptop) runs its GPU up to the limit by design: it warns.
Overrides: ``gpu-temperature/gpu`` and ``gpu-temperature/memory``, in °C.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.backends.readings import Temperatures
from probes.check import Bound, Cadence, CheckSpec, Context, Finding, Measurement, Outcome, Tier
from probes.each_gpu import (
    at_most,
    each_gpu,
    is_good,
    not_supported,
    of,
    plausible,
    settled,
    told,
)
from probes.thresholds.lookup import override_for
from probes.tools.battery import has_battery

_NEAR_C = 5.0
_FAIL_C, _WARN_C = 95.0, 85.0
_MEMORY_FAIL_C, _MEMORY_WARN_C = 105.0, 95.0
_COLDEST_C, _HOTTEST_C = -40.0, 150.0
#: Where a device's own limit can be, and how far from it one can be told.
_LEAST_LIMIT_C, _MOST_MARGIN_C = 50.0, 190.0


class GpuTemperature:
    """Check ``gpu-temperature``."""

    spec = CheckSpec(
        "gpu-temperature", "Is a GPU or its memory too hot?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    def judged() -> tuple[list[Measurement], list[str]]:
        return _judge(context, context.backend.temperatures(gpu))

    values, warnings = settled(context, judged, lambda both: not all(map(is_good, both[0])))
    if not values:
        return not_supported(gpu, "temperature")
    message = ", ".join(f"{each.name} {each.value:g} °C" for each in values)
    bad = [each for each in values if not is_good(each)]
    if bad:
        limits = "; ".join(
            f"{each.name}: {each.threshold.source}" for each in bad if each.threshold
        )
        accused = Outcome.WARN if has_battery(context.root) else Outcome.FAIL
        return of(gpu, accused, f"too hot: {message} ({limits})", values)
    if warnings:
        return of(gpu, Outcome.WARN, f"{message}: {'; '.join(warnings)}", values)
    return of(gpu, Outcome.PASS, message, values)


def _judge(context: Context, read: Temperatures) -> tuple[list[Measurement], list[str]]:
    """Measurements with their limits, and what is near a limit."""
    values: list[Measurement] = []
    warnings: list[str] = []
    override = override_for(context, "gpu-temperature", "gpu", bound=Bound.AT_MOST)
    if read.gpu_c is not None:
        plausible(read.gpu_c, _COLDEST_C, _HOTTEST_C, "GPU temperature")
        if override is not None:
            values.append(Measurement("gpu", read.gpu_c, "°C", override))
        elif read.margin_c is not None and read.slowdown_margin_c is not None:
            for margin in (read.margin_c, read.slowdown_margin_c):
                plausible(margin, -_MOST_MARGIN_C, _MOST_MARGIN_C, "distance to the limit")
            limit = read.gpu_c + read.margin_c - read.slowdown_margin_c - 1
            values.append(at_most("gpu", read.gpu_c, "°C", limit, "slow-down of the device"))
            values += told("margin", read.margin_c, "°C")
            if read.margin_c <= read.slowdown_margin_c + _NEAR_C:
                warnings.append(f"{read.margin_c:g} °C from its limit")
        elif read.slowdown_c is not None:
            plausible(read.slowdown_c, _LEAST_LIMIT_C, _HOTTEST_C, "slow-down temperature")
            limit = read.slowdown_c - 1
            values.append(at_most("gpu", read.gpu_c, "°C", limit, "slow-down of the device"))
            steady = min(read.gpu_max_c or read.slowdown_c, read.slowdown_c - _NEAR_C)
            if read.gpu_c > steady:
                warnings.append(f"GPU above {steady:g} °C")
        else:
            source = "fixed limit: the device tells none"
            values.append(at_most("gpu", read.gpu_c, "°C", _FAIL_C - 1, source))
            if read.gpu_c > _WARN_C:
                warnings.append(f"GPU above {_WARN_C:g} °C")
    if read.memory_c is not None:
        values.append(_memory(context, read, warnings))
    return values, warnings


def _memory(context: Context, read: Temperatures, warnings: list[str]) -> Measurement:
    here = plausible(read.memory_c or 0.0, _COLDEST_C, _HOTTEST_C, "memory temperature")
    override = override_for(context, "gpu-temperature", "memory", bound=Bound.AT_MOST)
    if override is not None:
        return Measurement("memory", here, "°C", override)
    if read.memory_max_c is not None:
        plausible(read.memory_max_c, _LEAST_LIMIT_C, _HOTTEST_C, "highest memory temperature")
        if here > read.memory_max_c - _NEAR_C:
            warnings.append(f"memory near its {read.memory_max_c:g} °C")
        return at_most("memory", here, "°C", read.memory_max_c, "highest of the device")
    if here >= _MEMORY_WARN_C:
        warnings.append(f"memory at {_MEMORY_WARN_C:g} °C or above: it may slow down unseen")
    return at_most("memory", here, "°C", _MEMORY_FAIL_C, "JEDEC JESD238 (HBM3)")
