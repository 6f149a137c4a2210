"""What is told of a check, and of a fault that it has found? Rows of a name and a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from konduktor_health.known_checks import KnownCheck
from parsers.fault import Remedy

Row = tuple[str, str]

#: What to do about a fault that was measured, by the remedy that the check asks for.
ACTIONS: Mapping[Remedy, str] = {
    Remedy.NONE: "nothing is asked for: the check that passes again clears it",
    Remedy.RESTART_APP: "restart the application",
    Remedy.RESET_GPU: "reset the GPU, once nothing uses it",
    Remedy.DRAIN_RESET: "drain the node, then reset the GPU",
    Remedy.DRAIN_INSPECT: "drain the node, then look at the device",
    Remedy.REBOOT: "reboot the node",
    Remedy.POWER_CYCLE: "power the node off and on",
    Remedy.INSPECT: "look at the device, its cables and its slot",
}


def check_rows(check: KnownCheck) -> Iterator[Row]:
    """All of it."""
    yield "asks", check.question
    if check.tier:
        idle = "; it needs idle GPUs" if check.needs_idle_gpus else ""
        runs = f"{check.runs}, at most {check.deadline_s:g} s{idle}"
        yield "tier", f"{check.tier}; runs {runs}"
    else:
        yield "measured by", "the controller"
    for number, paragraph in enumerate(check.text.split("\n\n")):
        yield "" if number else "fails", " ".join(paragraph.split())
    yield "limits", _limits(check)
    yield "remedy", "the result says which; explain NODE tells it, with what to do"


def fault_rows(check: KnownCheck, remedy: Remedy) -> Iterator[Row]:
    """Beside a record: what the check is, where its limit is from, and what to do."""
    yield "fails", " ".join(check.text.partition("\n\n")[0].split())
    yield "limits", _limits(check)
    yield "do", ACTIONS[remedy]
    yield "look at", f"konduktor-health explain probe/{check.name}"


def check_json(check: KnownCheck) -> dict[str, Any]:
    """Described in docs/reference/node-json.md."""
    return {
        "fault_id": f"probe/{check.name}",
        "meaning": check.question,
        "tier": check.tier or None,
        "runs": check.runs or None,
        "deadline_s": check.deadline_s or None,
        "needs_idle_gpus": check.needs_idle_gpus,
        "text": check.text,
        "limits_from": list(check.limits_from),
    }


def _limits(check: KnownCheck) -> str:
    if check.limits_from:
        return f"by hardware, from {'; '.join(check.limits_from)}; else what the GPU reached before"
    return "those of the check itself, where it has any; the evidence names the one that was missed"
