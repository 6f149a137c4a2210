"""Which sources do the settings ask for?"""

from __future__ import annotations

import threading

from konduktor_health.adapters.loki.client import LokiClient
from konduktor_health.adapters.loki.coverage import LokiCoverage, counted_by
from konduktor_health.adapters.loki.presets import SourceSpec, for_cluster, spec
from konduktor_health.adapters.loki.reader import LokiSource
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError
from konduktor_health.settings import Settings, SourceSettings
from parsers import tables
from parsers.record import unwrap
from parsers.tables import Tables

#: Asked for where no rule asks for anything: without a filter every line would come.
NO_RULE = "konduktor-health has no rule for these lines"


def literals_for(one: SourceSpec, read: Tables) -> tuple[str, ...]:
    """What a source's lines are filtered by; never empty."""
    return (read.pod_literals if one.pod else read.literals) or (NO_RULE,)


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


def build_coverage(settings: Settings, clock: Clock, stop: threading.Event) -> list[LokiCoverage]:
    """Who ships logs, for each kernel source that can be asked; a connection of its own for each.

    Raises ConfigError for settings that cannot work.
    """
    if not settings.reading.coverage_interval_s:
        return []
    return [
        LokiCoverage(
            LokiClient(settings.loki, clock=clock, stop=stop),
            for_cluster(one, settings.reading),
            clock=clock,
            window_s=settings.reading.coverage_window_s,
        )
        for one in build_specs(settings)
        if counted_by(one)
    ]


def build_sources(
    settings: Settings, clock: Clock, stop: threading.Event, read: Tables | None = None
) -> list[LokiSource]:
    """A source with a connection of its own for each; ``stop`` ends their reads at once.
    ``read``: the tables that lines are wanted for; default: the shipped ones.

    Raises ConfigError for settings that cannot work.
    """
    read = tables.recorded() if read is None else read
    return [
        LokiSource(
            LokiClient(settings.loki, clock=clock, stop=stop),
            one,
            settings.reading,
            clock=clock,
            literals=literals_for(one, read),
            unwrap=unwrap,
        )
        for one in build_specs(settings)
    ]
