"""Which settings are there, group by group? Every one: unit, meaning, default.

``konduktor_health.settings`` puts the groups together and reads them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from konduktor_health.job_settings import ClaimSettings, JobSettings
from konduktor_health.model import Corroborate, InjectionMode, Trust
from konduktor_health.round_settings import RoundSettings
from konduktor_health.setting_base import Group as _Group
from probes.report import PORT

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SHARD_LABEL = "(([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
SHARD_VALUE = rf"({_DNS_LABEL}(\.{_DNS_LABEL})*)?"
_MAX_LABEL_VALUE = 63  # characters, as Kubernetes has it
DEFAULT_LOKI = "http://loki.loki.svc.cluster.local:3100"


class LokiSettings(_Group):
    """How to reach Loki."""

    url: str = Field(DEFAULT_LOKI, description="Base URL of Loki, without /loki/api/v1.")

    @field_validator("url")
    @classmethod
    def _is_http_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")) or len(value.split("//", 1)[1]) == 0:
            raise ValueError("a URL such as http://localhost:3100 is expected")
        return value.rstrip("/")

    tenant: str = Field("", description="X-Scope-OrgID; empty sends no tenant.")
    username: str = Field("", description="User name for basic authentication.")
    password: SecretStr = Field(SecretStr(""), description="Password for basic authentication.")
    token_file: Path | None = Field(
        None, description="File with a bearer token; read again for each request."
    )
    ca_file: Path | None = Field(None, description="CA bundle (PEM) to verify Loki with.")
    verify_tls: bool = Field(True, description="Verify Loki's certificate.")
    headers: dict[str, str] = Field({}, description="Extra request headers.")
    trust_env: bool = Field(
        False, description="Let proxy and CA variables of the environment change requests."
    )
    connect_timeout_s: float = Field(3.0, gt=0, description="Connect time-out, seconds.")
    read_timeout_s: float = Field(
        65.0,
        gt=0,
        description="Longest wait for an answer, seconds; above Loki's query_timeout (60 s).",
    )
    page_lines: int = Field(
        5000, ge=2, description="Lines per page; Loki's max_entries_limit_per_query is 5000."
    )
    max_answer_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="An answer larger than this is refused, bytes."
    )
    attempts: int = Field(3, ge=1, description="Tries per request within one poll.")


class SourceSettings(_Group):
    """One log source. A preset fills what is left out."""

    name: str = Field("", description="Name in metrics and evidence; default: the preset's name.")
    preset: Literal["konduktor-otel", "promtail-journal", "kmsg", "pods", "custom"] = Field(
        "custom", description="Selector, node name, text, uptime and boot id as this shipper does."
    )
    selector: str = Field("", description='LogQL stream selector, e.g. {job="kmsg"}.')
    node_from: tuple[str, ...] = Field(
        (),
        description=(
            "Where the node name comes from, first hit wins: label:NAME (index label), "
            "metadata:NAME (structured metadata), json:PATH (in the line), record (wrapper's host)."
        ),
    )
    trust: Trust | None = Field(
        None, description="Trust class of the source: kernel or pod; default: the preset's."
    )
    optional: bool = Field(
        False, description="Not being read does not make the controller not ready, if another is."
    )
    pod: bool | None = Field(None, description="True: pod logs, decoded with the pod rules.")


class ReadingSettings(_Group):
    """When and how far the log is read."""

    poll_interval_s: float = Field(2.0, gt=0, description="Seconds between polls of a source.")
    first_lookback_s: float = Field(
        900.0, ge=0, description="First start or lost cursor: look back this many seconds."
    )
    overlap_s: float = Field(
        30.0, ge=0, description="Least overlap of each poll with what was read, seconds."
    )
    minute_band_s: float = Field(
        600.0, ge=0, description="Each minute this much is read again, seconds (at most 600)."
    )
    deep_band_s: float = Field(
        21_600.0, ge=0, description="Each hour this much is read again, seconds; 0: never."
    )
    bytes_per_minute: int = Field(
        2_000_000_000, ge=1, description="Bytes that Loki may scan for us a minute, per source."
    )
    coverage_interval_s: float = Field(
        60.0, ge=0, description="Seconds between two questions who ships logs at all; 0: never."
    )
    coverage_window_s: float = Field(
        300.0,
        ge=10,
        description="A node that shipped any line within this time ships, seconds; more than lag.",
    )
    cluster_label: str = Field("cluster", description="Index label that tells clusters apart.")
    cluster: str = Field("", description="Value of the cluster label to read; empty: no matcher.")


class ClusterSettings(_Group):
    """How to reach the Kubernetes API, and which nodes are ours to manage."""

    kubeconfig: Path | None = Field(
        None, description="kubeconfig; default: in-cluster, KUBECONFIG, ~/.kube/config."
    )
    context: str = Field("", description="kubeconfig context; default: the current one.")
    namespace: str = Field(
        "",
        description="Namespace of Lease and ConfigMap; default: the pod's, else konduktor-health.",
    )
    timeout_s: float = Field(5.0, gt=0, description="Time-out of one API call, seconds.")
    node_selector: str = Field(
        "nvidia.com/gpu.present=true",
        description="Label selector of managed nodes (equality terms); GPU capacity counts too.",
    )
    gpu_resource: str = Field(
        "nvidia.com/gpu", description="Extended resource whose capacity makes a node managed."
    )
    key_prefix: str = Field("trainy.konduktor.ai", description="Domain of our taint and keys.")
    condition: str = Field("KonduktorHealthy", description="Type of our Node condition.")
    writers: int = Field(8, ge=1, le=64, description="Nodes that are written at once.")


class PolicySettings(_Group):
    """What may be done, and how much of it (docs/concepts/safety.md 4)."""

    budget_enabled: bool = Field(True, description="Limit how many nodes may be tainted.")
    budget_percent: float = Field(
        10.0,
        gt=0,
        le=100,
        description="Share of the managed nodes that may be tainted, rounded up, percent.",
    )
    budget_max_nodes: int = Field(20, ge=1, description="Most nodes tainted at a time.")
    rate_per_minute: int = Field(10, ge=0, description="New taints a minute; 0: no limit.")
    surge_enabled: bool = Field(True, description="Hold when many nodes show one fault at once.")
    surge_min_nodes: int = Field(5, ge=1, description="A surge is at least this many nodes,")
    surge_percent: float = Field(3.0, gt=0, le=100, description="and at least this share, percent,")
    surge_window_s: float = Field(600.0, gt=0, description="within this time, seconds.")
    surge_quiet_s: float = Field(
        1800.0, gt=0, description="A surge is over after so long without another node, seconds."
    )
    start_up_grace_s: float = Field(
        300.0, ge=0, description="A Node that is younger is not tainted, seconds."
    )
    after_boot_grace_s: float = Field(
        0.0, ge=0, description="Nor is one for so long after a boot that was noticed, seconds."
    )
    injection: InjectionMode = Field(
        InjectionMode.ACT,
        description="Faults written into the kernel log by a program: act, report or ignore.",
    )
    corroborate: Corroborate = Field(
        Corroborate.PREFER,
        description=(
            "Kernel lines are confirmed by the node's agent: off, prefer (a line that it denies is"
            " held) or require (one that it does not confirm is held too)."
        ),
    )
    observe: tuple[str, ...] | None = Field(
        None,
        description=(
            "Fault ids that are recorded and never the reason for a taint; default: those with a"
            " doubt in the page of faults. A list replaces them, [] observes none."
        ),
    )
    repeat_write_interval_s: float = Field(
        300.0,
        ge=0,
        description="Repeats of a known record reach the Node at most this often, seconds.",
    )


class LeaseSettings(_Group):
    """Leader election."""

    name: str = Field("konduktor-health", description="Name of the Lease.")
    duration_s: float = Field(15.0, gt=0, description="Lease duration, seconds.")
    renew_deadline_s: float = Field(10.0, gt=0, description="Give up leading after, seconds.")
    retry_s: float = Field(2.0, gt=0, description="Seconds between tries.")


class PodEventSettings(_Group):
    """Events on the pods that use the GPUs of a node that is tainted."""

    enabled: bool = Field(
        True,
        description=(
            "Tell the pods. Needs list on pods and create on events in all namespaces; the chart"
            " leaves these rights out when this is false."
        ),
    )


class ShardSettings(_Group):
    """Several controllers that share the nodes of one cluster out among them."""

    label: str = Field(
        "",
        description="Node label whose value says which shard a node is of; empty: no shards.",
    )
    value: str = Field(
        "",
        description=(
            "Value of the nodes that this controller manages: lower case letters, digits, - and .,"
            " since it ends the names of Lease and state. Empty: nodes without the label."
        ),
    )

    @field_validator("label")
    @classmethod
    def _is_label_key(cls, value: str) -> str:
        if not re.fullmatch(SHARD_LABEL, value):
            raise ValueError("the key of a Node label is expected")
        return value

    @field_validator("value")
    @classmethod
    def _is_part_of_a_name(cls, value: str) -> str:
        if not re.fullmatch(SHARD_VALUE, value) or len(value) > _MAX_LABEL_VALUE:
            raise ValueError(
                "the value ends the name of a Lease: lower case letters, digits, - and ., at most"
                f" {_MAX_LABEL_VALUE} characters; give the nodes a label with such values"
            )
        return value

    @model_validator(mode="after")
    def _has_a_label(self) -> ShardSettings:
        if self.value and not self.label:
            raise ValueError(f"value {self.value!r} is of no label: set shard.label too")
        return self


class ProbeSettings(_Group):
    """The agents on the nodes: which pods they are, and how often they are asked."""

    enabled: bool = Field(True, description="Ask agents at all; without them logs alone count.")
    namespace: str = Field(
        "", description="Namespace of their pods; default: the pod's, else konduktor-health."
    )
    daemonset: str = Field(
        "konduktor-health-probe",
        min_length=1,
        description="DaemonSet that owns them; a pod of another owner is not believed.",
    )
    selector: str = Field(
        "app.kubernetes.io/component=probe", description="Label selector of their pods."
    )
    port: int = Field(PORT, ge=1, le=65535, description="Port that the agents answer on.")
    interval_s: float = Field(
        300.0, ge=1, description="Seconds between two questions to the agent of a healthy node."
    )
    close_interval_s: float = Field(
        30.0,
        ge=1,
        description="The same for nodes that are not healthy, or have just booted, seconds.",
    )
    timeout_s: float = Field(
        5.0, gt=0, le=60, description="Longest wait for an agent's whole answer, seconds."
    )
    light_interval_s: float = Field(
        60.0,
        ge=0,
        description=(
            "How often agents run the light tier, as they are configured, seconds; 0: they do not."
            " An agent is stale after 3 intervals (this or interval_s) without a run."
        ),
    )
    invasive_interval_s: float = Field(
        14_400.0,
        ge=0,
        description=(
            "How often agents run the invasive tier on idle GPUs, as they are configured, seconds;"
            " 0: they do not. It is told of rules that ask for the tier where nobody runs it."
        ),
    )
    workers: int = Field(16, ge=1, le=256, description="Agents that are asked at once.")
    key_days: float = Field(
        30.0, ge=0, description="Days after which the signing key is replaced; 0: never."
    )
    labels: tuple[str, ...] = Field(
        (
            "nvidia.com/gpu.product",
            "nvidia.com/gpu.machine",
            "node.kubernetes.io/instance-type",
        ),
        max_length=64,
        description="Keys of Node labels that the node's agent is told.",
    )
    thresholds: dict[str, float] = Field(
        {},
        max_length=256,
        description=(
            "What checks judge by instead of the shipped thresholds, CHECK/MEASUREMENT to number;"
            " a Node label KEY_PREFIX/threshold.CHECK.MEASUREMENT counts before it."
        ),
    )
    peers: int = Field(
        4, ge=0, le=12, description="Agents whose addresses each agent is told, to measure against."
    )
    connections: int = Field(
        256, ge=0, description="Connections to agents that are kept open between questions."
    )
    rounds: RoundSettings = RoundSettings()
    jobs: JobSettings = JobSettings()
    pvc: ClaimSettings = ClaimSettings()

    @property
    def run_invasive(self) -> bool:
        """Whether anybody runs the invasive tier: agents by themselves, or Jobs."""
        return self.enabled and (self.jobs.enabled or self.invasive_interval_s > 0)

    @field_validator("thresholds")
    @classmethod
    def _are_of_measurements(cls, value: dict[str, float]) -> dict[str, float]:
        for name, number in value.items():
            if not re.fullmatch(r"[a-z0-9-]{1,63}/[a-z0-9_]{1,63}", name):
                raise ValueError(f"{name[:80]!r}: CHECK/MEASUREMENT is expected")
            if not math.isfinite(number):
                raise ValueError(f"{name}: a number is expected")
        return value


class AutopilotSettings(_Group):
    """A port for users of IBM Autopilot, with its paths and texts. Whoever can reach it may ask;
    nobody is asked who they are (docs/guides/switch-from-autopilot.md)."""

    enabled: bool = Field(False, description="Answer on Autopilot's paths.")
    host: str = Field("", description="Address to listen on; empty: all, IPv4 and IPv6.")
    port: int = Field(3333, ge=0, le=65535, description="Port; 0: any free one.")
    start: bool = Field(
        False,
        description=(
            "Let whoever asks have light checks run on nodes, iperf3 and pings between them, and a"
            " volume claimed (probes.pvc); else the newest results are told."
        ),
    )
    start_invasive: bool = Field(
        False,
        description=(
            "Let whoever asks for /invasive have healthy nodes tested by Jobs that take all GPUs"
            " once they are idle; needs probes.jobs.enabled."
        ),
    )
    agent_port: int = Field(
        3333,
        ge=1,
        le=65535,
        description="Port of the agents' --compat-autopilot-listen, where their texts are.",
    )
    timeout_s: float = Field(
        1800.0, gt=0, le=86_400, description="Longest wait for a node's answer, seconds."
    )
    at_once: int = Field(4, ge=1, le=64, description="Questions that are answered at once.")


class HttpSettings(_Group):
    """The controller's own HTTP port: /metrics, /healthz, /readyz."""

    host: str = Field("", description="Address to listen on; empty: all, IPv4 and IPv6.")
    port: int = Field(8080, ge=0, le=65535, description="Port; 0: any free one.")
    enabled: bool = Field(True, description="Serve at all.")
