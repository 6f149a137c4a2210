"""Which sources do the settings ask for?"""

from __future__ import annotations

import threading

from konduktor_health.adapters.loki.client import LokiClient
from konduktor_health.adapters.loki.presets import SourceSpec, spec
from konduktor_health.adapters.loki.reader import LokiSource
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError
from konduktor_health.settings import Settings, SourceSettings
from parsers import tables
from parsers.record import unwrap


def build_specs(settings: Settings) -> list[SourceSpec]:
    """The configured sources, and the pods of the watched namespaces. Raises ConfigError."""
    wanted = list(settings.sources)
    if settings.watched_namespaces and not any(source.preset == "pods" for source in wanted):
        wanted.append(SourceSettings(preset="pods"))
    specs = [spec(source, settings.watched_namespaces) for source in wanted]
    names = [one.name for one in specs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two sources are named {name}", hint="give each its own name")
    if not specs:
        raise ConfigError("no log source is configured", hint="sources, or WATCHED_NAMESPACES")
    return specs


def build_sources(settings: Settings, clock: Clock, stop: threading.Event) -> list[LokiSource]:
    """A source with a connection of its own for each; ``stop`` ends their reads at once.

    Raises ConfigError for settings that cannot work.
    """
    read = tables.recorded()
    return [
        LokiSource(
            LokiClient(settings.loki, clock=clock, stop=stop),
            one,
            settings.reading,
            clock=clock,
            literals=read.pod_literals if one.pod else read.literals,
            unwrap=unwrap,
        )
        for one in build_specs(settings)
    ]
