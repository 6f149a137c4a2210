"""What did a CUDA program of ours find on each of these GPUs?

Invariants:
- Each GPU that was asked for has either an answer or a finding. One that the program does not
  speak of is an error.
- Wrong results are fatal, whatever else the program says of that GPU, and whatever its speed.
- What keeps the program from working (no driver, no memory left) is an error: it accuses no GPU,
  and ``driver`` or ``gpu-count`` do where there is something to accuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probes.backends.base import Gpu
from probes.check import Bound, Context, Finding, Measurement, Outcome, Threshold
from probes.errors import CheckError
from probes.tools.cuda_json import CudaError, CudaGpu, parse_cuda
from probes.tools.programs import run_program

#: Codes of an error that are reasons not to measure (docs/reference/cuda-programs.md).
_REASONS = frozenset({"gpu-busy", "architecture"})
_LATE = "deadline"
_NONE_WRONG = Threshold(0, Bound.AT_MOST, "each result is compared with its exact value")
#: Wrong results that a message shows.
_SHOWN = 2


@dataclass(frozen=True, slots=True)
class CudaAnswers:
    """What the program measured, by GPU, and what there is to say of the other GPUs."""

    gpus: Mapping[Gpu, CudaGpu]
    findings: tuple[Finding, ...]


def run_cuda(
    context: Context,
    program: str,
    arguments: tuple[str, ...],
    gpus: Sequence[Gpu],
    *,
    deadline_s: float,
) -> CudaAnswers:
    """Run ``program`` on ``gpus``. Raises Skipped when it is not there, ToolTimeout, CheckError."""
    devices = ",".join(gpu.device for gpu in gpus)
    output = run_program(
        context, program, ("--devices", devices, *arguments), deadline_s=deadline_s
    )
    run = parse_cuda(output, program)
    if run.error is not None and not any(gpu.wrong_total for gpu in run.gpus):
        raise CheckError(f"{program}: {_words(run.error)}")
    told = {gpu.device: gpu for gpu in run.gpus}
    answers: dict[Gpu, CudaGpu] = {}
    findings: list[Finding] = []
    for gpu in gpus:
        answer = told.get(gpu.device)
        if answer is None:
            text = f"{program} does not see this GPU"
            findings.append(Finding(Outcome.ERROR, text, gpu.device, busy=False))
        elif answer.wrong_total:
            findings.append(_wrong(program, gpu, answer))
        elif answer.error is not None:
            findings.append(_not_measured(program, gpu, answer.error))
        else:
            answers[gpu] = answer
    return CudaAnswers(answers, tuple(findings))


def _wrong(program: str, gpu: Gpu, answer: CudaGpu) -> Finding:
    shown = "; ".join(f"{wrong.test}: {wrong.text}" for wrong in answer.wrong[:_SHOWN])
    by_driver = all(wrong.kind == "device" for wrong in answer.wrong)
    return Finding(
        Outcome.FAIL,
        f"{answer.wrong_total} wrong results of {program}: {shown}",
        gpu.device,
        (Measurement("errors", answer.wrong_total, "count", _NONE_WRONG),),
        severity="fatal",
        # What the driver itself calls a failure of the hardware ends with a reset; silent ones do
        # not.
        remedy="reset_gpu" if by_driver else "inspect",
        busy=False,
        under_load=True,
        detail={"uuid": gpu.uuid},
    )


def _not_measured(program: str, gpu: Gpu, error: CudaError) -> Finding:
    outcome = Outcome.ERROR
    if error.code in _REASONS:
        outcome = Outcome.SKIP
    elif error.code == _LATE:
        outcome = Outcome.TIMEOUT
    busy = error.code == "gpu-busy"
    return Finding(outcome, f"{program}: {_words(error)}", gpu.device, busy=busy)


def _words(error: CudaError) -> str:
    hint = f" ({error.hint})" if error.hint else ""
    return f"{error.code}: {error.message}{hint}"
