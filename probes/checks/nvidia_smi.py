"""Can nvidia-smi reach each GPU and read its values?

People and scripts on the node use it, and it says things that no single reading says: a GPU whose
handle it cannot get, "ERR!" in place of a value, "GPU requires reset". Autopilot asks it before all
else.

Rules: a GPU that it cannot reach is fatal (reboot); one that requires a reset is fatal (reset_gpu);
other values that cannot be read are degraded. A driver that does not answer is an error here, and a
fault of ``driver``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import all_gpus
from probes.errors import CheckError
from probes.tools.nvidia_smi import SmiGpu, SmiQuery, parse_query
from probes.tools.programs import run_program

_MARGIN_S = 5.0
#: Values that a message names.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class NvidiaSmi:
    """The check."""

    spec: CheckSpec

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each GPU."""
        known = {gpu.device for gpu in all_gpus(context)}
        query = parse_query(
            run_program(context, "nvidia-smi", ("-q",), deadline_s=self.spec.deadline_s - _MARGIN_S)
        )
        lost = dict(query.lost)
        for device, words in lost.items():
            yield Finding(Outcome.FAIL, words, device, severity="fatal", remedy="reboot")
        for gpu in query.gpus:
            if gpu.device not in lost:
                yield _finding(gpu)
        for device in sorted(known - lost.keys() - {gpu.device for gpu in query.gpus}):
            yield _missing(device, query)


def _finding(gpu: SmiGpu) -> Finding:
    if not gpu.whole:
        raise CheckError(f"nvidia-smi: what it tells of {gpu.device} is cut off")
    broken = gpu.broken()
    if not broken:
        return Finding(Outcome.PASS, f"{len(gpu.values)} values, all can be read", gpu.device)
    text = " ".join(gpu.values.values()).lower()
    fatal, remedy = "gpu requires reset" in text or "gpu is lost" in text, "inspect"
    if fatal:
        remedy = "reboot" if "gpu is lost" in text else "reset_gpu"
    shown = ", ".join(broken[:_SHOWN])
    return Finding(
        Outcome.FAIL,
        f"{len(broken)} values cannot be read: {shown}"
        + ("; it requires a reset" if remedy == "reset_gpu" else ""),
        gpu.device,
        severity="fatal" if fatal else "degraded",
        remedy=remedy,
    )


def _missing(device: str, query: SmiQuery) -> Finding:
    """The driver has it, nvidia-smi not. After a lost one older versions tell of no others."""
    if query.lost:
        return Finding(Outcome.SKIP, "nvidia-smi stopped at a GPU that it cannot reach", device)
    text = "nvidia-smi does not list this GPU"
    return Finding(Outcome.FAIL, text, device, severity="fatal", remedy="reboot")


CHECK = NvidiaSmi(
    CheckSpec(
        name="nvidia-smi",
        title="Can nvidia-smi reach each GPU and read its values?",
        tier=Tier.LIGHT,
        cadence=Cadence.HOURLY,
        deadline_s=60.0,
    )
)
