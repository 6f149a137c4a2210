"""Does the memory of each GPU keep what is written to it? Address, walking bits, moving inversions,
noise (``memtest``, docs/reference/cuda-programs.md).

One wrong word is fatal: ECC should have corrected it or told of it. A GPU of which less than half
was tested (somebody holds the memory) has not been tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from probes.backends.base import Gpu
from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Context,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
)
from probes.measuring.cuda_run import run_cuda
from probes.measuring.subjects import subjects
from probes.tools.cuda_json import CudaGpu

PATTERNS = ("address", "walking", "inversions", "random")
#: Less of the memory than this says nothing about the GPU.
LEAST_SHARE = 0.5

_MARGIN_S = 5.0
_NONE_WRONG = Threshold(0, Bound.AT_MOST, "each word is compared with what was written")
_TESTED = Threshold(100 * LEAST_SHARE, Bound.AT_LEAST, "less says nothing about the GPU")


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """The check."""

    spec: CheckSpec
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each GPU."""
        end = self.monotonic() + self.spec.deadline_s - _MARGIN_S
        who = subjects(context)
        yield from who.findings
        if not who.ready:
            return
        arguments = ("--seconds", "500", "--grace", "30")
        answers = run_cuda(
            context, "memtest", arguments, who.ready, deadline_s=end - self.monotonic()
        )
        yield from answers.findings
        for gpu, answer in answers.gpus.items():
            yield _finding(gpu, answer)


def _finding(gpu: Gpu, answer: CudaGpu) -> Finding:
    tested, total = answer.result("memory_tested"), answer.result("memory_total")
    missing = [p for p in PATTERNS if not ((r := answer.result(p)) and r.count)]
    if tested is None or total is None or total.value <= 0 or missing:
        what = ", ".join(missing) or "how much was tested"
        return Finding(Outcome.ERROR, f"memtest does not tell: {what}", gpu.device, busy=False)
    share = tested.value / total.value
    measurements = (
        Measurement("errors", 0, "count", _NONE_WRONG),
        Measurement("tested", 100 * share, "%", _TESTED),
    )
    text = f"{tested.value / 2**30:.1f} of {total.value / 2**30:.1f} GiB ({share:.0%})"
    outcome, message = Outcome.PASS, f"no wrong word in {text}: {', '.join(PATTERNS)}"
    if share > 1:
        outcome, message = Outcome.ERROR, f"memtest tested more than there is: {text}"
    elif share < LEAST_SHARE:
        outcome, message = Outcome.SKIP, f"too little memory was free to test: {text}"
    return Finding(
        outcome,
        message,
        gpu.device,
        measurements,
        busy=False,
        under_load=True,
        detail={"uuid": gpu.uuid},
    )


CHECK = GpuMemory(
    CheckSpec(
        name="gpu-memory",
        title="Does the memory of each GPU keep what is written to it?",
        tier=Tier.INVASIVE,
        cadence=Cadence.INVASIVE,
        deadline_s=600.0,
        needs_idle_gpus=True,
    )
)
