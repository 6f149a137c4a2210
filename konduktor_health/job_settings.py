"""Which settings do Jobs that test nodes, and the test of volumes, have? Unit, meaning, default.

Part of ``probes`` (``konduktor_health.setting_groups``). The chart fills in what it knows itself:
image, pull secrets, accounts, directories.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from konduktor_health.setting_base import Group

_QUANTITY = r"[0-9]+(\.[0-9]+)?([EPTGMk]i?|m)?"
_PATH = r"(/[A-Za-z0-9_-][-._A-Za-z0-9]*)+"


class JobSettings(Group):
    """Invasive tests as Jobs that reserve all GPUs of a node."""

    enabled: bool = Field(
        False,
        description=(
            "Make Jobs where clearing asks for invasive probes. Needs create, list and delete on"
            " jobs in the agents' namespace; the chart gives these rights only when this is true."
        ),
    )
    image: str = Field("", description="Image of the probe.")
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = Field(
        "", description="When the image is pulled; empty: Kubernetes' rule."
    )
    image_pull_secrets: tuple[str, ...] = Field((), description="Secrets to pull it with.")
    service_account: str = Field(
        "", description="Account of the pods, whose token they do not get; empty: default."
    )
    priority_class: str = Field(
        "",
        description=(
            "PriorityClass of the pods. It should never preempt: a test must not end a job."
        ),
    )
    runtime_class: str = Field("", description="Runtime class that gives the driver's libraries.")
    state_directory: str = Field(
        "/var/lib/konduktor-health",
        pattern=f"^{_PATH}$",
        description="Directory of the node part on the host, as the agents have it.",
    )
    privileged: bool = Field(
        False, description="Privileged pods, where the runtime gives them no GPU otherwise."
    )
    requests: dict[str, str] = Field(
        {"cpu": "1", "memory": "2Gi"}, description="What a pod asks for, beside the GPUs."
    )
    limits: dict[str, str] = Field(
        {"memory": "16Gi"}, description="What it may use, beside the GPUs."
    )
    tolerations: tuple[str, ...] = Field(
        ("nvidia.com/gpu",),
        max_length=32,
        description="Keys of taints that are tolerated, beside our own.",
    )
    user_checks: str = Field("", description="ConfigMap with checks of the site.")
    own_checks: tuple[str, ...] = Field(
        (), max_length=64, description="Which of these are of the invasive tier."
    )
    most_percent: float = Field(
        10.0,
        gt=0,
        le=100,
        description="Share of the managed nodes that are tested at once, rounded up, percent,",
    )
    most: int = Field(10, ge=1, le=1000, description="and at most so many.")
    pending_s: float = Field(
        300.0,
        ge=10,
        le=3600,
        description="A test that has not begun after so long is put off, seconds.",
    )
    deadline_s: float = Field(
        18_000.0, ge=60, le=172_800, description="Longest time that one may take, seconds."
    )
    retry_s: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="Pause after a test that brought no proof, seconds; doubled each time,",
    )
    retry_most_s: float = Field(
        3600.0,
        ge=1,
        le=604_800,
        description="up to this; 600 where only GPUs that are in use are waited for.",
    )
    ttl_s: int = Field(
        3600, ge=0, le=604_800, description="A Job that has ended stays for so long, seconds."
    )
    interval_s: float = Field(
        0.0,
        ge=0,
        description=(
            "Test each healthy node once in so long, when its GPUs are idle, seconds; 0: never"
            " (agents do it by themselves, without a reservation)."
        ),
    )

    @field_validator("requests", "limits")
    @classmethod
    def _are_quantities(cls, value: dict[str, str]) -> dict[str, str]:
        for name, amount in value.items():
            if not re.fullmatch(_QUANTITY, amount):
                raise ValueError(f"{name[:80]}: an amount such as 500m, 2 or 16Gi is expected")
        return value


class ClaimSettings(Group):
    """A volume that is claimed and given back, to see whether storage works."""

    storage_class: str = Field(
        "",
        description=(
            "Storage class to test; empty: nothing is tested. Needs create, get, list and delete on"
            " persistentvolumeclaims in the agents' namespace, and get on this class."
        ),
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"] = Field(
        "ReadWriteOnce", description="Access mode of the claim."
    )
    size: str = Field("100Mi", pattern=f"^{_QUANTITY}$", description="Size of the claim.")
    interval_s: float = Field(3600.0, ge=60, description="Seconds between two tests.")
    timeout_s: float = Field(
        120.0, ge=5, le=3600, description="Longest wait until it is bound, and until it is gone."
    )
