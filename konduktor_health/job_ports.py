"""How do Jobs that test nodes, and claims by which storage is tested, look to those who use them?

Protocols that adapters implement, as those of ``konduktor_health.ports``: every call has a deadline
inside the adapter and raises only errors of ``konduktor_health.errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from konduktor_health.jobs import InvasiveJob, WantedJob
from konduktor_health.ports import PodOnNode


class InvasiveJobs(Protocol):
    """Jobs that test nodes."""

    def jobs(self) -> tuple[InvasiveJob, ...]:
        """All Jobs of this controller (of its shard)."""
        ...

    def make(self, wanted: WantedJob) -> None:
        """Create the Job; Conflict where one of the node is there already."""
        ...

    def remove(self, job: InvasiveJob) -> None:
        """Delete exactly this Job, and its pod. Gone is done."""
        ...

    def gpus_of(self, node: str) -> Mapping[str, int]:
        """What pods can have of the node's GPUs now, by resource; NotFound."""
        ...

    def holding_gpus(self, node: str) -> tuple[PodOnNode, ...]:
        """Pods that hold GPUs of the node now, but for those of these Jobs."""
        ...

    def why_not_running(self, job: InvasiveJob) -> str:
        """Why the Job's pod does not run; "" where it runs, or has ended."""
        ...

    def why_failed(self, job: InvasiveJob) -> str:
        """What the pod of a Job that failed has said last; "" where nobody can tell."""
        ...


@dataclass(frozen=True, slots=True)
class StorageClass:
    """What matters of a storage class."""

    name: str
    waits_for_a_pod: bool = False  # WaitForFirstConsumer: a claim alone is never bound
    keeps_volumes: bool = False  # Retain: the volume of a claim that is deleted stays


@dataclass(frozen=True, slots=True)
class VolumeClaim:
    """A claim of ours as it is."""

    name: str
    uid: str
    phase: str = ""  # Pending, Bound, Lost
    going: bool = False  # it is being deleted


class VolumeClaims(Protocol):
    """Claims of volumes by which storage is tested."""

    def storage_class(self) -> StorageClass:
        """The class that is tested; NotFound."""
        ...

    def claims(self) -> tuple[VolumeClaim, ...]:
        """All of ours (of this shard), those that are going too."""
        ...

    def make(self) -> VolumeClaim:
        """Claim a volume; Conflict where one of the name is there."""
        ...

    def look(self, name: str) -> VolumeClaim:
        """One claim as it is now; NotFound."""
        ...

    def remove(self, claim: VolumeClaim) -> None:
        """Delete exactly this one; it may take its time to go. Gone is done."""
        ...
