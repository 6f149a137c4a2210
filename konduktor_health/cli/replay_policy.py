"""Which policies are replayed? A preset's name, or a file; without either, that of the settings.

A file holds the fields of the setting group ``policy`` (docs/reference/settings.md), over those of
the settings in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.model import Policy
from konduktor_health.settings import Settings
from parsers.tables import Tables

PRESETS = ("default",)
_MOST_BYTES = 1 << 20
_HINT = "a preset, or a YAML file with fields such as budget_percent: 5"


@dataclass(frozen=True, slots=True)
class Named:
    """A policy and what it is called in the report."""

    name: str
    policy: Policy


def chosen(settings: Settings, read: Tables, file: Path | None, preset: str | None) -> Named:
    """The policy of --policy or --preset. Raises ConfigError."""
    if file is not None and preset is not None:
        raise ConfigError("--policy and --preset", hint="one or the other")
    if file is not None:
        return _of_file(settings, read, file)
    if preset is not None:
        return _of_preset(settings, read, preset)
    return Named("settings", settings.core_policy(read))


def other(settings: Settings, read: Tables, text: str) -> Named:
    """The policy of --compare: a preset by its name, else a file. Raises ConfigError."""
    if text in PRESETS:
        return _of_preset(settings, read, text)
    return _of_file(settings, read, Path(text))


def _of_preset(settings: Settings, read: Tables, name: str) -> Named:
    if name not in PRESETS:
        raise ConfigError(f"no such preset: {excerpt(name)!r}", hint=f"one of {', '.join(PRESETS)}")
    return Named(name, settings.core_policy(read))


def _of_file(settings: Settings, read: Tables, path: Path) -> Named:
    try:
        with path.open("rb") as file:
            content = yaml.safe_load(file.read(_MOST_BYTES))
    except OSError as error:
        raise ConfigError(f"policy file {path}: {error.strerror}", hint=_HINT) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"policy file {path}: not valid YAML: {excerpt(str(error))}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"policy file {path}: expected a mapping at the top", hint=_HINT)
    known = settings.policy.model_dump(exclude_unset=True)
    try:
        group = type(settings.policy).model_validate({**known, **content})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        got = excerpt(str(first["input"]))
        raise ConfigError(f"policy file {path}: {where}: {first['msg']} (got {got!r})") from error
    return Named(path.name, settings.model_copy(update={"policy": group}).core_policy(read))
