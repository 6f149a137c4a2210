"""How bad is a result of DCGM's diagnostic? The severity and the remedy of each test, as data.

DCGM 4 says a severity with each warning (``dcgmErrorSeverity_t``, ``dcgmlib/dcgm_errors.h``), and
that word counts. DCGM 3 says none, or a result has no warning: then the test's name decides
(``TESTS``). A name that is in no list is degraded: visible, and no more.

Invariants:
- A failing of the measuring (no memory left, a host engine that answers wrongly, no right to read)
  is an error, not a failing GPU, and it is no pass either: DCGM reports a memory test that could
  not allocate its memory as Pass (NVIDIA/DCGM#284).
- A setting of the node (persistence mode, environment variables) is a warning: no repair of a GPU
  changes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from probes.check import Outcome
from probes.tools.dcgmi import DiagResult, DiagWarning, Status


@dataclass(frozen=True, slots=True)
class DcgmTest:
    """What a failing of one test says when DCGM itself says no more."""

    outcome: Outcome
    severity: str = "degraded"
    remedy: str = "inspect"


_FATAL = DcgmTest(Outcome.FAIL, "fatal", "inspect")
_DEGRADED = DcgmTest(Outcome.FAIL)
_SETTING = DcgmTest(Outcome.WARN)
_MEASURING = DcgmTest(Outcome.ERROR)

#: By ``probes.tools.dcgmi.key``. Fatal is what Autopilot evicts for (PCIe, NVLink, ECC, GPU Memory)
#: and what shows wrong results; a thermal or performance limit that is missed is degraded.
TESTS: dict[str, DcgmTest] = {
    # deployment: the node's software, in DCGM 4 all of it as "software"
    "software": _DEGRADED,
    "denylist": DcgmTest(Outcome.FAIL, "degraded", "reboot"),  # nouveau holds the GPU
    "nvml_library": _MEASURING,  # of the container that dcgmi runs in; the check ``driver`` looks
    "cuda_main_library": _MEASURING,
    "cuda_toolkit_library": _MEASURING,
    "permissions_and_os_blocks": _MEASURING,  # also with fewer GPUs than the node has (DCGM#90)
    "persistence_mode": _SETTING,
    "environment_variables": _SETTING,
    "graphics_processes": _SETTING,
    "page_retirement_row_remap": DcgmTest(Outcome.FAIL, "degraded", "reset_gpu"),
    "inforom": _DEGRADED,
    "fabric_manager": DcgmTest(Outcome.FAIL, "degraded", "reboot"),
    # integration, hardware
    "pcie": _FATAL,
    "nvlink": _FATAL,
    "memory": _FATAL,
    "diagnostic": _FATAL,  # compares the results of matrix multiplications
    "memtest": _FATAL,
    "eud": _FATAL,
    "context_create": _DEGRADED,
    "nvbandwidth": _DEGRADED,
    "cpu_eud": _DEGRADED,
    # stress
    "sm_stress": _DEGRADED,
    "targeted_stress": _DEGRADED,
    "targeted_power": _DEGRADED,
    "memory_bandwidth": _DEGRADED,
    "pulse": _DEGRADED,
    "nccl_tests": _DEGRADED,
}

# dcgmErrorSeverity_t; 0 (none), 3 (unknown) and 4 (to be triaged) leave it to the test.
_BY_SEVERITY = {
    1: _DEGRADED,  # monitor
    2: _FATAL,  # isolate
    5: _SETTING,  # config
    6: DcgmTest(Outcome.FAIL, "fatal", "reset_gpu"),
}
# dcgmError_t that say that the measuring failed: access, parameters, libraries, telemetry, memory
# on GPU or host, the DCGM and CUDA interfaces, the external diagnostic's start.
_MEASURING_IDS = frozenset(
    {18, 21, 22, 26, 27, 32, 37, 44, 47, 48, 49, 53, 54, 56, 64, 67, 73, 82, 89, 90, 91, 92, 93, 96}
    | {97}
)
_TAKEN = "busy or unavailable"  # CUDA's words when another program holds the GPU exclusively


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one result says of its device."""

    outcome: Outcome
    severity: str
    remedy: str
    reason: str  # DCGM's own words, or the test's name


def judge(result: DiagResult) -> Judgement:
    """What ``result`` says; SKIP for a test that did not run."""
    if result.status in (Status.SKIP, Status.NOT_RUN):
        return Judgement(Outcome.SKIP, "degraded", "inspect", f"{result.test}: not run")
    if result.status is Status.UNKNOWN:
        return Judgement(Outcome.ERROR, "degraded", "inspect", f"{result.test}: unknown status")
    if result.status is Status.PASS:
        return _passed(result)
    meanings = [_meaning(warning, result.test) for warning in result.warnings]
    if not meanings:
        meanings = [TESTS.get(result.test, _DEGRADED)]
    worst = min(meanings, key=_rank)
    outcome = worst.outcome
    if result.status is Status.WARN and outcome is Outcome.FAIL:
        outcome = Outcome.WARN
    text = result.warnings[meanings.index(worst)].text if result.warnings else result.status.value
    return Judgement(outcome, worst.severity, worst.remedy, f"{result.test}: {text}")


def _passed(result: DiagResult) -> Judgement:
    """A pass; but for one with a warning that says that nothing was tested."""
    for warning in result.warnings:
        meaning = _meaning(warning, result.test)
        outcome = Outcome.ERROR if meaning.outcome is Outcome.ERROR else Outcome.WARN
        return Judgement(outcome, "degraded", "inspect", f"{result.test}: {warning.text}")
    return Judgement(Outcome.PASS, "degraded", "inspect", result.test)


def _meaning(warning: DiagWarning, test: str) -> DcgmTest:
    if warning.error_id in _MEASURING_IDS or _TAKEN in warning.text:
        return _MEASURING
    by_severity = _BY_SEVERITY.get(warning.severity or 0)
    return by_severity or TESTS.get(test, _DEGRADED)


def _rank(meaning: DcgmTest) -> tuple[int, bool]:
    """The worst first: a GPU that failed is not excused by a measuring that failed too."""
    order = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN)
    return (order.index(meaning.outcome), meaning.severity != "fatal")
