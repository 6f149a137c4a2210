"""Which tables does the site's rules file make now? Looked at by the loop (``runtime.watch``)."""

from __future__ import annotations

from pathlib import Path

from konduktor_health.adapters.rules_file import judge, read_content, summary
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.watch import CHECK_HINT, LOOK_S, FileWatch
from parsers.tables import Tables

__all__ = ["LOOK_S", "RulesWatch"]


class RulesWatch(FileWatch[Tables]):
    """The rules file of a controller. Used by one thread."""

    what = "rules file"
    before = "the rules before it hold"

    def __init__(self, path: Path, *, clock: Clock, metrics: Metrics) -> None:
        """Read the file for the first time. Raises ConfigError when it is wrong."""
        super().__init__(path, clock=clock, loads=metrics.rules_loads, broken=metrics.rules_broken)

    @property
    def tables(self) -> Tables:
        """The tables in use."""
        return self.said

    def _read(self, path: Path) -> bytes:
        return read_content(path)

    def _judged(self, content: bytes) -> Tables:
        judged = judge(content)
        if judged.problems:
            raise ConfigError(summary(self._path, judged), hint=CHECK_HINT)
        return judged.recorded
