"""Is an all-reduce right, and fast enough?

Invariants:
- Wrong sums are fatal, whatever the bandwidth. A run that was not verified passes nothing.
- A collective names no GPU: the finding is of the node.
- Of a pair of nodes it says nothing about either: what would fail is a warning then, with the
  measurement and its threshold, and the controller compares partners.
- The bandwidth that counts is that of the largest size (nccl-tests#212: 256 MB is too small). A run
  that is too slow is done again, and the better one counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from probes.backends.base import Gpu
from probes.check import Bound, Context, Finding, Measurement, Outcome, Threshold
from probes.errors import CheckError, Skipped
from probes.measuring.subjects import subjects
from probes.thresholds.judge import Judgement, judge
from probes.tools.nccl_tests import NcclRun

PROGRAM = "all_reduce_perf"
#: 512 MB to 8 GB, 20 iterations, each size verified.
SIZES = ("-b", "512M", "-e", "8G", "-f", "2", "-n", "20", "-c", "1")
TRIES = 2

_NONE_WRONG = Threshold(0, Bound.AT_MOST, "sums are compared with their exact values")


def ready_gpus(context: Context) -> tuple[Gpu, ...]:
    """All GPUs. Raises Skipped when one of them cannot take part."""
    who = subjects(context)
    if who.findings:
        reason = who.findings[0]
        raise Skipped(f"GPU {reason.device}: {reason.message}")
    return who.ready


def finding_of_runs(
    context: Context,
    check: str,
    gpu: Gpu,
    ranks: int,
    once: Callable[[], NcclRun],
    peer: str = "",
) -> Finding:
    """Run ``once``, again when that was too slow, and judge. The limits are those of ``gpu``.
    ``peer`` is the partner of a pair.

    Raises what ``once`` raises, the first time.
    """
    run, tries = _checked(once(), ranks), 1
    # What a preliminary judgement learns is thrown away.
    while tries < TRIES and not run.wrong and _too_slow(replace(context, keep={}), check, gpu, run):
        try:
            again = _checked(once(), ranks)
        except (CheckError, Skipped):
            break
        tries += 1
        run = again if again.wrong or again.busbw > run.busbw else run
    bad = Outcome.WARN if peer else Outcome.FAIL
    detail = {"peer": peer} if peer else {}
    if run.wrong:
        return Finding(
            bad,
            f"{run.wrong} wrong values in an all-reduce of {ranks} GPUs",
            "",
            (Measurement("wrong", run.wrong, "count", _NONE_WRONG),),
            severity="fatal",
            remedy="inspect",
            busy=False,
            under_load=True,
            detail=detail,
        )
    judgement = _judged(context, check, gpu, run)
    better = f"; the better of {tries} runs" if tries > 1 else ""
    return Finding(
        bad if judgement.outcome is Outcome.FAIL else judgement.outcome,
        f"all-reduce of {ranks} GPUs: {judgement.message}{better}; all sums right",
        "",
        (judgement.measurement, Measurement("wrong", 0, "count", _NONE_WRONG)),
        busy=False,
        under_load=True,
        detail=detail,
    )


def _checked(run: NcclRun, ranks: int) -> NcclRun:
    if run.ranks != ranks:
        raise CheckError(f"nccl-tests ran with {run.ranks} GPUs instead of {ranks}")
    if run.wrong is None:
        raise CheckError("nccl-tests did not verify its results")
    return run


def _too_slow(context: Context, check: str, gpu: Gpu, run: NcclRun) -> bool:
    return _judged(context, check, gpu, run).outcome is Outcome.FAIL


def _judged(context: Context, check: str, gpu: Gpu, run: NcclRun) -> Judgement:
    return judge(context, check, "busbw", "GB/s", {gpu: run.busbw})[gpu]
