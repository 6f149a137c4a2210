"""What is a condition of a rule? A text in CEL that was compiled, and that can be shown again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from konduktor_health.treatment import FaultFacts

#: Most characters of a condition.
LENGTH_LIMIT = 1000
#: What a condition can look at: name, type in CEL, meaning (docs/reference/policy.md).
VARIABLES: tuple[tuple[str, str, str], ...] = (
    ("fault", "string", "fault id, such as xid/79"),
    ("code", "int", "number of an Xid or SXid; 0 for other faults"),
    ("severity", "string", "fatal, degraded, unknown, application or info"),
    ("remedy", "string", "what would repair it, such as reset_gpu"),
    ("device", "string", 'address of the device; "" is the node itself'),
    ("trust", "string", "attested, kernel, probe or pod"),
    ("injected", "bool", "a program wrote the line into the kernel log"),
    ("labels", "map(string, string)", "labels of the Node"),
)


class WrittenCondition(Protocol):
    """A condition that knows its text. Calling it never raises; two of one text are equal."""

    @property
    def text(self) -> str:
        """The condition as it was written."""
        ...

    def __call__(self, facts: FaultFacts, /) -> bool:
        """Whether it holds for this fault."""
        ...


class ConditionError(ValueError):
    """A text is no condition. ``offset``: at which character; ``hint``: what to do about it."""

    def __init__(self, message: str, *, offset: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


#: Makes a condition of a text. Raises ConditionError.
CompileCondition = Callable[[str], WrittenCondition]


def values_of(facts: FaultFacts) -> Mapping[str, object]:
    """The variables of a condition for a fault."""
    return {
        "fault": facts.fault_id,
        "code": code_of(facts.fault_id),
        "severity": facts.severity.value,
        "remedy": facts.remedy.value,
        "device": facts.device,
        "trust": facts.trust.value,
        "injected": facts.injected,
        "labels": dict(facts.labels),
    }


def code_of(fault_id: str) -> int:
    """The number of an Xid or SXid; 0 for what has none."""
    kind, _, name = fault_id.partition("/")
    coded = kind in ("xid", "sxid") and name.isascii() and name.isdigit() and len(name) <= 10
    return int(name) if coded else 0
