"""Which domains are suspected now, and who has been told? (``core.domains`` finds them.)

Told is once when it begins: a line in the log and an Event on the first of the nodes; the metric
counts, by label, as long as it lasts. Work is done only while at least two nodes show faults of one
kind, and only when that has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from loguru import logger

from konduktor_health.core.domains import MIN_NODES, DomainSuspect, kind_of, suspects
from konduktor_health.model import Fault, NodeView, PublishEvent, Severity, Trust
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.timestamps import NS

REASON = "DomainSuspect"  # of the Event: an interface
_COUNTED = frozenset({Severity.FATAL, Severity.DEGRADED})


class RecentKinds:
    """Which nodes have shown which kind of fault within the window, since when we know."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = int(window_s * NS)
        self._seen: dict[str, dict[str, tuple[int, int]]] = {}  # kind -> node -> heard, event

    def use(self, window_s: float) -> None:
        """Look back so far from now on. What a shorter window has forgotten stays so."""
        self._window_ns = int(window_s * NS)

    def note(self, fault: Fault, node: str, now_ns: int, event_ns: int = 0) -> None:
        """One fault that may act. ``event_ns``: when it happened, if that is not its own time."""
        if fault.severity not in _COUNTED or fault.trust is Trust.POD:
            return
        kind = kind_of(fault.fault_id)
        if kind is None:
            return
        event_ns = event_ns or fault.event_ns or fault.time_ns
        nodes = self._seen.setdefault(kind, {})
        nodes[node] = (now_ns, min(event_ns, nodes.get(node, (0, event_ns))[1]))

    def now(self, now_ns: int) -> Mapping[str, Mapping[str, int]]:
        """Per kind the nodes, with the event time of their first fault."""
        oldest = now_ns - self._window_ns
        for kind, nodes in list(self._seen.items()):
            for node in [node for node, (heard_ns, _) in nodes.items() if heard_ns < oldest]:
                del nodes[node]
            if not nodes:
                del self._seen[kind]
        return {
            kind: {node: event_ns for node, (_, event_ns) in nodes.items()}
            for kind, nodes in self._seen.items()
        }


class DomainWatch:
    """The domains that are suspected. Used by one thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[tuple[str, str, str], DomainSuspect] = {}
        self._basis: object = None
        self._labels: Sequence[str] = ()

    def look(
        self,
        seen: Mapping[str, Mapping[str, int]],
        views: Mapping[str, NodeView],
        labels: Sequence[str],
    ) -> tuple[PublishEvent, ...]:
        """Look again; returns the Events of those that have begun."""
        basis = (seen, tuple(labels), len(views))
        if basis == self._basis:
            return ()
        self._basis = basis
        quiet = all(len(nodes) < MIN_NODES for nodes in seen.values())
        found = () if quiet else suspects(seen, views.values(), labels)
        begun = [each for each in found if each.key not in self._known]
        for gone in self._known.keys() - {each.key for each in found}:
            logger.bind(label=gone[0], value=gone[1]).info("domain is suspected no longer")
        self._known = {each.key: each for each in found}
        counts = Counter(each.label for each in found)
        for label in {*labels, *self._labels}:  # one that is no longer looked at counts none
            self._metrics.domains.labels(label).set(counts[label])
        self._labels = labels
        for each in begun:
            logger.bind(nodes=list(each.nodes[:20])).warning(each.message)
        return tuple(_event(each, views[each.nodes[0]]) for each in begun)

    def remarks(self, node: str) -> tuple[str, ...]:
        """What the suspected domains of a node say beside its own faults."""
        return tuple(each.message for each in self._known.values() if node in each.nodes)


def _event(found: DomainSuspect, first: NodeView) -> PublishEvent:
    dedupe = "|".join((*found.key, str(found.since_ns)))
    message = f"{found.message} ({found.named})"
    return PublishEvent(first.name, first.uid, "Warning", REASON, message, dedupe)
