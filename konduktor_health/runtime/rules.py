"""Has the site's rules file changed, and can it be used? Looked at by the loop, now and then.

Bytes are compared: a ConfigMap mount swaps symbolic links, and its times say nothing. A file that
is wrong, or gone, changes nothing: the rules before it hold, it is logged once, and a metric shows
it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loguru import logger

from konduktor_health.adapters.rules_file import judge, read_content, summary
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.metrics import Metrics
from parsers.tables import Tables

LOOK_S = 5.0  # seconds between looks; a kubelet takes up to a minute to change a mount
_HINT = "konduktor-health policy check FILE tells every problem with line and column"


class RulesWatch:
    """The rules file of a controller. Used by one thread."""

    def __init__(self, path: Path, *, clock: Clock, metrics: Metrics) -> None:
        """Read the file for the first time. Raises ConfigError when it is wrong."""
        self._path = path
        self._clock = clock
        self._metrics = metrics
        self._seen: bytes | str = read_content(path)
        self._looked_s = clock.monotonic()
        self.tables = self._judged(self._seen)
        self._use: Callable[[Tables], None] = lambda _tables: None
        self._taken()

    def on_change(self, use: Callable[[Tables], None]) -> None:
        """Whom to tell the new tables, in the thread that looks; its ConfigError refuses them."""
        self._use = use

    def look(self) -> None:
        """Take up a changed file, if it is time to look. Never raises for the file's sake."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        seen: bytes | str
        try:
            seen = read_content(self._path)
        except ConfigError as error:
            seen = str(error)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            read = self._judged(seen)
            self._use(read)
        except ConfigError as error:
            self._keep(f"{error}; the rules before it hold", error.hint)
        except Exception as error:  # a bug in the checks must not keep the loop from the logs
            logger.opt(exception=error).error("bug: the rules file was not judged")
            self._keep("the rules file was not taken: a bug; the rules before it hold", "")
        else:
            self.tables = read
            self._taken()

    def _judged(self, seen: bytes | str) -> Tables:
        """The tables of a content, or why there is none. Raises ConfigError."""
        if isinstance(seen, str):
            raise ConfigError(seen)
        judged = judge(seen)
        if judged.problems:
            raise ConfigError(summary(self._path, judged), hint=_HINT)
        return judged.recorded

    def _taken(self) -> None:
        self._metrics.rules_loads.labels("ok").inc()
        self._metrics.rules_broken.set(0)
        logger.info(f"rules file {self._path} is in use")

    def _keep(self, message: str, hint: str) -> None:
        self._metrics.rules_loads.labels("failed").inc()
        self._metrics.rules_broken.set(1)
        logger.bind(hint=hint).error(message)
