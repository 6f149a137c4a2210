"""Has each GPU joined its NVLink fabric, and is the fabric whole?

NVML's fabric state (Hopper and later behind NVSwitches). Until it is completed CUDA does not start
there (error 802): fatal after five minutes (a start takes seconds to minutes; the fabric manager
may come up last), by reboot, which starts the fabric manager too. A completed fabric with an error,
or with a problem in its health mask (degraded bandwidth, unhealthy route, access time-outs, a wrong
configuration), is degraded. A GPU alone on its node joins none: not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.backends.base import Gpu
from probes.backends.readings import FabricState
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import boot_clock
from probes.each_gpu import each_gpu, equal, not_supported, of, option_number

_KEY = "waiting"
#: So long may a GPU take to join, in seconds. Option ``join_s``.
JOIN_S = 300.0
_PASSING = "route recovery in progress"


class NvLinkFabric:
    """Check ``nvlink-fabric``."""

    spec = CheckSpec(
        "nvlink-fabric", "Has each GPU joined its NVLink fabric, and is it whole?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu, self._clock())])


def _look(context: Context, gpu: Gpu, now_s: float) -> Finding:
    fabric = context.backend.fabric(gpu)
    if fabric is None:
        return not_supported(gpu, "NVLink fabric")
    values = [equal("state", fabric.state.value, "", FabricState.COMPLETED.value, "NVML")]
    if fabric.state is not FabricState.COMPLETED:
        waited = now_s - _since(context, gpu, now_s)
        state = fabric.state.name.lower().replace("_", " ")
        message = f"fabric: {state}, for {waited:.0f} s"
        if waited >= option_number(context, "join_s", JOIN_S):
            return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="reboot")
        return of(gpu, Outcome.WARN, f"{message}: still starting", values)
    if fabric.status:
        message = f"fabric: {fabric.status}"
        return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="reboot")
    lasting = [each for each in fabric.problems if each != _PASSING]
    if lasting:
        return of(gpu, Outcome.FAIL, f"fabric: {', '.join(lasting)}", values)
    if fabric.problems:
        return of(gpu, Outcome.WARN, f"fabric: {_PASSING}", values)
    return of(gpu, Outcome.PASS, "fabric: joined", values)


def _since(context: Context, gpu: Gpu, now_s: float) -> float:
    """When it was first seen not joined, in this boot."""
    before = context.before.get(_KEY)
    mine = before.get(gpu.uuid) if isinstance(before, dict) else None
    since = now_s
    if isinstance(mine, dict) and mine.get("boot") == context.boot_id:
        at_s = mine.get("at_s")
        since = min(float(at_s), now_s) if isinstance(at_s, int | float) else now_s
    kept = context.keep.setdefault(_KEY, {})
    if isinstance(kept, dict):
        kept[gpu.uuid] = {"boot": context.boot_id, "at_s": since}
    return since
