"""What do agents and controller say to each other? The wire schema, the only module of ``probes``
that the controller imports.

Invariants:
- A reader takes what it knows and ignores the rest, so that agents and controllers of different
  versions talk; what it knows is bounded and of the right type, or the body is refused.
- The node that a report names is what the agent believes. The controller goes by the pod that
  served it.
- A signature covers the raw body and the endpoint it is for, so that a request for one purpose is
  not one for another.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

VERSION = 1
#: The agent's port.
PORT = 9410
#: Most bytes of a report. 8 GPUs and 30 checks are about 60 KiB.
MOST_BODY_BYTES = 1024 * 1024
#: ``X-Konduktor-Signature: <key id>:<base64 of the Ed25519 signature>``.
SIGNATURE_HEADER = "X-Konduktor-Signature"
#: A signed request is good for at most so long; older and longer ones are refused.
LONGEST_VALIDITY_S = 300.0

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Device = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9:._/-]*$")]
Text = Annotated[str, StringConstraints(max_length=512)]
Short = Annotated[str, StringConstraints(max_length=128)]
NodeName = Annotated[
    str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*)$")
]
BootId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{32})?$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Ns = Annotated[int, Field(ge=0, le=2**63 - 1)]  # Unix nanoseconds


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: To JSON Schema 7.0 is an integer. Only of requests: reports are read by the thousand.
_Whole = BeforeValidator(_whole)

OutcomeName = Literal["pass", "fail", "warn", "skip", "timeout", "error"]
TierName = Literal["boot", "light", "invasive"]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Limit(_Wire):
    """What a value was judged by."""

    value: float
    bound: Literal["at_least", "at_most", "equal"]
    source: Short


class Measured(_Wire):
    """A number."""

    name: Short
    value: float
    unit: Short = ""
    threshold: Limit | None = None


class Result(_Wire):
    """One finding of one check."""

    check: Name
    tier: TierName
    outcome: OutcomeName
    message: Text = ""
    device: Device = ""
    measurements: Annotated[tuple[Measured, ...], Field(max_length=64)] = ()
    severity: Literal["fatal", "degraded"] = "degraded"
    remedy: Literal[
        "none",
        "restart_app",
        "reset_gpu",
        "drain_reset",
        "drain_inspect",
        "reboot",
        "power_cycle",
        "inspect",
    ] = "inspect"
    busy: bool | None = None
    under_load: bool = False
    backend: Short = ""  # "nvml", "sysfs", "fake", "none"
    fake: bool = False  # of a fake backend: proves nothing
    ended_ns: Ns
    duration_s: Annotated[float, Field(ge=0)] = 0.0
    detail: Annotated[dict[Short, Text], Field(max_length=16)] = {}


class Run(_Wire):
    """Checks that were run together. It is told once it has ended, whole."""

    run_id: RunId
    cadence: Name  # boot, light, hourly, invasive, or requested
    reason: Short = ""  # "schedule", "request <id>", "job <uid>"
    boot_id: BootId = ""
    began_ns: Ns
    ended_ns: Ns
    results: Annotated[tuple[Result, ...], Field(max_length=2048)] = ()


class Report(_Wire):
    """``GET /v1/report``: the newest runs of each cadence in this boot, oldest first. Its ETag
    changes when a run ends, when other settings are in force, and with nothing else."""

    version: int = VERSION
    node: NodeName  # what the agent believes; never what the controller goes by
    boot_id: BootId
    agent: Short = ""  # version of the agent
    backend: Short = ""
    fake: bool = False
    started_ns: Ns = 0  # of the agent
    runs: Annotated[tuple[Run, ...], Field(max_length=64)] = ()
    #: Checks that are stuck: their process could not be killed and they are not started again.
    stuck: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    #: ``settings_digest`` of the settings in force; "" while there are none.
    settings: Short = ""


class RunRequest(_Wire):
    """``POST /v1/run``, signed: run these checks once, on behalf of the controller."""

    node: NodeName  # has to be the agent's
    request_id: RunId  # also the run's id
    checks: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    tier: TierName | None = None  # all checks of the tier; beside ``checks``
    options: Annotated[dict[Short, Text], Field(max_length=64)] = {}  # "ping.peer": "node-b"
    issued_ns: Annotated[Ns, _Whole]
    expires_ns: Annotated[Ns, _Whole]
    nonce: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")]


class NodeSettings(_Wire):
    """``POST /v1/settings``, signed: what only the controller knows of the node. Kept on disk."""

    node: NodeName
    labels: Annotated[dict[Short, Text], Field(max_length=64)] = {}
    expected_gpus: Annotated[int, Field(ge=0, le=1024), _Whole] | None = None
    thresholds: Annotated[dict[Short, float], Field(max_length=256)] = {}
    peers: Annotated[
        dict[NodeName, dict[Short, tuple[Short, ...]]],
        Field(max_length=64, json_schema_extra={"additionalProperties": False}),
    ] = {}
    issued_ns: Annotated[Ns, _Whole]
    expires_ns: Annotated[Ns, _Whole]
    nonce: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")]


class RunAccepted(_Wire):
    """202 of ``POST /v1/run``."""

    run_id: RunId
    queued: int = 0  # runs before it


class KmsgQuestion(_Wire):
    """``POST /v1/kmsg``: is this record in the node's ring? One line of a log."""

    boot_id: BootId = ""
    uptime_us: Annotated[int, Field(ge=0), _Whole] | None = None  # as printed, microseconds
    sequence: Annotated[int, Field(ge=0), _Whole] | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class KmsgQuestions(_Wire):
    """At most 256 at once."""

    questions: Annotated[tuple[KmsgQuestion, ...], Field(min_length=1, max_length=256)]


class KmsgAnswer(_Wire):
    """confirmed: it is there. denied: the ring reaches back so far, and it is not. unknown: the
    ring does not reach back, or is of another boot."""

    answer: Literal["confirmed", "denied", "unknown"]
    injected: bool = False  # there, and written by a program (facility other than 0)
    reason: Short = ""


class KmsgAnswers(_Wire):
    """In the order of the questions."""

    boot_id: BootId
    answers: tuple[KmsgAnswer, ...]


class CheckInfo(_Wire):
    """One of ``GET /v1/checks``."""

    name: Name
    title: Text
    tier: TierName
    cadence: Name
    deadline_s: float
    needs_idle_gpus: bool = False
    interval_s: float = 0.0  # 0: never by itself
    last: OutcomeName | None = None  # worst of its newest run


def settings_digest(settings: NodeSettings) -> str:
    """Which settings these are, whenever and however often they were sent."""
    told = settings.model_dump(mode="json", exclude={"issued_ns", "expires_ns", "nonce"})
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def key_id(public_key: bytes) -> str:
    """What the signature header calls a key: of the 32 bytes of the public key (RFC 8032)."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def signed_bytes(endpoint: str, body: bytes) -> bytes:
    """What is signed: ``endpoint`` is "/v1/run" or "/v1/settings"."""
    return b"konduktor-health v1 POST " + endpoint.encode() + b"\n" + body
