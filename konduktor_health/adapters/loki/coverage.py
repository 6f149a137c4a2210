"""Which nodes ship logs at all? One small metric query per source, off the fault path.

Loki counts the lines of the last minutes by what tells the node's name, so that a quiet node that
ships is heard as well. Only names that are a label or structured metadata can be counted; where
the name is inside the line there is no coverage query, and the lines that are read have to do.

Loki refuses an answer of more than ``max_query_series`` series (500 by default). Then the names of
the known nodes are asked for in batches. A batch that fails makes the whole question fail: nobody
is taken for silent because of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from konduktor_health.adapters.loki.answers import Vector
from konduktor_health.adapters.loki.entries import MAX_NODE_NAME
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.adapters.loki.query import Query, counted, one_of
from konduktor_health.adapters.loki.refusals import TooManySeries
from konduktor_health.clock import NS, Clock
from konduktor_health.errors import LokiUnavailable
from konduktor_health.model import NodeView
from konduktor_health.ports import Attendance

DEADLINE_S = 45.0  # of one question, all batches together
QUERY_S = 20.0  # of one query
_MOST_NODES = 400  # of a batch
_MOST_TEXT = 60_000  # characters of a batch; Loki takes 131,072 in a query
_WHOLE_AGAIN = 60  # questions in batches before the whole is tried once more


class Counter(Protocol):
    """What is asked of Loki; LokiClient is one."""

    def query(self, query: str, time_ns: int, timeout_s: float | None = None) -> Vector:
        """As LokiClient.query."""
        ...


def counted_by(spec: SourceSpec) -> tuple[str, ...]:
    """The labels that tell a node's name, first hit wins; none where it is inside the line, or
    where the source says nothing of its node's kernel (pods)."""
    names: list[str] = []
    for rule in spec.node_from:
        kind, _, name = rule.partition(":")
        if kind not in ("label", "metadata"):
            break  # what follows is used only where the line names no node
        if name not in names:
            names.append(name)
    return () if spec.pod else tuple(names)


class LokiCoverage:
    """Coverage of one source."""

    def __init__(self, client: Counter, spec: SourceSpec, *, clock: Clock, window_s: float) -> None:
        """``spec``: narrowed to the cluster already, and counted by at least one label.
        ``window_s``: how far back lines count; more than they take to arrive."""
        self._client = client
        self._spec = spec
        self._labels = counted_by(spec)
        self._clock = clock
        self._window_s = max(1, int(window_s))
        self._batches = 0  # questions that will still be asked in batches
        self._batch_nodes = _MOST_NODES
        self._telling = self._labels  # labels that name a node in this source

    @property
    def name(self) -> str:
        """The source's name."""
        return self._spec.name

    def ask(self, nodes: Iterable[NodeView]) -> Attendance:
        """Who has shipped within the window. Raises as LokiClient.query_range."""
        now_ns, until_s = self._clock.now_ns(), self._clock.monotonic() + DEADLINE_S
        if self._batches == 0:
            try:
                vector = self._query(Query(self._spec.selector), self._labels, now_ns)
                return self._attendance([(self._labels, vector)], now_ns)
            except TooManySeries as error:
                self._batches = _WHOLE_AGAIN
                self._batch_nodes = max(1, min(_MOST_NODES, error.allowed))
        self._batches -= 1
        return self._attendance(self._in_batches(tuple(nodes), now_ns, until_s), now_ns)

    def _in_batches(
        self, nodes: Sequence[NodeView], now_ns: int, until_s: float
    ) -> Iterator[tuple[tuple[str, ...], Vector]]:
        if self._batches % 10 == 0:
            self._telling = self._labels  # a shipper may have been configured anew
        telling: set[str] = set()
        for batch in _batches(nodes, self._batch_nodes):
            for label in self._telling:
                if self._clock.monotonic() > until_s:
                    raise LokiUnavailable(
                        f"coverage of {len(nodes)} nodes not complete after {DEADLINE_S:g} s",
                        hint="raise limits_config.max_query_series of Loki above the nodes",
                    )
                query = Query(self._spec.selector).then(one_of(label, batch))
                try:
                    vector = self._query(query, (label,), now_ns)
                except TooManySeries as error:  # nodes with several names each
                    self._batch_nodes = max(1, self._batch_nodes // 2)
                    raise LokiUnavailable(f"{error}; asked for fewer next time") from error
                if vector.series:
                    telling.add(label)
                yield (label,), vector
        self._telling = tuple(label for label in self._labels if label in telling) or self._labels

    def _query(self, query: Query, labels: tuple[str, ...], now_ns: int) -> Vector:
        return self._client.query(counted(query, labels, self._window_s), now_ns, QUERY_S)

    def _attendance(
        self, answers: Iterable[tuple[tuple[str, ...], Vector]], now_ns: int
    ) -> Attendance:
        names: set[str] = set()
        scanned = 0
        for labels, vector in answers:
            scanned += vector.bytes_processed
            names.update(filter(None, (_name(series, labels) for series in vector.series)))
        start_ns = now_ns - self._window_s * NS
        return Attendance(self.name, frozenset(names), start_ns, now_ns, scanned)


def _name(series: Mapping[str, str], labels: tuple[str, ...]) -> str:
    """The node's name by the first label that has one, as ``entries.node_name`` reads it."""
    found = next((text for label in labels if (text := series.get(label, "").strip())), "")
    return found if found.isprintable() and len(found) <= MAX_NODE_NAME else ""


def _batches(nodes: Sequence[NodeView], most: int) -> Iterator[list[str]]:
    """Names and other names of the nodes, so many nodes at a time."""
    batch: list[str] = []
    count = size = 0
    for view in nodes:
        names = {view.name, *view.aliases, *(name.partition(".")[0] for name in view.aliases)}
        length = sum(2 * len(name) + 1 for name in names)
        if batch and (count >= most or size + length > _MOST_TEXT):
            yield batch
            batch, count, size = [], 0, 0
        batch += sorted(names)
        count, size = count + 1, size + length
    if batch:
        yield batch
