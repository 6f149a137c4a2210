"""Which settings are there? Every one: unit, meaning, default.

Precedence, lowest first: the defaults below, a YAML file (``--config`` or
``KONDUKTOR_HEALTH_CONFIG``), environment variables (``KONDUKTOR_HEALTH_<GROUP>__<FIELD>``),
command-line flags. ``LOG_ENDPOINT``, ``WATCHED_NAMESPACES`` and ``KONDUKTOR_DEBUG`` are
honoured as Konduktor's controller does; they rank just below our own variables.
An unknown key is an error. docs/reference/settings.md is generated from this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationError,
    field_validator,
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
from konduktor_health.model import Keys, Pauses, Policy
from konduktor_health.observation import observed
from konduktor_health.setting_groups import (
    DEFAULT_LOKI,
    SHARD_LABEL,
    SHARD_VALUE,
    AutopilotSettings,
    ClusterSettings,
    HttpSettings,
    LeaseSettings,
    LokiSettings,
    PodEventSettings,
    PolicySettings,
    ProbeSettings,
    ReadingSettings,
    ShardSettings,
    SourceSettings,
)
from parsers.tables import Tables

__all__ = [
    "CACHE_VARIABLE",
    "CONFIG_VARIABLE",
    "DEFAULT_LOKI",
    "ENV_PREFIX",
    "SHARD_LABEL",
    "SHARD_VALUE",
    "AutopilotSettings",
    "ClusterSettings",
    "HttpSettings",
    "LeaseSettings",
    "LokiSettings",
    "PodEventSettings",
    "PolicySettings",
    "ProbeSettings",
    "ReadingSettings",
    "Settings",
    "ShardSettings",
    "SourceSettings",
    "load",
]

ENV_PREFIX = "KONDUKTOR_HEALTH_"
CONFIG_VARIABLE = "KONDUKTOR_HEALTH_CONFIG"
CACHE_VARIABLE = "KONDUKTOR_HEALTH_CACHE"  # read by tests/servers/build.py only


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
    probes: ProbeSettings = ProbeSettings()
    shard: ShardSettings = ShardSettings()
    http: HttpSettings = HttpSettings()
    autopilot: AutopilotSettings = AutopilotSettings()
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
