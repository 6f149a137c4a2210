"""Are the rates that a CUDA program measures good enough, on each GPU?

Invariants:
- A rate that is too low is measured again before it fails: it has to be too low each time. The best
  of all runs counts. Bandwidths flutter (Azure/azurehpc#690, #628).
- A GPU that somebody began to use meanwhile is not accused.
- A GPU passes when each of its rates is measured, judged and good (``rate_finding``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from probes.backends.base import Gpu
from probes.check import CheckSpec, Context, Finding, Outcome
from probes.errors import CheckError, Skipped
from probes.measuring.cuda_run import run_cuda
from probes.measuring.rate_finding import Value, finding_of, worst_of
from probes.measuring.subjects import subjects
from probes.thresholds.judge import Judgement, judge
from probes.tools.cuda_json import CudaGpu

#: Time that is left to the check itself, seconds.
_MARGIN_S = 5.0
_MOST_TRIES = 10


@dataclass(frozen=True, slots=True)
class Rate:
    """A measurement that is judged (``probes.thresholds``)."""

    name: str
    unit: str
    of: Callable[[CudaGpu], Value | None]  # in ``unit``; None: the program has not measured it
    #: Whether an answer is to have it at all: a program may measure in one of several ways.
    applies: Callable[[CudaGpu], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class RateCheck:
    """A check of rates. ``told`` are further results that nobody judges."""

    spec: CheckSpec
    program: str
    arguments: tuple[str, ...]
    rates: tuple[Rate, ...]
    told: tuple[str, ...] = ()
    verified: bool = False  # the program compares each result with its exact value
    least_gpus: int = 1
    tries: int = 3
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each GPU."""
        end = self.monotonic() + self.spec.deadline_s - _MARGIN_S
        most = _tries(context, self.tries)
        who = subjects(context)
        if len(context.backend.gpus()) < self.least_gpus:
            raise Skipped(f"fewer than {self.least_gpus} GPUs: nothing to measure between")
        yield from who.findings
        if len(who.ready) < self.least_gpus:
            return
        answers = run_cuda(
            context, self.program, self.arguments, who.ready, deadline_s=end - self.monotonic()
        )
        yield from answers.findings
        best = {gpu: self._values(answer) for gpu, answer in answers.gpus.items()}
        tries, wrong = self._again(context, best, most, end)
        yield from wrong.values()
        best = {gpu: values for gpu, values in best.items() if gpu not in wrong}
        judged = self._judge(context, best)
        blamed = frozenset(
            gpu.device for gpu in best if worst_of(judged[gpu].values()) is Outcome.FAIL
        )
        for gpu, values in best.items():
            yield finding_of(
                context, gpu, answers.gpus[gpu], values, judged[gpu], blamed=blamed,
                told=self.told, verified=self.verified, tries=tries,
            )  # fmt: skip

    def _values(self, answer: CudaGpu) -> dict[str, Value | None]:
        return {rate.name: rate.of(answer) for rate in self.rates if rate.applies(answer)}

    def _again(
        self, context: Context, best: dict[Gpu, dict[str, Value | None]], most: int, end: float
    ) -> tuple[int, dict[Gpu, Finding]]:
        """Measure again what is too low, and keep the best. Returns how often it was measured, and
        what there is to say of GPUs whose results were wrong in a later run."""
        tries, wrong = 1, dict[Gpu, Finding]()
        while tries < most:
            # What a preliminary judgement learns is thrown away.
            judged = self._judge(replace(context, keep={}), best)
            slow = {
                gpu.device: gpu
                for gpu, judgements in judged.items()
                if gpu not in wrong and worst_of(judgements.values()) is Outcome.FAIL
            }
            if not slow:
                break
            try:
                answers = run_cuda(
                    context,
                    self.program,
                    self.arguments,
                    self._again_on(tuple(slow.values()), tuple(best)),
                    deadline_s=end - self.monotonic(),
                )
            except (CheckError, Skipped):
                break  # it was measured; there was no time, or no way, for another look
            tries += 1
            for finding in answers.findings:
                if finding.outcome is Outcome.FAIL:
                    wrong.update((gpu, finding) for gpu in best if gpu.device == finding.device)
            for gpu, answer in answers.gpus.items():
                for name, value in self._values(answer).items():
                    known = best[gpu].get(name)
                    if value is not None and (known is None or value.value > known.value):
                        best[gpu][name] = value
        return tries, wrong

    def _again_on(self, slow: tuple[Gpu, ...], all_of_them: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
        """Pairs need their partners."""
        return slow if self.least_gpus == 1 else all_of_them

    def _judge(
        self, context: Context, best: Mapping[Gpu, Mapping[str, Value | None]]
    ) -> dict[Gpu, dict[str, Judgement]]:
        judged: dict[Gpu, dict[str, Judgement]] = {gpu: {} for gpu in best}
        for rate in self.rates:
            measured = {
                gpu: value.value
                for gpu, values in best.items()
                if (value := values.get(rate.name)) is not None
            }
            results = judge(context, self.spec.name, rate.name, rate.unit, measured)
            for gpu, judgement in results.items():
                judged[gpu][rate.name] = judgement
        return judged


def result_of(name: str, scale: float = 1.0) -> Callable[[CudaGpu], Value | None]:
    """The result ``name`` of a GPU, times ``scale``."""

    def value(answer: CudaGpu) -> Value | None:
        result = answer.result(name)
        return None if result is None else Value(result.value * scale)

    return value


def by_kernel(name: str, *kernels: str) -> Callable[[CudaGpu], bool]:
    """Whether the result ``name`` is of one of these kernels; "" stands for no result at all."""

    def applies(answer: CudaGpu) -> bool:
        result = answer.result(name)
        return (result.kernel or "own" if result is not None else "") in kernels

    return applies


def _tries(context: Context, usual: int) -> int:
    text = context.options.get("tries", str(usual))
    if not text.isdecimal() or not 1 <= int(text[:4]) <= _MOST_TRIES:
        raise CheckError(f"option tries={text}: it has to be 1 to {_MOST_TRIES}")
    return int(text)
