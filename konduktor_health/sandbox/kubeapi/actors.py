"""Who else acts in a cluster? Eviction with disruption budgets, a taint manager and a kubelet.

Small stand-ins, enough to see a drain block, a NoExecute taint empty a node and a deleted pod go.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from konduktor_health.clock import NS, Clock, parse_rfc3339
from konduktor_health.sandbox.kubeapi import resources
from konduktor_health.sandbox.kubeapi.revisions import Entry, Revisions
from konduktor_health.sandbox.kubeapi.selectors import labels_of, match_selector
from konduktor_health.sandbox.kubeapi.status import ApiError, Json

_PODS = resources.named("pods")
_BUDGETS = resources.named("poddisruptionbudgets")
_NODES = resources.named("nodes")
PERIOD_S = 0.2


def check_budgets(store: Revisions, pod: Json) -> None:
    """ApiError 429 when a PodDisruptionBudget does not allow another pod to go."""
    namespace = pod["metadata"]["namespace"]
    pods = [entry.obj for entry in store.entries(_PODS, namespace)[0]]
    for entry in store.entries(_BUDGETS, namespace)[0]:
        budget = entry.obj
        selector = (budget.get("spec") or {}).get("selector")
        if not match_selector(selector, labels_of(pod)) or not is_ready(pod):
            continue
        group = [p for p in pods if match_selector(selector, labels_of(p))]
        healthy = sum(1 for p in group if is_ready(p) and not _ending(p))
        needed = _needed(budget["spec"], len(group))
        if healthy - 1 < needed:
            name = budget["metadata"]["name"]
            why = f"The disruption budget {name} needs {needed} healthy pods and has {healthy} "
            raise ApiError(
                429,
                "Cannot evict pod as it would violate the pod's disruption budget.",
                details={"causes": [{"reason": "DisruptionBudget", "message": why + "currently"}]},
            )


def is_ready(pod: Json) -> bool:
    """The pod's Ready condition."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _ending(pod: Json) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _needed(spec: Json, expected: int) -> int:
    """Healthy pods that must remain; percentages round up, as in the disruption controller."""
    if spec.get("maxUnavailable") is not None:
        return max(0, expected - _scaled(spec["maxUnavailable"], expected))
    return _scaled(spec.get("minAvailable", 0), expected)


def _scaled(value: int | str, of: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return -(-int(value[:-1]) * of // 100)
    return int(value)


class Actors:
    """A thread that plays the taint manager and the kubelets. ``step()`` is one round."""

    def __init__(self, store: Revisions, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Play until ``stop`` is set."""
        while not stop.wait(PERIOD_S):
            self.step()

    def step(self) -> None:
        """Take away pods that are being deleted, and mark those that a taint drives out."""
        with self._store.transaction():
            nodes = {e.obj["metadata"]["name"]: e.obj for e in self._store.entries(_NODES)[0]}
            for entry in self._store.entries(_PODS)[0]:
                if _ending(entry.obj):
                    if not entry.obj["metadata"].get("finalizers"):
                        self._store.remove(_PODS, entry)
                elif self._driven_out(entry, nodes):
                    self._store.remove(_PODS, entry, grace=1)

    def _driven_out(self, entry: Entry, nodes: dict[str, Json]) -> bool:
        spec = entry.obj.get("spec") or {}
        node = nodes.get(spec.get("nodeName", ""))
        taints = ((node or {}).get("spec") or {}).get("taints") or []
        return any(
            not self._bears(taint, spec.get("tolerations") or [])
            for taint in taints
            if taint.get("effect") == "NoExecute"
        )

    def _bears(self, taint: Json, tolerations: Iterable[Json]) -> bool:
        """Whether a toleration covers the taint now (tolerationSeconds count from timeAdded)."""
        for toleration in tolerations:
            if not _tolerates(toleration, taint):
                continue
            seconds = toleration.get("tolerationSeconds")
            if seconds is None or not taint.get("timeAdded"):
                return True
            if self._clock.now_ns() < parse_rfc3339(taint["timeAdded"]) + int(seconds) * NS:
                return True
        return False


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    key, exists = toleration.get("key"), toleration.get("operator") == "Exists"
    if not key:
        return exists
    if key != taint.get("key"):
        return False
    return exists or (toleration.get("value") or "") == (taint.get("value") or "")
