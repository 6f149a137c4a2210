"""What is a Job that tests a node? The words of those who decide about it and those who make it.

Part of the vocabulary: no behaviour beyond reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class JobState(Enum):
    """How far a Job has come, by its status."""

    PENDING = "pending"  # made; its pod does not run, as far as the status tells
    RUNNING = "running"
    DONE = "done"  # its run was delivered to the agent
    FAILED = "failed"  # it could not deliver, or took too long


@dataclass(frozen=True, slots=True)
class InvasiveJob:
    """A Job of ours, as it is now. All texts are printable and bounded."""

    name: str
    uid: str
    node: str  # the Node that it is for
    node_uid: str
    run_id: str  # of the run that it is to deliver
    state: JobState = JobState.PENDING
    message: str = ""  # why it failed, as Kubernetes says
    ending: bool = False  # it is being deleted

    @property
    def ended(self) -> bool:
        """Its pod runs no more, and holds nothing."""
        return self.state in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class WantedJob:
    """What a Job has to do, and where."""

    node: str
    node_uid: str
    run_id: str
    probes: tuple[str, ...]  # "invasive" for the tier, or names of checks
    gpus: Mapping[str, int] = field(default_factory=dict)  # resource name to how many: all of them
