"""Are all NVSwitches there, and does the fabric manager run that they need?

NVSwitches up to Hopper are PCI devices; fewer than a board of eight GPUs has, or than there were
since this boot, is fatal. Where there are switches the process ``nv-fabricmanager`` has to run:
without it no job starts that uses NVLink (degraded: jobs that run go on; by reboot). A virtual
machine that sees no switch, and NVLink 5, whose switches are not on the bus, are not judged here:
nvlink-fabric tells there.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import all_gpus, at_least, settled
from probes.errors import Skipped
from probes.thresholds.hardware import shipped

_KEY = "most"
_BOARD = 8


class FabricManager:
    """Check ``fabric-manager``."""

    spec = CheckSpec(
        "fabric-manager", "Are all NVSwitches there, and does the fabric manager run?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """Findings of the node."""
        switches = len(context.backend.nvswitches())
        most = max(switches, _most_before(context))
        context.keep[_KEY] = {"boot": context.boot_id, "switches": most}
        if not most:
            raise Skipped("no NVSwitch on the PCI bus")
        gpus = all_gpus(context)
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
        elif not runs:
            message = f"{words}, but nv-fabricmanager does not run"
            yield Finding(Outcome.FAIL, message, measurements=values, remedy="reboot")
        else:
            yield Finding(Outcome.PASS, f"{words}, fabric manager runs", measurements=values)


def _most_before(context: Context) -> int:
    kept = context.before.get(_KEY)
    if not isinstance(kept, dict) or kept.get("boot") != context.boot_id:
        return 0
    switches = kept.get("switches")
    return switches if isinstance(switches, int) else 0
