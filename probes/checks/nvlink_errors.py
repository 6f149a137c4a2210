"""Do a GPU's NVLinks make errors?

Counters of all links, each as its growth since the last run of this boot (a link that was down
meanwhile is compared with nothing, since what it counted before is old):

- CRC errors matter from 100 a second on (DCGM, dcgm_gpu_hardware_limits.h): fail;
- a link recovery that failed: fail (NVLink 5);
- replays and recoveries: one warns, 15 of the last 30 runs fail (NVIDIA Resiliency Extension);
- every other error that grew warns.

Degraded, inspect: cables, connectors or the board. Counters are those of active links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from probes.backends.base import Gpu
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import Growth, boot_clock, grown, recent
from probes.each_gpu import at_most, each_gpu, not_supported, of, plausible

_CRC_PER_SECOND = 100.0
_RUNS, _MOST_RUNS = 30, 15
_CRC = ("crc_flit", "crc_data")
_RETRIES = ("replay", "recovery")


class NvLinkErrors:
    """Check ``nvlink-errors``."""

    spec = CheckSpec(
        "nvlink-errors", "Do a GPU's NVLinks make errors?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu, self._clock())])


def _look(context: Context, gpu: Gpu, now_s: float) -> Finding:
    counts: dict[str, int] = {}
    for link in context.backend.nvlinks(gpu):
        for name, count in link.errors.items():
            number = plausible(count, 0, 2.0**64, f"link {link.index} {name}")
            counts[f"{link.index}.{name}"] = int(number)
    if not counts:
        return not_supported(gpu, "NVLink error counters")
    growth = grown(context, gpu.device, counts, now_s)
    if growth is None or not growth.by:
        return of(gpu, Outcome.SKIP, "counted for the first time in this boot")
    by: Counter[str] = Counter()
    worst: Counter[str] = Counter()
    for name, count in growth.by.items():
        link_index, _, kind = name.partition(".")
        by[kind] += count
        worst[link_index] += count
    return _judge(context, gpu, Growth(growth.seconds, by), worst.most_common(1)[0][0])


def _judge(context: Context, gpu: Gpu, growth: Growth, link: str) -> Finding:
    crc = sum(growth.per_second(name) for name in _CRC)
    retried = sum(growth.by.get(name, 0) for name in _RETRIES)
    failed = growth.by.get("recovery_failed", 0)
    bad, runs = recent(context, gpu.device, retried > 0, _RUNS)
    values = [
        at_most("crc_errors", crc, "1/s", _CRC_PER_SECOND, "DCGM hardware limits"),
        at_most("runs_with_retries", bad, "count", _MOST_RUNS - 1, f"NVRx: 15 of {_RUNS} runs"),
        at_most("failed_recoveries", failed, "count", 0, "NVLink 5: the link stays down"),
    ]
    detail = {"most_errors_on_link": link}
    if crc >= _CRC_PER_SECOND:
        return of(gpu, Outcome.FAIL, f"{crc:.4g} CRC errors a second", values, detail=detail)
    if failed:
        return of(gpu, Outcome.FAIL, f"{failed} link recoveries failed", values, detail=detail)
    if bad >= _MOST_RUNS:
        message = f"links were retried in {bad} of the last {runs} runs"
        return of(gpu, Outcome.FAIL, message, values, detail=detail)
    grew = {name: count for name, count in growth.by.items() if count}
    if grew:
        words = ", ".join(f"{name} +{count}" for name, count in sorted(grew.items()))
        return of(gpu, Outcome.WARN, f"NVLink errors: {words}", values, detail=detail)
    return of(gpu, Outcome.PASS, "no NVLink errors since the last run", values)
