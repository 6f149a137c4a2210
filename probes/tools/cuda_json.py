"""What did our CUDA programs say? ``bandwidth``, ``gpucheck`` and ``memtest`` print one JSON object
(docs/reference/cuda-programs.md).

Invariants:
- A result has the unit of its kind, a finite value and samples that it lies among, or the output is
  refused. A result that ``--inject`` spoiled is refused too: it proves nothing.
- Wrong results of a GPU (``errors``, exit 3) and a program that cannot work (``error``, exit 1) are
  kept apart, for each GPU. Exit status and JSON have to agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from parsers.device import normalise
from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt, items, json_object, mapping, number, word

#: Version of the format that is understood.
FORMAT = 1
MEASURED, CANNOT_WORK, USAGE, HARDWARE = 0, 1, 2, 3

_UNITS = frozenset({"GB/s", "GFLOPS", "bytes"})
_NAME = re.compile(r"[a-z0-9_]{1,32}", re.ASCII)
_MOST_GPUS, _MOST_RESULTS, _MOST_ERRORS = 64, 1024, 64


@dataclass(frozen=True, slots=True)
class CudaResult:
    """One measured value: the median of its samples."""

    name: str  # "h2d"
    value: float
    unit: str
    peer: str = ""  # device of the other GPU
    count: int | None = None  # iterations or rounds, each checked
    kernel: str = ""  # "ce", "sm", "own", "cublas"


@dataclass(frozen=True, slots=True)
class WrongResult:
    """Something that the hardware did wrong."""

    kind: str  # "mismatch", or "device": the driver says so
    test: str  # result that it belongs to
    text: str  # for a person: address, expected and actual bits


@dataclass(frozen=True, slots=True)
class CudaError:
    """Why a program cannot work; ``code`` as documented ("no-driver", "gpu-busy")."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class CudaGpu:
    """What was found on one GPU."""

    device: str  # "0000:3b:00"
    uuid: str
    results: tuple[CudaResult, ...]
    wrong: tuple[WrongResult, ...]
    wrong_total: int  # of which ``wrong`` are the first
    error: CudaError | None
    skipped: tuple[str, ...]  # what could not be measured on this hardware, and why
    bound: bool | None  # host memory beside the GPU; None where there is none

    def result(self, name: str, peer: str = "") -> CudaResult | None:
        """The result of that name, towards that peer; None where there is none."""
        for result in self.results:
            if result.name == name and result.peer == peer:
                return result
        return None


@dataclass(frozen=True, slots=True)
class CudaRun:
    """A run of one program."""

    program: str
    gpus: tuple[CudaGpu, ...]
    error: CudaError | None  # of the program as a whole


def parse_cuda(output: ToolOutput, program: str) -> CudaRun:
    """Read the output of ``program``. Raises CheckError."""
    document = json_object(output.stdout, ("program",), program)
    if document.get("program") != program:
        raise CheckError(f"{program}: its output is of {excerpt(str(document.get('program')))}")
    if document.get("version") != FORMAT:
        raise CheckError(
            f"{program}: output has the format {excerpt(str(document.get('version')))}, "
            f"{FORMAT} is known (programs and agent of one version belong together)"
        )
    if document.get("injected") is not False:
        raise CheckError(
            f"{program}: made wrong results on purpose (--inject); that proves nothing"
        )
    run = CudaRun(
        program,
        tuple(_gpu(entry, program) for entry in items(document.get("gpus"), "gpus", _MOST_GPUS)),
        _error(document.get("error"), program),
    )
    devices = [gpu.device for gpu in run.gpus]
    if len(set(devices)) != len(devices):
        raise CheckError(f"{program}: the same GPU twice")
    _agree(output, run)
    return run


def _gpu(value: object, program: str) -> CudaGpu:
    gpu = mapping(value, "gpus[]")
    address = normalise(word(gpu.get("device"), "device"))
    if address is None:
        raise CheckError(f"{program}: device {excerpt(str(gpu.get('device')))} is no PCI address")
    wrong = tuple(_wrong(entry) for entry in items(gpu.get("errors", []), "errors", _MOST_ERRORS))
    total = number(gpu.get("errors_total", len(wrong)), "errors_total")
    if total < len(wrong) or (total > 0 and not wrong):
        raise CheckError(f"{program}: {total:g} errors in all, {len(wrong)} of them told")
    results = items(gpu.get("results", []), "results", _MOST_RESULTS)
    numa = gpu.get("numa")
    return CudaGpu(
        device=address.device,
        uuid=word(gpu.get("uuid", ""), "uuid"),
        results=tuple(_result(entry, program) for entry in results),
        wrong=wrong,
        wrong_total=int(total),
        error=_error(gpu.get("error"), program),
        skipped=tuple(_skipped(e) for e in items(gpu.get("skipped", []), "skipped", 1024)),
        bound=numa.get("bound") is True if isinstance(numa, dict) else None,
    )


def _result(value: object, program: str) -> CudaResult:
    result = mapping(value, "results[]")
    name = word(result.get("name"), "name of a result")
    if not _NAME.fullmatch(name):
        raise CheckError(f"{program}: a result named {excerpt(name)}")
    unit = word(result.get("unit"), f"unit of {name}")
    if unit not in _UNITS:
        raise CheckError(f"{program}: {name} has the unit {excerpt(unit)}")
    measured = number(result.get("value"), name)
    samples = [number(s, f"sample of {name}") for s in items(result.get("samples", []), name, 64)]
    if measured <= 0 and unit != "bytes":
        raise CheckError(f"{program}: {name} is {measured:g} {unit}")
    # All samples are shown only while they are few; the median then lies among them.
    if 0 < len(samples) < 64 and not min(samples) * 0.99 <= measured <= max(samples) * 1.01:
        raise CheckError(f"{program}: {name} is {measured:g} {unit}, which none of its samples is")
    peer = result.get("peer")
    address = normalise(word(peer, f"peer of {name}")) if peer else None
    if peer and address is None:
        raise CheckError(f"{program}: {name} towards {excerpt(str(peer))}")
    count = result.get("count")
    return CudaResult(
        name,
        measured,
        unit,
        address.device if address else "",
        int(number(count, f"count of {name}")) if count is not None else None,
        word(result.get("kernel", ""), f"kernel of {name}"),
    )


def _wrong(value: object) -> WrongResult:
    error = mapping(value, "errors[]")
    told = {
        name: word(error[name], name)
        for name in ("message", "step", "address", "expected", "actual")
        if isinstance(error.get(name), str)
    }
    places = [
        f"{name} {entry}"
        for name in ("bit", "iteration", "row", "column")
        if isinstance(entry := error.get(name), int) and not isinstance(entry, bool)
    ]
    text = ", ".join([*(f"{name} {text}" for name, text in told.items()), *places])
    kind = word(error.get("kind"), "kind of an error")
    return WrongResult(kind, word(error.get("test", ""), "test of an error"), text or kind)


def _error(value: object, program: str) -> CudaError | None:
    if value is None:
        return None
    error = mapping(value, f"error of {program}")
    return CudaError(
        word(error.get("code"), "code"),
        word(error.get("message", ""), "message"),
        word(error.get("hint", ""), "hint"),
    )


def _skipped(value: object) -> str:
    entry: Mapping[str, object] = mapping(value, "skipped[]")
    peer = entry.get("peer")
    name = word(entry.get("name"), "name of what was skipped")
    towards = f" towards {word(peer, 'peer')}" if peer else ""
    return f"{name}{towards}: {word(entry.get('reason', ''), 'reason')}"


def _agree(output: ToolOutput, run: CudaRun) -> None:
    """An exit status that says otherwise than the JSON: one of them is wrong, so none counts."""
    wrong = any(gpu.wrong_total for gpu in run.gpus)
    failed = run.error is not None or any(gpu.error for gpu in run.gpus)
    expected = HARDWARE if wrong else CANNOT_WORK if failed else MEASURED
    if run.error is not None and run.error.code == "usage" and not wrong:
        expected = USAGE
    if output.returncode != expected:
        raise CheckError(
            f"{run.program} ended with {ending(output)}, its output says {expected}: "
            f"{excerpt(output.stderr)}"
        )
