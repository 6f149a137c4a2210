"""What is a value judged by on this hardware? Override, else published limit, else baseline.

Order, first that is there:

1. The controller's override for "check/measurement" (``NodeFacts.thresholds``), validated. 0 says
   that the value is only told.
2. A published limit for this hardware (``hardware.json``); of several, the one that asks for most.
3. The GPU's own learned baseline (``probes.thresholds.baseline``); it says so in its source.

None: nothing to judge by yet. Such a value is told, and is no pass of anything.
"""

from __future__ import annotations

import math

from parsers.printable import printable
from probes.backends.base import Gpu
from probes.check import Bound, Context, Threshold
from probes.errors import CheckError
from probes.thresholds import baseline
from probes.thresholds.facts import Facts, facts_of
from probes.thresholds.hardware import Hardware, shipped

#: Longest source of a threshold, in characters (``probes.report.Limit``).
SOURCE_LIMIT = 128
#: Of a specified peak. What measures more is no measurement.
_ABOVE_PEAK = 1.05
#: NVLink SHARP adds inside the switch, so that the bus bandwidth of a collective exceeds the links
#: (480 GB/s measured over 450, nccl-tests#212).
_COLLECTIVE_ABOVE_PEAK = 1.25


def limit_for(
    context: Context,
    gpu: Gpu,
    check: str,
    measurement: str,
    unit: str,
    hardware: Hardware | None = None,
) -> Threshold | None:
    """What ``measurement`` of ``check`` has to reach on this GPU, in ``unit``.

    Raises CheckError for an override that cannot be, or a limit in another unit; BackendError when
    the hardware cannot be asked.
    """
    hardware = hardware or shipped()
    facts = facts_of(context.backend, gpu, hardware)
    override = override_for(context, check, measurement, peak(facts, hardware, check, measurement))
    if override is not None:
        return override if override.value > 0 else None
    return published(facts, hardware, check, measurement, unit) or baseline.limit_of(
        context, gpu, measurement
    )


def override_for(
    context: Context,
    check: str,
    measurement: str,
    most: float | None = None,
    bound: Bound = Bound.AT_LEAST,
) -> Threshold | None:
    """The controller's own threshold, or None. Raises CheckError when it cannot be meant."""
    key = f"{check}/{measurement}"
    value = context.node.thresholds.get(key)
    if value is None:
        return None
    if not math.isfinite(value) or value < 0:
        raise CheckError(f"threshold {key} = {value}: it has to be a number of at least 0")
    if most is not None and value > most:
        raise CheckError(
            f"threshold {key} = {value:g}: no such hardware reaches more than {most:g}; "
            "is it in another unit?"
        )
    return Threshold(value, bound, f"override {key}")


def published(
    facts: Facts, hardware: Hardware, check: str, measurement: str, unit: str
) -> Threshold | None:
    """The limit of the data file for these facts. Raises CheckError for another unit."""
    conditions = facts.conditions()
    found = [
        limit
        for limit in hardware.limits
        if limit.check == check and limit.measurement == measurement and limit.holds(conditions)
    ]
    if not found:
        return None
    best = max(found, key=lambda limit: len(limit.when))
    if best.unit != unit:
        raise CheckError(
            f"{check}/{measurement} is measured in {unit}, its limit is in {best.unit}"
        )
    derived = "derived: " if best.derived else ""
    source = printable(f"{facts.words()} ({derived}{best.source})", SOURCE_LIMIT)
    return Threshold(best.at_least, Bound.AT_LEAST, source)


def peak(facts: Facts, hardware: Hardware, check: str, measurement: str) -> float | None:
    """The highest value that can be true, from the specification; None where it does not tell.
    In the unit of the measurement: GB/s, for ``dgemm`` and ``dgemm_own`` TFLOPS."""
    model = facts.model
    if check == "pcie-bandwidth":
        one_way = hardware.pcie.get(facts.pcie_generation or 0)
        if one_way is None or not facts.pcie_width:
            return None
        both = 2 if measurement == "bidirectional" else 1
        return one_way * both * facts.pcie_width / 16 * _ABOVE_PEAK
    if model is None:
        return None
    if (check, measurement) in {("hbm-bandwidth", "hbm"), ("gpu-arithmetic", "daxpy")}:
        return model.memory_gb_s * _ABOVE_PEAK
    if (check, measurement) in {("gpu-arithmetic", "dgemm"), ("gpu-arithmetic", "dgemm_own")}:
        return model.fp64_tflops * _ABOVE_PEAK
    links = model.nvlinks * model.nvlink_gb_s
    if check in {"p2p-bandwidth", "nvlink-bandwidth"} and facts.fabric != "pcie" and links:
        return links * _COLLECTIVE_ABOVE_PEAK
    if check == "nccl-node" and facts.fabric != "pcie" and links:
        return links * _COLLECTIVE_ABOVE_PEAK
    return None
