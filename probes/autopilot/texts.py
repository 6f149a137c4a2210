"""What does Autopilot print for a check? Its lines, from our results.

The texts are those of Autopilot's scripts (gpu-bw, gpu-remapped, gpu-dcgm, gpu-mem, gpu-power,
network; release 2.1). Beside them stand lines that say why. Invariants: each text has exactly one
line with a verdict, and it is the one of ``verdicts.verdict_of``; the last line of ``pciebw``,
``remapped`` and ``gpupower`` has a number for each GPU, ``nan`` for one that was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from probes.autopilot.pings import peers
from probes.autopilot.verdicts import Verdict, by_gpu, reasons, verdict_of, words
from probes.report import Measured, Result

_NOT_MEASURED = "nan"
_DCGM_BUSY = (
    "[[ DCGM ]] DCGM process terminated with errors. Other processes might be running on GPUs."
)
_TABLE = " GPU H2D(p)  H2D   D2H(p)  D2H   daxpy  dgemm   temp     power     smMHz"


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of a check."""

    results: Sequence[Result] = ()
    note: str = ""  # of the results: when they were measured, if not just now
    why_none: str = ""  # why there are no results


def text_of(check: str, told: Told, node: str) -> str:
    """The whole text of one of Autopilot's checks, which ends with a line feed."""
    write = _WRITERS.get(check)
    if write is None:
        return f"check not supported: {words(check)}\n"
    return "".join(f"{line}\n" for line in write(told, node))


def banner(check: str, told: Told) -> str:
    """The line that the check's own path begins with."""
    if check == "pciebw":
        return f"Requesting pcie test with bw: {_limit(told.results)}\n"
    return f"{_BANNERS[check]}\n"


_BANNERS: Mapping[str, str] = {
    "remapped": "Requesting Remapped Rows check on all GPUs",
    "dcgm": "DCGM test",
    "gpumem": "GPU Memory DGEMM+DAXPY test",
    "gpupower": "GPU Power Measurement test",
    "ping": "Ping test",
    "pvc": "PVC create-delete test",
}


def _why(told: Told) -> list[str]:
    lines = [words(told.note)] if told.note else []
    return [*lines, *([words(told.why_none)] if told.why_none else reasons(told.results))]


def _verdict(results: Sequence[Result]) -> Verdict:
    """Of a check of GPUs: without a GPU there was nothing to measure."""
    verdict = verdict_of(results)
    return Verdict.ABORT if verdict is Verdict.SUCCESS and not by_gpu(results) else verdict


def _pciebw(told: Told, node: str) -> list[str]:
    verdict = _verdict(told.results)
    speeds = [_measured(own, "h2d") for own in by_gpu(told.results).values()]
    if verdict is Verdict.ABORT or (verdict is Verdict.SUCCESS and None in speeds):
        return ["[[ PCIEBW ]] ABORT", *_why(told)]
    lines = ["[[ PCIEBW ]] Briefings completed. Continue with PCIe Bandwidth evaluation."]
    lines += _why(told)
    lines += [
        f"Observation: {node} {gpu} {speed.value:.1f}"
        f"  [[ LOW PCIE -- Below expected threshold of {speed.threshold.value:g} Gb/s ]]"
        for gpu, speed in enumerate(speeds)
        if speed is not None and speed.threshold is not None and speed.value < speed.threshold.value
    ]
    lines.append("SUCCESS" if verdict is Verdict.SUCCESS else "[[ PCIEBW ]] FAIL")
    return [*lines, f"Host  {node}", " ".join(map(_number, speeds)) or _NOT_MEASURED]


def _remapped(told: Told, node: str) -> list[str]:
    verdict = _verdict(told.results)
    if verdict is Verdict.ABORT:
        return ["[[ REMAPPED ROWS ]] ABORT", *_why(told)]
    return [
        "[[ REMAPPED ROWS ]] Briefings completed. Continue with remapped rows evaluation.",
        *_why(told),
        f"[[ REMAPPED ROWS ]] {verdict.value}",
        f"Host  {node}",
        _flags(told.results),
    ]


def _gpupower(told: Told, _node: str) -> list[str]:
    verdict = _verdict(told.results)
    if verdict is Verdict.ABORT:
        return ["[[GPU POWER]] ABORT", *_why(told)]
    gpus = len(by_gpu(told.results))
    return [
        "[[GPU POWER]] Briefings completed. Continue with power cap evaluation.",
        f"[GPU POWER] Detected NVIDIA GPU: {' '.join(map(str, range(gpus)))} Total: {gpus}",
        *_why(told),
        f"[GPU POWER] {verdict.value}",
        _flags(told.results),
    ]


def _gpumem(told: Told, _node: str) -> list[str]:
    verdict = _verdict(told.results)
    if verdict is Verdict.ABORT:
        return ["[[ GPU-MEM ]] ABORT", *_why(told)]
    begun = "[[ GPU-MEM ]] Briefings completed. Continue with memory evaluation."
    if verdict is Verdict.SUCCESS:
        return [begun, *_why(told), "[[ GPU-MEM ]] Health Check successful"]
    lines = [begun, "[[ GPU-MEM ]] Health Check unsuccessful. FAIL.", _TABLE]
    bad = []
    for gpu, own in enumerate(by_gpu(told.results).values()):
        daxpy, dgemm = _measured(own, "daxpy"), _dgemm(own)
        row = (f"{gpu:4d}", "-", "-", "-", "-", _cell(daxpy), _cell(dgemm), "-", "-", "-")
        lines.append("  ".join(f"{cell:>6}" for cell in row))
        if verdict_of(own) is Verdict.FAIL:
            bad.append(f"GPU {gpu} -- daxpy: {_cell(daxpy)}; dgemm: {_cell(dgemm)}")
    return [*lines, "Summary of GPU errors:", *bad, *_why(told)]


def _dcgm(told: Told, node: str) -> list[str]:
    verdict = verdict_of(told.results)
    if verdict is Verdict.ABORT:
        return _dcgm_not_run(told)
    lines = ["[[ DCGM ]] Briefings completed. Continue with dcgm evaluation.", *_why(told)]
    if verdict is Verdict.FAIL:
        return [*lines, f"Host {node}", "[[ DCGM ]] FAIL"]
    return [*lines, "[[ DCGM ]] SUCCESS"]


def _dcgm_not_run(told: Told) -> list[str]:
    busy = [
        gpu
        for gpu, own in enumerate(by_gpu(told.results).values())
        if any(each.outcome == "skip" and each.busy for each in own)
    ]
    if busy:
        return [
            f"{_DCGM_BUSY} ABORT",
            f"[[ DCGM ]] GPUs currently utilized: {' '.join(map(str, busy))}",
            *_why(told),
        ]
    errors = [each for each in told.results if each.outcome == "error" and not each.fake]
    said = [f"[[ DCGM ]] exited with error: {words(each.message)} ERR" for each in errors[:1]]
    return [*said, "[[ DCGM ]] ABORT", *_why(told)]


def _ping(told: Told, _node: str) -> list[str]:
    seen = peers(told.results)
    own = [each for each in told.results if each.outcome == "fail" and not each.fake]
    if not seen and not own:
        line = "[PING] Ping was not run. ABORT" if told.results else "[PING] No nodes found. ABORT"
        return [line, *_why(told)]
    lines = ["[PING] Running ping tests for every interface"]
    lines += [
        f"Node {each.node} {each.address} {each.interface} {int(each.bad)}"
        for each in seen
        if each.bad is not None
    ]
    lines += _why(told)
    if own:
        return [*lines, "[PING] Interfaces of this node are not as they should be. FAIL"]
    if any(each.bad for each in seen):
        return [*lines, "[PING] At least one node unreachable. FAIL"]
    unmeasured = verdict_of(told.results) is Verdict.ABORT
    if unmeasured or any(each.bad is None for each in seen):
        return [*lines, "[PING] Not all nodes could be pinged. ABORT"]
    return [*lines, "[PING] all nodes reachable. success"]


def _pvc(told: Told, _node: str) -> list[str]:
    return ["[PVC Create-Delete] Not run here. ABORT", *_why(told)]


def _iperf(told: Told, _node: str) -> list[str]:
    return ["[NETWORK] - [IPERF] - [ERROR] : Not run here. ABORT", *_why(told)]


_WRITERS: Mapping[str, Callable[[Told, str], list[str]]] = {
    "dcgm": _dcgm,
    "gpumem": _gpumem,
    "gpupower": _gpupower,
    "iperf": _iperf,
    "pciebw": _pciebw,
    "ping": _ping,
    "pvc": _pvc,
    "remapped": _remapped,
}


def _flags(results: Sequence[Result]) -> str:
    """1 for a GPU that is bad, 0 for one that is good."""
    shown = {Verdict.FAIL: "1", Verdict.SUCCESS: "0", Verdict.ABORT: _NOT_MEASURED}
    flags = [shown[verdict_of(own)] for own in by_gpu(results).values()]
    return " ".join(flags) or _NOT_MEASURED


def _dgemm(results: Sequence[Result]) -> Measured | None:
    """Of cuBLAS, else of our own kernel."""
    return _measured(results, "dgemm") or _measured(results, "dgemm_own")


def _measured(results: Sequence[Result], name: str) -> Measured | None:
    for each in (measured for result in results for measured in result.measurements):
        if each.name == name and math.isfinite(each.value):
            return each
    return None


def _number(measured: Measured | None, without: str = _NOT_MEASURED) -> str:
    return without if measured is None else f"{measured.value:.1f}"


def _cell(measured: Measured | None) -> str:
    return _number(measured, without="-")


def _limit(results: Sequence[Result]) -> str:
    """The least that a GPU has to have, GB/s; "unknown" where none is judged."""
    limits = [
        speed.threshold.value
        for own in by_gpu(results).values()
        if (speed := _measured(own, "h2d")) is not None and speed.threshold is not None
    ]
    return f"{min(limits):g}" if limits else "unknown"
