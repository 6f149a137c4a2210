"""Which policies are replayed? A preset's name, or a policy file; without either, what a controller
with these settings decides by.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from konduktor_health.cli import policy_source
from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.model import Policy
from konduktor_health.settings import Settings
from parsers.tables import Tables

if TYPE_CHECKING:
    from konduktor_health.policy.document import PresetName


@dataclass(frozen=True, slots=True)
class Named:
    """A policy and what it is called in the report."""

    name: str
    policy: Policy


def chosen(settings: Settings, read: Tables, file: Path | None, preset: str | None) -> Named:
    """The policy of --policy or --preset, or the one in use. Raises ConfigError."""
    sources = policy_source.Sources(settings, read)
    if file is not None and preset is not None:
        raise ConfigError("--policy and --preset", hint="one or the other")
    if file is not None:
        return _named(sources.file(file))
    if preset is not None:
        return _named(sources.preset(_preset(preset)))
    return _named(sources.in_use())


def other(settings: Settings, read: Tables, word: str) -> Named:
    """The policy of --compare: a preset by its name, else a file. Raises ConfigError."""
    return _named(policy_source.Sources(settings, read).named(word))


def _preset(word: str) -> PresetName:
    from konduktor_health.policy.document import PresetName

    try:
        return PresetName(word)
    except ValueError:
        names = ", ".join(each.value for each in PresetName)
        raise ConfigError(f"no such preset: {excerpt(word)!r}", hint=f"one of {names}") from None


def _named(found: policy_source.Named) -> Named:
    """A file goes by its name: the report is read beside the lines."""
    name = found.name if found.document is None else Path(found.name).name
    return Named(name, found.policy)
