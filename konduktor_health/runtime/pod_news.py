"""Who tells the pods of a node that was tainted? A thread of its own, that nothing waits for.

Invariants: the loop never waits for pods, and a failure here stops no node. What cannot be told is
logged and counted, and not made up for: the Node and its Events tell the same. Leadership is
asserted before each Event. Memory is bounded: news that find no room are dropped and counted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.pod_events import REASON, PodNews, news_for_pods
from konduktor_health.errors import HealthError, LeadershipLost
from konduktor_health.model import EditNode, Keys
from konduktor_health.ports import PodEvent, PodsOnNode
from konduktor_health.runtime.metrics import Metrics

MOST_WAITING = 256  # taints whose pods are still to be told
LAST_S = 1.0  # on the way out, what waits is told for so long at most


class PodTeller:
    """Takes edits that were applied, and tells the pods. ``take`` may be called from any thread."""

    def __init__(
        self,
        pods: PodsOnNode,
        keys: Keys,
        *,
        clock: Clock,
        metrics: Metrics,
        assert_leader: Callable[[], None] = lambda: None,
    ) -> None:
        self._pods = pods
        self._keys = keys
        self._clock = clock
        self._metrics = metrics
        self._assert_leader = assert_leader
        self._waiting: queue.Queue[PodNews | None] = queue.Queue(MOST_WAITING)
        self._said: str = ""  # the last reason why pods could not be told
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Tell in a thread from now on."""
        self._thread = threading.Thread(target=self._run, name="pod-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more; what waits is told for a short while."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return  # a daemon thread: it ends with the process
        self._thread.join(LAST_S)

    def take(self, action: EditNode) -> None:
        """An edit is on the API server."""
        news = news_for_pods(action, self._keys)
        if news is None:
            return
        try:
            self._waiting.put_nowait(news)
        except queue.Full:
            self._metrics.pod_events.labels("dropped").inc()

    def tell(self, news: PodNews) -> int:
        """Tell the pods of one node; returns how many were told. Raises LeadershipLost."""
        try:
            self._assert_leader()
            pods = self._pods.using_gpus(news.node, self._clock.now_ns())
        except LeadershipLost:
            raise
        except HealthError as error:
            self._failed(news.node, error)
            return 0
        told = 0
        for pod in pods:
            self._assert_leader()
            try:
                event = PodEvent(pod, REASON, news.message, news.transition)
                self._pods.publish(event, self._clock.now_ns())
            except HealthError as error:
                self._failed(f"{pod.namespace}/{pod.name}", error)
            else:
                told += 1
                self._metrics.pod_events.labels("published").inc()
        return told

    def _run(self) -> None:
        while (news := self._waiting.get()) is not None:
            try:
                self.tell(news)
            except LeadershipLost:
                self._metrics.pod_events.labels("dropped").inc()
            except Exception as error:  # a bug must not end the thread unseen
                logger.opt(exception=error).error(f"bug: pods not told: {error!r}")
                self._metrics.pod_events.labels("failed").inc()

    def _failed(self, what: str, error: HealthError) -> None:
        """A reason is told when it begins and when it changes."""
        self._metrics.pod_events.labels("failed").inc()
        if str(error) != self._said:
            self._said = str(error)
            logger.bind(about=what, hint=error.hint).warning(f"pods not told: {error}")
