"""How is a question put to each GPU of a node? One finding or more of each, none of them forgotten.

Invariants:
- No driver, or no GPU: the check is skipped. Checks ``driver`` and ``gpu-count`` tell of those, so
  that one fault is not told by all.
- A GPU that is lost, and one that cannot be read, do not keep the others from being measured.
- Each finding names the device, and in ``detail`` its UUID and serial number.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from probes.backends.base import Gpu
from probes.check import Bound, Context, Finding, Measurement, Outcome, Threshold
from probes.errors import BackendMissing, CheckError, GpuLost, Skipped

T = TypeVar("T")

#: So often is a state looked at before it counts as lasting.
LOOKS = 3
#: Option of each check that looks again: seconds between looks.
LOOK_AGAIN_OPTION = "again_s"
LOOK_AGAIN_S = 1.0


def each_gpu(context: Context, look: Callable[[Gpu], Iterable[Finding]]) -> Iterator[Finding]:
    """What ``look`` finds on each GPU. Raises Skipped, and BackendError when GPUs cannot be
    listed."""
    for gpu in all_gpus(context):
        try:
            yield from look(gpu)
        except GpuLost as error:
            yield of(gpu, Outcome.SKIP, f"{error}; gpu-count tells of it")
        except CheckError as error:
            yield of(gpu, Outcome.ERROR, str(error))


def all_gpus(context: Context) -> tuple[Gpu, ...]:
    """GPUs of the node, at least one. Raises Skipped, BackendError."""
    try:
        gpus = context.backend.gpus()
    except BackendMissing as error:
        raise Skipped(f"no driver to ask ({error}); driver tells of it") from error
    if not gpus:
        raise Skipped("no GPU that the driver knows")
    return gpus


def of(
    gpu: Gpu,
    outcome: Outcome,
    message: str,
    measurements: Iterable[Measurement] = (),
    *,
    severity: str = "degraded",
    remedy: str = "inspect",
    busy: bool | None = None,
    detail: Mapping[str, str] | None = None,
) -> Finding:
    """A finding of a GPU. Severity and remedy are those of a fail."""
    return Finding(
        outcome,
        f"GPU {gpu.index}: {message}",
        gpu.device,
        tuple(measurements),
        severity=severity,
        remedy=remedy,
        busy=busy,
        detail={"uuid": gpu.uuid, "serial": gpu.serial, **(detail or {})},
    )


def not_supported(gpu: Gpu, what: str) -> Finding:
    """A skip, with the reason."""
    why = "a partitioned (MIG) GPU" if gpu.mig else "this GPU, driver or backend"
    return of(gpu, Outcome.SKIP, f"{what}: not supported by {why}")


def settled(context: Context, read: Callable[[], T], bad: Callable[[T], bool]) -> T:
    """A reading that is bad three times in a row, or the first good one: a state of a moment is
    no fault. The time between looks is the option ``again_s``, in seconds."""
    wait_s = option_number(context, LOOK_AGAIN_OPTION, LOOK_AGAIN_S)
    reading = read()
    for _ in range(LOOKS - 1):
        if not bad(reading):
            break
        threading.Event().wait(wait_s)
        reading = read()
    return reading


def option_number(context: Context, name: str, usual: float) -> float:
    """An option that is a number of at least 0. Raises CheckError."""
    text = context.options.get(name)
    if text is None:
        return usual
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise CheckError(f"option {name}={text!r}: it has to be a number of at least 0")
    return number


def told(name: str, value: float | None, unit: str) -> list[Measurement]:
    """A measurement without a threshold; none where the value is not supported."""
    return [] if value is None else [Measurement(name, float(value), unit)]


def at_most(name: str, value: float, unit: str, limit: float, source: str) -> Measurement:
    """A measurement that is good up to its limit."""
    return Measurement(name, float(value), unit, Threshold(limit, Bound.AT_MOST, source))


def at_least(name: str, value: float, unit: str, limit: float, source: str) -> Measurement:
    """A measurement that is good from its limit on."""
    return Measurement(name, float(value), unit, Threshold(limit, Bound.AT_LEAST, source))


def equal(name: str, value: float, unit: str, wanted: float, source: str) -> Measurement:
    """A measurement that has to be just so."""
    return Measurement(name, float(value), unit, Threshold(wanted, Bound.EQUAL, source))


def is_good(measurement: Measurement) -> bool:
    """Whether a value keeps its threshold; without one there is nothing to break."""
    limit = measurement.threshold
    if limit is None:
        return True
    if limit.bound is Bound.AT_LEAST:
        return measurement.value >= limit.value
    if limit.bound is Bound.AT_MOST:
        return measurement.value <= limit.value
    return measurement.value == limit.value


def plausible(value: float, low: float, high: float, what: str) -> float:
    """``value``, which has to be within what can be. Raises CheckError."""
    if not math.isfinite(value) or not low <= value <= high:
        raise CheckError(f"{what} is {value:g}: that cannot be")
    return float(value)
