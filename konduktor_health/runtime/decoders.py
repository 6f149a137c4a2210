"""Which faults are in a line? One decoder for each source: a decoder assembles what follows.

Used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable

from konduktor_health.model import Fault
from konduktor_health.ports import LogEntry
from parsers.decode import Decoder
from parsers.tables import Tables


class Decoders:
    """The decoders of all sources. ``new`` makes one by the tables in use; ``failed`` is told the
    node and the error of a line that cannot be decoded: a bug, which costs that line alone."""

    def __init__(
        self, new: Callable[[], Decoder], failed: Callable[[str, Exception], None]
    ) -> None:
        self._new = new
        self._failed = failed
        self._of: dict[str, Decoder] = {}

    def use(self, read: Tables) -> None:
        """Decode by these tables from now on. What is half assembled stays."""
        self._new = lambda: Decoder(read)
        for decoder in self._of.values():
            decoder.use(read)

    def faults(self, source: str, entry: LogEntry, node: str) -> list[Fault]:
        """What a line of this source says of the node."""
        decoder = self._of.get(source)
        if decoder is None:
            decoder = self._of[source] = self._new()
        feed = decoder.feed_pod if entry.pod else decoder.feed
        try:
            return feed(entry.record, node, entry.time_ns)
        except Exception as error:
            self._failed(node, error)
            return []
