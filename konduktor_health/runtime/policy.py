"""Which policy does the site's policy file make now? Looked at by the loop (``runtime.watch``).

A policy rests on the settings, on the fault tables and on the file. When the tables change it is
made again of the file as it was last taken (``remade``); a file that was refused is judged again at
the next look, since the tables may have what it names now.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from loguru import logger

from konduktor_health.adapters.policy_file import Reader, read_content, summary
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError
from konduktor_health.model import Policy
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.watch import CHECK_HINT, FileWatch
from parsers.printable import printable
from parsers.tables import Tables

_MOST_TOLD = 100
_SHOWN, _WARNED = 200, 500


class PolicyWatch(FileWatch[Policy]):
    """The policy file of a controller. Used by one thread, apart from what conditions report."""

    what = "policy file"
    before = "the policy before it holds"

    def __init__(self, path: Path, reader: Reader, *, clock: Clock, metrics: Metrics) -> None:
        """Read the file for the first time. Raises ConfigError when it is wrong."""
        self._failures = metrics.policy_condition_errors
        self._told: set[str] = set()
        self._reader = replace(reader, failed=self._condition_failed)
        self._content_in_use = b""
        self._judging = b""
        super().__init__(
            path, clock=clock, loads=metrics.policy_loads, broken=metrics.policy_broken
        )

    def remade(self, base: Policy, read: Tables) -> Policy:
        """The policy of the file in use over another base and other tables; they hold from then
        on. Raises ConfigError, and changes nothing, when the file names a fault that is gone."""
        reader = self._reader.using(base, read)
        judged = reader.judge(self._content_in_use)
        if judged.problems:
            raise ConfigError(summary(self._path, judged), hint=CHECK_HINT)
        self._reader, self.said = reader, judged.policy
        self.retry()
        return judged.policy

    def _read(self, path: Path) -> bytes:
        return read_content(path)

    def _judged(self, content: bytes) -> Policy:
        judged = self._reader.judge(content)
        if judged.problems:
            raise ConfigError(summary(self._path, judged), hint=CHECK_HINT)
        self._judging = content
        for each in judged.warnings:
            where = f"{self.what} {self._path}:{each}"
            logger.bind(hint=each.hint).warning(printable(where, _WARNED))
        return judged.policy

    def _taken(self) -> None:
        self._content_in_use = self._judging
        super()._taken()

    def _condition_failed(self, text: str, why: str) -> None:
        """A condition counts as not met; each is told once."""
        self._failures.inc()
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            shown = printable(text, _SHOWN)
            logger.warning(f"policy condition {shown!r} failed, and counts as not met: {why}")
