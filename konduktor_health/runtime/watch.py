"""Has a file that a site wrote changed, and can it be used? Looked at by the loop, now and then.

Bytes are compared: a ConfigMap mount swaps symbolic links, and its times say nothing. A file that
is wrong, or gone, changes nothing: what it said before holds, it is logged once, and a metric shows
it. What the file says is a matter of whoever is derived from this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from loguru import logger
from prometheus_client import Counter, Gauge

from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError

LOOK_S = 5.0  # seconds between looks; a kubelet takes up to a minute to change a mount
CHECK_HINT = "konduktor-health policy check FILE tells every problem with line and column"
Said = TypeVar("Said")


class FileWatch(ABC, Generic[Said]):
    """One file of a controller. Used by one thread. ``what``: "rules file"; ``before``: what holds
    when it is wrong, "the rules before it hold"."""

    what: str
    before: str

    def __init__(self, path: Path, *, clock: Clock, loads: Counter, broken: Gauge) -> None:
        """Read the file for the first time. Raises ConfigError when it is wrong."""
        self._path = path
        self._clock = clock
        self._loads = loads
        self._broken = broken
        self._seen: bytes | str | None = self._content()
        self._looked_s = clock.monotonic()
        self.said = self._checked(self._seen)
        self._use: Callable[[Said], None] = lambda _said: None
        self._taken()

    @abstractmethod
    def _read(self, path: Path) -> bytes:
        """The file's content. Raises ConfigError."""

    @abstractmethod
    def _judged(self, content: bytes) -> Said:
        """What a content says. Raises ConfigError."""

    def on_change(self, use: Callable[[Said], None]) -> None:
        """Whom to tell what it says now, in the thread that looks; its ConfigError refuses it."""
        self._use = use

    def look(self) -> None:
        """Take up a changed file, if it is time to look. Never raises for the file's sake."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        seen: bytes | str
        try:
            seen = self._content()
        except ConfigError as error:
            seen = str(error)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            said = self._checked(seen)
            self._use(said)
        except ConfigError as error:
            self._keep(f"{error}; {self.before}", error.hint)
        except Exception as error:  # a bug in the checks must not keep the loop from the logs
            logger.opt(exception=error).error(f"bug: the {self.what} was not judged")
            self._keep(f"the {self.what} was not taken: a bug; {self.before}", "")
        else:
            self.said = said
            self._taken()

    def retry(self) -> None:
        """What the file is judged by has changed: if it was refused, judge it again at the next
        look."""
        if self._refused:
            self._seen = None

    def _content(self) -> bytes:
        return self._read(self._path)

    def _checked(self, seen: bytes | str) -> Said:
        if isinstance(seen, str):
            raise ConfigError(seen)
        return self._judged(seen)

    def _taken(self) -> None:
        self._refused = False
        self._loads.labels("ok").inc()
        self._broken.set(0)
        logger.info(f"{self.what} {self._path} is in use")

    def _keep(self, message: str, hint: str) -> None:
        self._refused = True
        self._loads.labels("failed").inc()
        self._broken.set(1)
        logger.bind(hint=hint).error(message)
