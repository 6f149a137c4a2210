"""Are all NVSwitches there, and does the fabric manager run that they need?

NVSwitches up to Hopper are PCI devices; fewer than a board of eight GPUs has, or than there were
since this boot, is fatal. Where there are switches the process ``nv-fabricmanager`` has to run:
without it no job starts that uses NVLink (degraded: jobs that run go on; by reboot). It may take
five minutes: it ends and starts with the driver, and during its upgrade.

Not judged: a virtual machine that sees no switch; NVLink 5, whose switches are not on the bus
(nvlink-fabric tells there); switches or GPUs that are given to virtual machines, since the fabric
manager then runs in one, or shares the board; and a node on which all GPUs are partitioned (MIG),
which use no NVLink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import boot_clock, lasts
from probes.each_gpu import all_gpus, at_least, option_number, settled
from probes.errors import Skipped
from probes.thresholds.hardware import shipped

_KEY = "most"
_DOWN_KEY = "down"
#: So long may the fabric manager take to run, in seconds. Option ``start_s``.
START_S = 300.0
_BOARD = 8


class FabricManager:
    """Check ``fabric-manager``."""

    spec = CheckSpec(
        "fabric-manager", "Are all NVSwitches there, and does the fabric manager run?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """Findings of the node."""
        there = context.backend.nvswitches()
        if any(each.lent for each in (*there, *context.backend.pci_gpus())):
            raise Skipped("switches or GPUs are given to virtual machines")
        switches = len(there)
        most = max(switches, _most_before(context))
        context.keep[_KEY] = {"boot": context.boot_id, "switches": most}
        if not most:
            raise Skipped("no NVSwitch on the PCI bus")
        try:
            gpus = all_gpus(context)
        except Skipped as reason:  # told, not raised: then nothing lasts over it
            yield Finding(Outcome.SKIP, str(reason))
            return
        model = shipped().model_of(gpus[0].pci_id, gpus[0].name)
        board = model.nvswitches * (len(gpus) // _BOARD) if model is not None else 0
        wanted, source = most, "seen since boot"
        if model is not None and board >= most:
            wanted, source = board, model.title
        values = (at_least("nvswitches", switches, "count", wanted, source),)
        words = f"{switches} of {wanted} NVSwitches"
        if switches < wanted:
            yield Finding(
                Outcome.FAIL, f"{words} ({source})", measurements=values,
                severity="fatal", remedy="reboot",
            )  # fmt: skip
            return
        runs = settled(context, context.backend.fabric_manager, lambda now: now is False)
        if runs is None:
            yield Finding(
                Outcome.SKIP, f"{words}; the node's processes cannot be seen from here",
                measurements=values,
            )  # fmt: skip
        elif runs:
            yield Finding(Outcome.PASS, f"{words}, fabric manager runs", measurements=values)
        elif all(gpu.mig for gpu in gpus):
            message = f"{words}; all GPUs are partitioned (MIG) and need no fabric manager"
            yield Finding(Outcome.SKIP, message, measurements=values)
        elif lasts(context, _DOWN_KEY, self._clock()) < option_number(context, "start_s", START_S):
            message = f"{words}, but nv-fabricmanager does not run: still starting"
            yield Finding(Outcome.WARN, message, measurements=values)
        else:
            message = f"{words}, but nv-fabricmanager does not run"
            yield Finding(Outcome.FAIL, message, measurements=values, remedy="reboot")


def _most_before(context: Context) -> int:
    kept = context.before.get(_KEY)
    if not isinstance(kept, dict) or kept.get("boot") != context.boot_id:
        return 0
    switches = kept.get("switches")
    return switches if isinstance(switches, int) else 0
