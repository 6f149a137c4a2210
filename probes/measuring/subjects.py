"""Which GPUs can be measured now?

Invariant: a GPU that is not measured has a finding that says why. It is a skip: a busy GPU is well
enough to work, a lost one is accused by ``gpu-count``, one that is cut into MIG instances has no
whole to be measured, and a virtual one (vGPU) shares its hardware with other machines.
"""

from __future__ import annotations

from dataclasses import dataclass

from probes.backends.base import Gpu
from probes.check import Context, Finding, Outcome
from probes.each_gpu import all_gpus
from probes.errors import GpuLost


@dataclass(frozen=True, slots=True)
class Subjects:
    """GPUs that can be measured, and why the others cannot."""

    ready: tuple[Gpu, ...]
    findings: tuple[Finding, ...]


def subjects(context: Context) -> Subjects:
    """Ask the backend. Raises Skipped on a node without GPUs or driver, BackendError."""
    ready: list[Gpu] = []
    findings: list[Finding] = []
    for gpu in all_gpus(context):
        reason, busy = _why_not(context, gpu)
        if reason:
            findings.append(Finding(Outcome.SKIP, reason, gpu.device, busy=busy))
        else:
            ready.append(gpu)
    return Subjects(tuple(ready), tuple(findings))


def _why_not(context: Context, gpu: Gpu) -> tuple[str, bool | None]:
    if gpu.mig:
        return "the GPU is in MIG mode: it cannot be measured as a whole", None
    if gpu.vgpu:
        return "a virtual GPU: its speed depends on who else uses the hardware", None
    try:
        if context.backend.busy(gpu):
            return "the GPU is busy", True
    except GpuLost as error:
        return f"not measured: {error}", None
    return "", False
