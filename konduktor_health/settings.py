"""Which settings are there? Every one: unit, meaning, default.

Precedence, lowest first: the defaults below, a YAML file (``--config`` or
``KONDUKTOR_HEALTH_CONFIG``), environment variables (``KONDUKTOR_HEALTH_<GROUP>__<FIELD>``),
command-line flags. ``LOG_ENDPOINT``, ``WATCHED_NAMESPACES`` and ``KONDUKTOR_DEBUG`` are
honoured as Konduktor's controller does; they rank just below our own variables.
An unknown key is an error. docs/reference/settings.md is generated from this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from konduktor_health.errors import ConfigError
from konduktor_health.model import InjectionMode, Keys, Pauses, Policy, Trust
from konduktor_health.observation import observed
from parsers.tables import Tables

ENV_PREFIX = "KONDUKTOR_HEALTH_"
CONFIG_VARIABLE = "KONDUKTOR_HEALTH_CONFIG"
CACHE_VARIABLE = "KONDUKTOR_HEALTH_CACHE"  # read by tests/servers/build.py only
_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SHARD_LABEL = "(([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
SHARD_VALUE = rf"({_DNS_LABEL}(\.{_DNS_LABEL})*)?"
_MAX_LABEL_VALUE = 63  # characters, as Kubernetes has it
DEFAULT_LOKI = "http://loki.loki.svc.cluster.local:3100"


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class HttpSettings(_Group):
    """The controller's own HTTP port: /metrics, /healthz, /readyz."""

    host: str = Field("", description="Address to listen on; empty: all, IPv4 and IPv6.")
    port: int = Field(8080, ge=0, le=65535, description="Port; 0: any free one.")
    enabled: bool = Field(True, description="Serve at all.")


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    loki: LokiSettings = LokiSettings()
    sources: tuple[SourceSettings, ...] = Field(
        (
            SourceSettings(preset="konduktor-otel", optional=True),
            SourceSettings(preset="kmsg", optional=True),
        ),
        description="Log sources; WATCHED_NAMESPACES adds one of preset pods.",
    )
    watched_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        ("default",), description="Namespaces whose pod logs are read (never act alone)."
    )
    rules_file: Path | None = Field(
        None,
        description=(
            "Rules of this site over the shipped tables (YAML); read again when they change."
        ),
    )
    policy_file: Path | None = Field(
        None,
        description=(
            "What is done about which fault, and how much of it (YAML); read again when it changes."
        ),
    )
    reading: ReadingSettings = ReadingSettings()
    cluster: ClusterSettings = ClusterSettings()
    policy: PolicySettings = PolicySettings()
    lease: LeaseSettings = LeaseSettings()
    pod_events: PodEventSettings = PodEventSettings()
    shard: ShardSettings = ShardSettings()
    http: HttpSettings = HttpSettings()
    debug: bool = Field(False, description="Log at level DEBUG.")
    log_format: Literal["json", "text"] = Field("json", description="Form of the log on stderr.")
    checkpoint_interval_s: float = Field(
        300.0, ge=1, description="Cursors are written to the ConfigMap at most this often, seconds."
    )

    @field_validator("watched_namespaces", mode="before")
    @classmethod
    def _split_namespaces(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def keys(self) -> Keys:
        """Our names on the cluster."""
        return Keys(prefix=self.cluster.key_prefix, condition=self.cluster.condition)

    def core_policy(self, read: Tables | None = None) -> Policy:
        """The part of the settings that the core decides with. ``read``: the tables in use;
        default: the shipped ones.

        Raises ConfigError for a fault id in ``policy.observe`` that is none.
        """
        return replace(self.limits(), observe=observed(self.policy.observe, read))

    def limits(self) -> Policy:
        """As ``core_policy``, but for the faults in observation: no rules are read."""
        graces = {"start_up_grace_s", "after_boot_grace_s"}
        values = self.policy.model_dump(exclude={"observe", *graces})
        pauses = Pauses(
            start_up_s=self.policy.start_up_grace_s, after_boot_s=self.policy.after_boot_grace_s
        )
        return Policy(keys=self.keys(), pauses=pauses, **values)


def load(
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read all layers. ``flags`` is nested like the settings; None values are left out.

    Raises ConfigError naming the layer's key, the offending value and what is allowed.
    """
    environ = os.environ if environ is None else environ
    chosen = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    from_file = _read_yaml(chosen) if chosen else {}
    from_konduktor = _konduktor_variables(environ)
    _refuse_unknown_variables(environ)

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, from_konduktor),
                InitSettingsSource(settings_cls, from_file),
            )

    try:
        return Layered(**_present(flags or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error), hint=_HINT) from error
    except SettingsError as error:
        raise ConfigError(f"settings: {error}", hint=_HINT) from error


_HINT = "docs/reference/settings.md lists every setting with its unit and default"


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """A misspelt group would otherwise be ignored without a word."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    known |= {CONFIG_VARIABLE, CACHE_VARIABLE}
    for name in environ:
        if name.startswith(ENV_PREFIX) and name.split("__", 1)[0] not in known:
            raise ConfigError(f"settings: environment variable {name}: no such setting", hint=_HINT)


def _konduktor_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the variables of Konduktor's controller say, in our words."""
    values: dict[str, Any] = {}
    if environ.get("LOG_ENDPOINT"):
        values["loki"] = {"url": environ["LOG_ENDPOINT"]}
    if "WATCHED_NAMESPACES" in environ:
        values["watched_namespaces"] = environ["WATCHED_NAMESPACES"]
    if environ.get("KONDUKTOR_DEBUG") == "1":
        values["debug"] = True
    return values


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"settings file {path}: {error.strerror}", hint="see --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first_line = " ".join(str(error).split())[:200]
        raise ConfigError(f"settings file {path}: not valid YAML: {first_line}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"settings file {path}: expected a mapping at the top")
    return content


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that were given: None means that the flag was left out."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            if nested := _present(value):
                kept[key] = nested
        elif value is not None:
            kept[key] = value
    return kept


def _explain(error: ValidationError) -> str:
    """One sentence per mistake: where, what, the offending value."""
    parts = []
    for item in error.errors(include_url=False):
        where = ".".join(str(piece) for piece in item["loc"])
        if item["type"] == "extra_forbidden":
            parts.append(f"{where}: no such setting")
        else:
            parts.append(f"{where}: {item['msg']} (got {str(item['input'])[:80]!r})")
    return "settings: " + "; ".join(parts)
