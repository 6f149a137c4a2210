"""What is known of the checks behind ``probe/`` faults? The node part's, and the controller's own.

The controller imports nothing of the node part: ``checks.json`` beside this module is written from
its registry (docs/generate.py). Checks of a site are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from konduktor_health.treatment import PROBE_FAULT


@dataclass(frozen=True, slots=True)
class KnownCheck:
    """A check, for people."""

    name: str
    question: str
    text: str  # what fails it, and whose figures it goes by; paragraphs
    tier: str = ""  # "": the controller's own
    runs: str = ""  # how often, in words
    deadline_s: float = 0.0
    needs_idle_gpus: bool = False
    limits_from: tuple[str, ...] = ()  # sources of the limits that are shipped by hardware


_PAIRS = (
    "The controller has pairs of nodes measure what lies between them. A node is accused only when"
    " it fails with two partners that work with others; a switch, a cable or a path that is to"
    " blame accuses no node (docs/design/rounds.md)."
)
#: Those that no agent has.
OWN: Mapping[str, KnownCheck] = {
    each.name: each
    for each in (
        KnownCheck("network-pair", "Do other nodes reach this one?", _PAIRS),
        KnownCheck(
            "network-pair-bandwidth",
            "Does as much come through to other nodes as between them?",
            f"{_PAIRS} The limit is probes.rounds.bandwidth_gbps, else half of the usual rate.",
        ),
        KnownCheck("network-pair-nccl", "Do all-reduces with other nodes add up?", _PAIRS),
        KnownCheck(
            "unresponsive",
            "Can the checks of the node be measured at all?",
            "A check ended in an error or a time-out five times in a row. The tool, the driver or"
            " the agent may be the reason: it is shown, and never acts by itself.",
        ),
        KnownCheck(
            "allocatable-gpus",
            "Can pods have all GPUs of the node?",
            "The Node offered fewer GPUs than it should for 10 minutes. It should offer those of"
            " the label expected-gpus, else of its capacity, else those that GPU feature discovery"
            " counts.",
        ),
    )
}


def check_of(fault_id: str) -> KnownCheck | None:
    """The check behind a fault ``probe/<check>``; None: another fault, or a check of a site."""
    if not fault_id.startswith(PROBE_FAULT):
        return None
    name = fault_id.removeprefix(PROBE_FAULT)
    return OWN.get(name) or _shipped().get(name)


def names() -> tuple[str, ...]:
    """All of them, sorted."""
    return tuple(sorted({*OWN, *_shipped()}))


@cache
def _shipped() -> Mapping[str, KnownCheck]:
    text = files("konduktor_health").joinpath("checks.json").read_text(encoding="utf-8")
    return {
        name: KnownCheck(
            name,
            row["question"],
            row["text"],
            row["tier"],
            row["runs"],
            row["deadline_s"],
            row["needs_idle_gpus"],
            tuple(row["limits_from"]),
        )
        for name, row in json.loads(text)["checks"].items()
    }
