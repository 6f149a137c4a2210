"""What would dcgmi print of fake GPUs? The form of DCGM 4 (``probes.tools.dcgmi``)."""

from __future__ import annotations

import json

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.readings import Temperatures
from probes.check import ToolOutput
from probes.errors import BackendError

_VERSION = "4.4.2"
_TESTS = {
    1: (("Deployment", "software"),),
    2: (("Hardware", "memory"), ("Integration", "pcie")),
    3: (
        ("Hardware", "diagnostic"),
        ("Stress", "targeted_power"),
        ("Stress", "targeted_stress"),
        ("Stress", "memory_bandwidth"),
    ),
    4: (("Stress", "memtest"), ("Stress", "pulse")),
}
#: What a test fails on: error id, severity (dcgmlib/dcgm_errors.h), words.
_Error = tuple[int, int, str]
_HOT_C = 87.0
#: DCGM_ST_CONNECTION_NOT_VALID and DCGM_ST_NVVS_ERROR as the shell sees them.
_NO_CONNECTION, _FAILED = 235, 226
_RULE = f"+--------+{'-' * 70}+\n"


def answer(backend: FakeBackend, arguments: tuple[str, ...]) -> ToolOutput:
    """``discovery -l`` and ``diag -j -r LEVEL``."""
    try:
        gpus = backend.gpus()
    except BackendError as error:
        text = f"Error: Unable to connect to host engine. {error}\n"
        return ToolOutput(_NO_CONNECTION, text, "")
    if "discovery" in arguments:
        return ToolOutput(0, _discovery(gpus), "")
    level = int(arguments[arguments.index("-r") + 1])
    return _diag(backend, gpus, level)


def _discovery(gpus: tuple[Gpu, ...]) -> str:
    text = f"{len(gpus)} GPUs found.\n{_RULE}| GPU ID | {'Device Information':<69}|\n{_RULE}"
    for gpu in gpus:
        lines = (
            f"Name: {gpu.name}",
            f"PCI Bus ID: 0000{gpu.device.upper()}.0",
            f"Device UUID: {gpu.uuid}",
        )
        for at, line in enumerate(lines):
            text += f"| {gpu.index if at == 0 else '':<6} | {line:<69}|\n"
        text += _RULE
    return text + "0 NvSwitches found.\n"


def _diag(backend: FakeBackend, gpus: tuple[Gpu, ...], level: int) -> ToolOutput:
    failed = False
    categories: dict[str, list[object]] = {}
    for category, test in (t for each in range(1, level + 1) for t in _TESTS[each]):
        results: list[object] = []
        bad = False
        for gpu in gpus:
            errors = _errors(backend, gpu, test)
            bad = bad or bool(errors)
            results.append(_result(gpu, errors))
        failed = failed or bad
        categories.setdefault(category, []).append(
            {
                "name": test,
                "results": results,
                "test_summary": {"status": "Fail" if bad else "Pass"},
            }
        )
    document = {
        "DCGM Diagnostic": {
            "test_categories": [
                {"category": name, "tests": tests} for name, tests in categories.items()
            ]
        },
        "entity_groups": [
            {
                "entity_group": "GPU",
                "entity_group_id": 1,
                "entities": [
                    {
                        "entity_id": gpu.index,
                        "device_id": gpu.pci_id.partition(":")[2],
                        "serial_num": gpu.serial,
                    }
                    for gpu in gpus
                ],
            }
        ],
        "metadata": {
            "version": _VERSION,
            "Driver Version Detected": backend.driver().version,
        },
    }
    return ToolOutput(_FAILED if failed else 0, json.dumps(document, indent=1) + "\n", "")


def _result(gpu: Gpu, errors: list[_Error]) -> dict[str, object]:
    result: dict[str, object] = {
        "entity_group": "GPU",
        "entity_group_id": 1,
        "entity_id": gpu.index,
        "status": "Fail" if errors else "Pass",
    }
    if errors:
        result["warnings"] = [
            {"error_category": 8, "error_id": number, "error_severity": severity, "warning": words}
            for number, severity, words in errors
        ]
    return result


def _errors(backend: FakeBackend, gpu: Gpu, test: str) -> list[_Error]:
    try:
        return [error for error in _found(backend, gpu, test) if error[2]]
    except BackendError as error:
        return [(65, 4, f"API call failed for GPU {gpu.index}: {error}")]


def _found(backend: FakeBackend, gpu: Gpu, test: str) -> list[_Error]:
    name = f"GPU {gpu.index}"
    if test == "software":
        rows = backend.remapped_rows(gpu)
        failed, pending = (rows.failed, rows.pending) if rows else (False, False)
        return [
            (80, 2, f"{name} had uncorrectable memory errors and row remapping failed." * failed),
            (85, 6, f"{name} has row remappings pending." * pending),
            (29, 5, f"Persistence mode for {name} is disabled." * (not backend.persistence(gpu))),
        ]
    if test in ("memory", "memtest"):
        wrong = int(backend.measured("gpu-memory/errors", gpu))
        return [(58, 2, f"{name}: {wrong} memory mismatches." * (wrong > 0))]
    if test == "pcie":
        counters = backend.pcie_counters(gpu)
        fatal = counters.get("aer_fatal", 0) + counters.get("aer_nonfatal", 0)
        return [(98, 2, f"{name}: {fatal} uncorrectable PCIe errors." * (fatal > 0))]
    if test == "diagnostic":
        wrong = int(backend.measured("gpu-arithmetic/errors", gpu))
        return [(95, 2, f"{name}: {wrong} miscompares in matrix products." * (wrong > 0))]
    if test == "targeted_stress":
        heat = _heat(backend.temperatures(gpu))
        words = f"Temperature {heat:g} of {name} exceeded the maximum allowed temperature."
        return [(42, 2, words * (heat > _HOT_C))]
    return []


def _heat(told: Temperatures) -> float:
    return told.gpu_c or 0.0
