"""Which policy is meant by this word? A preset's name, a file, or what the settings make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from konduktor_health.cli import options
from konduktor_health.errors import ConfigError
from konduktor_health.model import Policy
from konduktor_health.settings import Settings
from parsers.tables import Tables

if TYPE_CHECKING:
    from konduktor_health.adapters.policy_file import Reader
    from konduktor_health.policy import PolicyDocument
    from konduktor_health.policy.document import PresetName


@dataclass(frozen=True, slots=True)
class Named:
    """A policy and where it is from. ``document`` is None for a preset."""

    name: str
    policy: Policy
    document: PolicyDocument | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Policies over the same settings and the same fault tables."""

    settings: Settings
    read: Tables | None

    def named(self, word: str) -> Named:
        """A preset, or a file without problems. Raises ConfigError."""
        preset = _preset(word)
        return self.file(Path(word)) if preset is None else self.preset(preset)

    def file(self, path: Path) -> Named:
        """The policy of a file. Raises ConfigError when it is wrong."""
        from konduktor_health.adapters.policy_file import read_policy

        judged = read_policy(path, self._reader())
        return Named(str(path), judged.policy, judged.document)

    def preset(self, name: PresetName) -> Named:
        """The policy of a preset."""
        from konduktor_health.policy import preset_policy

        reader = self._reader()
        return Named(name.value, preset_policy(name, reader.base, reader.given))

    def in_use(self) -> Named:
        """What a controller with these settings would decide by."""
        if self.settings.policy_file is not None:
            return self.file(self.settings.policy_file)
        return Named("settings", self._reader().base)

    def _reader(self) -> Reader:
        from konduktor_health.adapters.policy_file import reader_for

        return reader_for(self.settings, self.read)


def sources(config: Path | None, rules: Path | None) -> Sources:
    """Policies over the settings of all layers. ``rules``: a rules file in place of the one that
    the settings name. Raises ConfigError."""
    return _over(options.load(config), rules)


def of_settings(settings: Settings) -> Policy:
    """What a controller with these settings would decide by. Raises ConfigError."""
    return _over(settings, None).in_use().policy


def limits(settings: Settings) -> Policy:
    """The same for sums and budgets: without a policy file no rules are read."""
    return settings.limits() if settings.policy_file is None else of_settings(settings)


def _over(settings: Settings, rules: Path | None) -> Sources:
    judged = options.rules(rules or settings.rules_file)
    return Sources(settings, None if judged is None else judged.recorded)


def _preset(word: str) -> PresetName | None:
    from konduktor_health.policy.document import PresetName

    found = next((each for each in PresetName if each.value == word), None)
    if found is None and "/" not in word and "." not in word and not Path(word).exists():
        names = ", ".join(each.value for each in PresetName)
        raise ConfigError(f"{word}: no such file and no preset", hint=f"presets are {names}")
    return found
