"""What does a rule look at? Of a record, or of a fault that is none yet. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from konduktor_health.core.record import Record
from konduktor_health.model import Fault, NodeView
from konduktor_health.treatment import FaultFacts


class LabelsOf(Mapping[str, str]):
    """A node's labels for its rules: most rules look at none, so that they are put together by the
    first one that does."""

    __slots__ = ("_labels", "_view")

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._labels: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._labels is None:
            self._labels = dict(self._view.labels)
        return self._labels

    def __getitem__(self, key: str) -> str:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def facts_of(seen: Record | Fault, labels: Mapping[str, str]) -> FaultFacts:
    """What a rule looks at."""
    return FaultFacts(
        seen.fault_id,
        seen.severity,
        seen.remedy,
        seen.device,
        seen.trust,
        seen.injected,
        labels,
    )
