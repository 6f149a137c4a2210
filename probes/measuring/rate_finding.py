"""What is found on a GPU whose rates were measured and judged?

Invariants:
- A rate that was not measured is a skip where the program says why, else an error.
- A rate without a limit (unknown hardware that is still being learned) makes a skip, unless the
  program verified its results: then those are what passes.
- A program that has to verify, and verified nothing, is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from probes.backends.base import Gpu
from probes.check import Context, Finding, Measurement, Outcome, Threshold
from probes.errors import BackendError
from probes.thresholds.judge import Judgement
from probes.tools.cuda_json import CudaGpu

#: The worst first. A skip is worse than a warning: what was not judged is not known.
_WORST = (
    Outcome.FAIL,
    Outcome.TIMEOUT,
    Outcome.ERROR,
    Outcome.SKIP,
    Outcome.WARN,
    Outcome.PASS,
)


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is judged. One that stands for several pairs has them as ``parts``, by the
    device at the other end: one that is too low alone is worth a warning, and accuses nobody."""

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


def finding_of(
    context: Context,
    gpu: Gpu,
    answer: CudaGpu,
    values: Mapping[str, Value | None],
    judged: Mapping[str, Judgement],
    *,
    blamed: frozenset[str],
    told: Iterable[str],
    verified: bool,
    tries: int,
) -> Finding:
    """The one finding of a GPU. ``blamed``: devices that are too slow themselves, so that a slow
    pair with one of them says nothing about this GPU."""
    outcome, texts = _rates(answer, values, judged, blamed)
    if verified:
        outcome, texts = _verified(outcome, texts, answer, whole=len(judged) == len(values))
    busy = False
    if outcome is Outcome.FAIL:
        texts.append("measured once" if tries == 1 else f"the best of {tries} runs")
        busy = _busy(context, gpu)
        if busy:
            outcome = Outcome.SKIP
            texts.insert(0, "the GPU became busy while it was measured")
    extra = [result for name in told if (result := answer.result(name)) is not None]
    return Finding(
        outcome,
        "; ".join(texts),
        gpu.device,
        (
            *(judgement.measurement for judgement in judged.values()),
            *(Measurement(result.name, result.value, result.unit) for result in extra),
        ),
        busy=busy,
        under_load=True,
        detail={"uuid": gpu.uuid, **({"numa": "not bound"} if answer.bound is False else {})},
    )


def worst_of(judgements: Iterable[Judgement]) -> Outcome:
    """The worst outcome; a pass when there is none."""
    return _worst(*(judgement.outcome for judgement in judgements))


def _worst(*outcomes: Outcome) -> Outcome:
    return min(outcomes, key=_WORST.index, default=Outcome.PASS)


def _rates(
    answer: CudaGpu,
    values: Mapping[str, Value | None],
    judged: Mapping[str, Judgement],
    blamed: frozenset[str],
) -> tuple[Outcome, list[str]]:
    outcome, texts = worst_of(judged.values()), []
    # The worst first: a message is cut at its end.
    ranked = sorted(judged, key=lambda name: _WORST.index(judged[name].outcome))
    for name in (*ranked, *(name for name in values if name not in judged)):
        value = values[name]
        if value is not None:
            texts.append(judged[name].message)
            limit = judged[name].measurement.threshold
            slow = _slow_parts(value, limit, blamed)
            if slow:
                outcome = _worst(outcome, Outcome.WARN)
                texts.append(slow)
            continue
        why = next((text for text in answer.skipped if text.startswith(name)), "")
        outcome = _worst(outcome, Outcome.SKIP if why else Outcome.ERROR)
        texts.append(f"{name} was not measured" + (f" ({why})" if why else ""))
    return outcome, texts


def _slow_parts(value: Value, limit: Threshold | None, blamed: frozenset[str]) -> str:
    rates = {peer: rate for peer, rate in value.parts.items() if peer not in blamed}
    slow = [peer for peer, rate in rates.items() if limit is not None and rate < limit.value]
    if not slow:
        return ""
    worst = min(slow, key=lambda peer: (rates[peer], peer))
    return f"{len(slow)} of {len(rates)} pairs are slow: {rates[worst]:.4g} with {worst}"


def _verified(
    outcome: Outcome, texts: list[str], answer: CudaGpu, *, whole: bool
) -> tuple[Outcome, list[str]]:
    counts = [f"{result.name} {result.count}" for result in answer.results if result.count]
    if not counts:
        return _worst(outcome, Outcome.ERROR), ["no result was verified", *texts]
    if outcome is Outcome.SKIP and whole:
        outcome = Outcome.PASS
    return outcome, [*texts, f"all results right (times verified: {', '.join(counts)})"]


def _busy(context: Context, gpu: Gpu) -> bool:
    try:
        return context.backend.busy(gpu)
    except BackendError:
        return False
