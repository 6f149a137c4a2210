"""How are log lines read from Grafana Loki without losing one?

``client`` asks, ``paging`` reads a window completely, ``reader`` keeps cursor, bands and gaps,
``presets`` knows the shippers, ``coverage`` asks who ships at all. ``build_sources`` makes the
sources of the settings.
"""

from konduktor_health.adapters.loki.build import (
    build_coverage,
    build_sources,
    build_specs,
    literals_for,
)
from konduktor_health.adapters.loki.client import LokiClient
from konduktor_health.adapters.loki.history import history
from konduktor_health.adapters.loki.presets import SourceSpec, for_cluster, spec
from konduktor_health.adapters.loki.reader import LokiSource

__all__ = [
    "LokiClient",
    "LokiSource",
    "SourceSpec",
    "build_coverage",
    "build_sources",
    "build_specs",
    "for_cluster",
    "history",
    "literals_for",
    "spec",
]
