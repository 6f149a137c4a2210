"""What does the controller know of the checks of the node part, which it does not import? A file
beside its code, written from the registry, the checks' modules and the shipped thresholds."""

from __future__ import annotations

import inspect
import json
from typing import Any

from docs.pages.checks import RUNS, module_of
from probes.check import Check
from probes.registry import CHECKS
from probes.thresholds.hardware import shipped


def checks_data() -> str:
    """The file's text."""
    data = {"version": 1, "checks": {check.spec.name: _row(check) for check in CHECKS}}
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def _row(check: Check) -> dict[str, Any]:
    _, _, rest = (inspect.getdoc(module_of(check)) or "").partition("\n\n")
    sources = [
        f"derived: {limit.source}" if limit.derived else limit.source
        for limit in shipped().limits
        if limit.check == check.spec.name
    ]
    return {
        "question": check.spec.title,
        "tier": check.spec.tier.value,
        "runs": RUNS[check.spec.cadence],
        "deadline_s": check.spec.deadline_s,
        "needs_idle_gpus": check.spec.needs_idle_gpus,
        "text": rest.strip().replace("``", "`"),
        "limits_from": sorted(set(sources)),
    }
