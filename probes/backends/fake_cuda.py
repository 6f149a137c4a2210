"""What would our CUDA programs print of fake GPUs (docs/reference/cuda-programs.md)?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.check import ToolOutput
from probes.errors import BackendError

_JSON = dict[str, object]
_GIGA_OF_TERA = 1000.0


def bandwidth(backend: FakeBackend, arguments: tuple[str, ...]) -> ToolOutput:
    """``bandwidth``: links and memory."""
    tests = _option(arguments, "--tests")
    wanted = tests.split(",") if tests else ["h2d", "d2h", "p2p", "hbm"]

    def results(gpu: Gpu, gpus: tuple[Gpu, ...]) -> Iterable[_JSON]:
        for test in wanted:
            if test in ("h2d", "d2h"):
                yield _rate(test, backend.measured(f"pcie-bandwidth/{test}", gpu), kernel="ce")
            elif test == "hbm":
                value = backend.measured("hbm-bandwidth/hbm", gpu)
                yield _rate("hbm_copy", value * 0.98)
                yield _rate("hbm_triad", value)
            elif test == "p2p":
                yield from _pairs(backend, gpu, gpus)

    return _run(backend, "bandwidth", arguments, results, lambda _gpu: 0)


def gpucheck(backend: FakeBackend, arguments: tuple[str, ...]) -> ToolOutput:
    """``gpucheck``: arithmetic."""

    def results(gpu: Gpu, gpus: tuple[Gpu, ...]) -> Iterable[_JSON]:
        del gpus
        yield _rate("daxpy", backend.measured("gpu-arithmetic/daxpy", gpu), count=900)
        dgemm = backend.measured("gpu-arithmetic/dgemm", gpu) * _GIGA_OF_TERA
        yield _rate("dgemm", dgemm, "GFLOPS", count=40, kernel="cublas")

    return _run(
        backend,
        "gpucheck",
        arguments,
        results,
        lambda gpu: int(backend.measured("gpu-arithmetic/errors", gpu)),
        {"test": "dgemm", "iteration": 17, "row": 0, "column": 85},
    )


def memtest(backend: FakeBackend, arguments: tuple[str, ...]) -> ToolOutput:
    """``memtest``: memory."""

    def results(gpu: Gpu, gpus: tuple[Gpu, ...]) -> Iterable[_JSON]:
        del gpus
        value = backend.measured("hbm-bandwidth/hbm", gpu)
        for pattern in ("address", "walking", "inversions", "random"):
            yield _rate(pattern, value, count=1)
        yield {"name": "memory_tested", "value": int(gpu.memory_bytes * 0.89), "unit": "bytes"}
        yield {"name": "memory_total", "value": gpu.memory_bytes, "unit": "bytes"}

    return _run(
        backend,
        "memtest",
        arguments,
        results,
        lambda gpu: int(backend.measured("gpu-memory/errors", gpu)),
        {"test": "walking", "step": "one bit set"},
    )


def _run(
    backend: FakeBackend,
    program: str,
    arguments: tuple[str, ...],
    results: Callable[[Gpu, tuple[Gpu, ...]], Iterable[_JSON]],
    wrong: Callable[[Gpu], int],
    where: _JSON | None = None,
) -> ToolOutput:
    try:
        gpus = backend.gpus()
    except BackendError as error:
        told = {"code": "no-driver", "message": str(error), "hint": ""}
        return _output(program, [], told, 1)
    devices = _option(arguments, "--devices")
    chosen = tuple(gpu for gpu in gpus if not devices or gpu.device in devices.split(","))
    printed: list[_JSON] = []
    code = 0
    for gpu in chosen:
        errors, broken, measured = 0, dict[str, str](), list[_JSON]()
        try:
            errors, measured = wrong(gpu), list(results(gpu, chosen))
        except BackendError as error:
            broken = {"code": "cuda", "message": str(error), "hint": ""}
        code = 3 if errors or code == 3 else 1 if broken else code
        printed.append(
            {
                "index": gpu.index,
                "uuid": gpu.uuid,
                "device": gpu.device,
                "name": gpu.name,
                "compute": "9.0",
                "numa": {"node": gpu.numa_node, "bound": True, "note": ""},
                "results": measured,
                "skipped": [],
                "errors": [_wrong_word(where or {})] if errors else [],
                "errors_total": errors,
                "error": broken or None,
            }
        )
    return _output(program, printed, None, code)


def _pairs(backend: FakeBackend, gpu: Gpu, gpus: tuple[Gpu, ...]) -> Iterable[_JSON]:
    """A pair is as fast as the slower of its two."""
    mine = backend.measured("p2p-bandwidth/p2p", gpu)
    for peer in gpus:
        if peer != gpu:
            value = min(mine, backend.measured("p2p-bandwidth/p2p", peer))
            yield _rate("p2p_write", value, peer=peer.device)
            yield _rate("p2p_read", value, peer=peer.device)


def _rate(name: str, value: float, unit: str = "GB/s", **more: object) -> _JSON:
    return {"name": name, "value": value, "unit": unit, "samples": [value], **more}


def _wrong_word(where: _JSON) -> _JSON:
    return {
        "kind": "mismatch",
        "address": "0x7f3a2000",
        "expected": "0x0000000000000100",
        "actual": "0x0000000000000000",
        "bit": 8,
        **where,
    }


def _option(arguments: tuple[str, ...], name: str) -> str:
    return arguments[arguments.index(name) + 1] if name in arguments[:-1] else ""


def _output(program: str, gpus: list[_JSON], error: object, code: int) -> ToolOutput:
    document = {
        "program": program,
        "version": 1,
        "driver": "13.0",
        "runtime": "13.0",
        "injected": False,
        "gpus": gpus,
        "error": error,
    }
    return ToolOutput(code, json.dumps(document) + "\n", "")
