"""What is a run asked for, and what comes back?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from probes.check import CheckSpec, NodeFacts
from probes.report import Result, Run


class RunStopped(Exception):
    """The run was stopped. What it had measured counts for nothing: a run counts whole."""


class Clock(Protocol):
    """Where the times of a run come from."""

    def monotonic(self) -> float:
        """Seconds; for deadlines and durations."""
        ...

    def wall_ns(self) -> int:
        """Unix nanoseconds; for stamps."""
        ...


class HostClock:
    """This machine's."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, and for whom."""

    run_id: str  # as ``probes.report.RunId``
    checks: Sequence[str]  # names, in the order in which they run
    cadence: str = "requested"  # boot, light, hourly, invasive, or requested
    reason: str = ""
    node: NodeFacts = field(default_factory=NodeFacts)
    options: Mapping[str, str] = field(default_factory=dict)  # "ping.peer": "node-b"
    before: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # by check


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended. ``keep`` replaces ``before`` of the checks that it names; the others
    keep what they had."""

    run: Run
    keep: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Progress:
    """Told when a check begins, and when it has ended."""

    check: CheckSpec
    results: tuple[Result, ...] | None  # None: it begins


def options_of(check: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options of one check, without its name before them."""
    start = f"{check}."
    return {name[len(start) :]: value for name, value in options.items() if name.startswith(start)}
