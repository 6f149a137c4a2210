"""Which checks are there, and what fails each? Read from the registry and its modules."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

from docs.pages.tables import code, table
from probes.check import Cadence, Check
from probes.registry import CHECKS

_TEXT = """
# Checks

What the node part asks of a node. A failing result is the fault `probe/` and the check's name, on
the device that it names. [Probes](../design/probes.md) says how checks are run and what an outcome
means; [Thresholds](thresholds.md) has the numbers of bandwidths; faults of GPUs that are not there
are in [GPU backends](gpu-backends.md).

A *tier* says how much a check asks of the node: `boot` and `light` run beside any workload,
`invasive` needs idle GPUs. It *runs* by itself: `light` each minute, `hourly`, `boot` once in each
boot, `invasive` when GPUs are idle, `never` only when asked.

Options are set on the node (`konduktor-probe agent --option CHECK.NAME=VALUE`). A signed request
may set those that a check names below, and no other: an option that names a program or a service is
never taken from the network.

"""
RUNS = {
    Cadence.BOOT: "once in each boot",
    Cadence.LIGHT: "each minute",
    Cadence.HOURLY: "hourly",
    Cadence.INVASIVE: "when idle",
    Cadence.NEVER: "when asked",
}


def checks_page() -> str:
    """The page's text."""
    rows = [
        [
            f"[{check.spec.name}](#{check.spec.name})",
            check.spec.title,
            code(check.spec.tier.value),
            RUNS[check.spec.cadence],
            f"{check.spec.deadline_s:g} s",
        ]
        for check in CHECKS
    ]
    overview = table(["check", "question", "tier", "runs", "deadline"], rows)
    return _TEXT + overview + "".join(map(_section, CHECKS))


def _section(check: Check) -> str:
    """What its module says below its question."""
    module = module_of(check)
    _, _, rest = (inspect.getdoc(module) or "").partition("\n\n")
    if not rest.strip():
        raise KeyError(f"{module.__name__}: its docstring does not say what fails")
    idle = "\n\nIt needs idle GPUs." if check.spec.needs_idle_gpus else ""
    taken = ", ".join(map(code, sorted(check.spec.request_options)))
    options = f"\n\nOptions that a signed request may set: {taken}." if taken else ""
    return f"\n## {check.spec.name}\n\n{rest.strip().replace('``', '`')}{idle}{options}\n"


def module_of(check: Check) -> ModuleType:
    """The file of ``probes.checks`` that has it: some share a class from elsewhere."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("probes.checks.") and any(
            each is check for each in vars(module).values()
        ):
            return module
    return sys.modules[type(check).__module__]
