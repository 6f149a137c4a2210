"""What does the driver itself ask for?

NVML's recovery action, the state behind Xid 154. The driver's own word outranks what was measured:
``dcgmi health`` said healthy while it asked for a reset (NVIDIA/DCGM#263). Values and remedies are
those of Xid 154 in the fault catalog; bus reset and system reboot, which newer drivers know, ask
for more than a GPU reset: reboot. Drivers before R565 do not tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.backends.base import Gpu
from probes.backends.readings import RecoveryAction
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import each_gpu, equal, not_supported, of

#: Severity, remedy, and what it asks for.
_ACTIONS = {
    RecoveryAction.GPU_RESET: ("fatal", "reset_gpu", "a reset of the GPU"),
    RecoveryAction.NODE_REBOOT: ("fatal", "reboot", "a reboot of the node"),
    RecoveryAction.DRAIN_P2P: (
        "degraded",
        "drain_inspect",
        "no new peer-to-peer jobs, and a drain",
    ),
    RecoveryAction.DRAIN_AND_RESET: ("fatal", "drain_reset", "a drain, then a reset of the GPU"),
    RecoveryAction.RECOVER_IMEX_DOMAIN: ("degraded", "inspect", "a recovery of the IMEX domain"),
    RecoveryAction.BUS_RESET: ("fatal", "reboot", "a reset of the bus"),
    RecoveryAction.SYSTEM_REBOOT: ("fatal", "reboot", "a reboot of the system"),
}


class GpuRecoveryAction:
    """Check ``gpu-recovery-action``."""

    spec = CheckSpec(
        "gpu-recovery-action", "What does the driver itself ask for?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu)])


def _look(context: Context, gpu: Gpu) -> Finding:
    action = context.backend.recovery_action(gpu)
    if action is None:
        return not_supported(gpu, "recovery action")
    values = [equal("recovery_action", action.value, "", 0, "the driver's own word")]
    if action is RecoveryAction.NONE:
        return of(gpu, Outcome.PASS, "the driver asks for nothing", values)
    severity, remedy, words = _ACTIONS[action]
    message = f"the driver asks for {words}"
    return of(gpu, Outcome.FAIL, message, values, severity=severity, remedy=remedy)
