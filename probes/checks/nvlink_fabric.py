"""Has each GPU joined its NVLink fabric, and is the fabric whole?

NVML's fabric state (Hopper and later behind NVSwitches). Until it is completed CUDA does not start
there (error 802): fatal after five minutes (a start takes seconds to minutes; the fabric manager
may come up last), by reboot, which starts the fabric manager too. A completed fabric with an error,
or with a problem in its health mask (degraded bandwidth, unhealthy route, access time-outs, a wrong
configuration), is degraded.

A GPU that has never joined is accused on a whole board only (see nvlink-state), or behind switches
of several nodes. One GPU of a board in a virtual machine, or a part of a board, may have no fabric
to join: a warning, for as long as this GPU has not joined on this node. A GPU that its
administrator has taken from all partitions ("no partition") warns too. A partitioned (MIG) GPU uses
no NVLink, and a GPU alone on its node joins none: a skip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.backends.base import Gpu
from probes.backends.readings import FabricState
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import boot_clock
from probes.each_gpu import each_gpu, equal, not_supported, of, option_number
from probes.errors import Skipped
from probes.measuring.board import is_whole
from probes.thresholds.hardware import shipped

_KEY = "waiting"
#: So long may a GPU take to join, in seconds. Option ``join_s``.
JOIN_S = 300.0
#: It passes, or somebody wants it so (NMX and the fabric manager assign partitions).
_NO_FAULT = frozenset({"route recovery in progress", "no partition"})
_JOINED_KEY = "joined"
_MOST_KEPT = 64


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
        context.keep[_KEY] = {}
        context.keep[_JOINED_KEY] = _known(context)
        try:
            yield from each_gpu(context, lambda gpu: [_look(context, gpu, self._clock())])
        except Skipped as reason:  # told, not raised: a wait does not go on over it
            yield Finding(Outcome.SKIP, str(reason))


def _look(context: Context, gpu: Gpu, now_s: float) -> Finding:
    fabric = context.backend.fabric(gpu)
    joined = _joined(context, gpu, fabric is not None and fabric.state is FabricState.COMPLETED)
    if fabric is None or (gpu.mig and fabric.state is not FabricState.COMPLETED):
        return not_supported(gpu, "NVLink fabric")
    values = [equal("state", fabric.state.value, "", FabricState.COMPLETED.value, "NVML")]
    if fabric.state is not FabricState.COMPLETED:
        waited = now_s - _since(context, gpu, now_s)
        state = fabric.state.name.lower().replace("_", " ")
        message = f"fabric: {state}, for {waited:.0f} s"
        if waited >= option_number(context, "join_s", JOIN_S):
            if not joined and not _has_to_join(context, gpu):
                message = f"{message}; part of a board, which may have no fabric to join"
                return of(gpu, Outcome.WARN, message, values)
            return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="reboot")
        return of(gpu, Outcome.WARN, f"{message}: still starting", values)
    if fabric.status:
        message = f"fabric: {fabric.status}"
        return of(gpu, Outcome.FAIL, message, values, severity="fatal", remedy="reboot")
    lasting = [each for each in fabric.problems if each not in _NO_FAULT]
    if lasting:
        return of(gpu, Outcome.FAIL, f"fabric: {', '.join(lasting)}", values)
    if fabric.problems:
        return of(gpu, Outcome.WARN, f"fabric: {', '.join(fabric.problems)}", values)
    return of(gpu, Outcome.PASS, "fabric: joined", values)


def _has_to_join(context: Context, gpu: Gpu) -> bool:
    """Whether there is a fabric that a GPU is to join, whatever it says itself."""
    model = shipped().model_of(gpu.pci_id, gpu.name)
    gpus = context.backend.gpus()
    several_nodes = model is not None and model.form == "module" and len(gpus) > 1
    lends = any(each.lent for each in context.backend.pci_gpus())
    return is_whole(context.backend, model, len(gpus)) or (several_nodes and not lends)


def _joined(context: Context, gpu: Gpu, now: bool) -> bool:
    """Whether it has ever joined on this node: of all boots."""
    known = _known(context)
    kept = context.keep.setdefault(_JOINED_KEY, known)
    if now and isinstance(kept, list) and gpu.uuid not in kept:
        kept.append(gpu.uuid)
    return now or gpu.uuid in known


def _known(context: Context) -> list[str]:
    before = context.before.get(_JOINED_KEY)
    known = [each for each in before if isinstance(each, str)] if isinstance(before, list) else []
    return known[-_MOST_KEPT:]


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
