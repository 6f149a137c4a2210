"""What has each agent to be told of its node, and has it been? Settings that only we know.

Labels, the number of GPUs, thresholds that were overridden, and addresses of some other agents. The
agent keeps them on its disk, and its report says by a digest which ones are in force: they are sent
when that is another digest, and not again within ``AGAIN_S``.

Peers are chosen by hash from a ring, so that an agent that comes or goes changes the settings of a
few nodes, not of all. Invariant: telling is done beside a question to the same agent, by a worker,
and an error in it is told, counted, and tried again with the next question.
"""

from __future__ import annotations

import hashlib
import math
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping

from loguru import logger
from pydantic import ValidationError

from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import Clock
from konduktor_health.core.gpus import told_gpus
from konduktor_health.errors import HealthError
from konduktor_health.model import Keys, NodeView
from probes.report import NodeSettings, settings_digest

AGAIN_S = 60.0
_MOST_THRESHOLDS = 256
_MOST_NODES = 50_000
_UNSENT = {"issued_ns": 0, "expires_ns": 0, "nonce": "0" * 16}


class Peers:
    """Which agents measure against which? A few for each, chosen by hash. Thread-safe."""

    def __init__(self, many: int) -> None:
        """``many``: how many peers each node has."""
        self._many = many
        self._lock = threading.Lock()
        self._names: frozenset[str] | None = None
        self._ring: list[tuple[int, str]] = []

    def of(self, node: str, names: frozenset[str]) -> tuple[str, ...]:
        """Peers of a node among these nodes with an agent."""
        with self._lock:
            # a rolling update makes the same set anew, again and again
            if names is not self._names and names != self._names:
                self._names = names
                self._ring = sorted((_hash(name), name) for name in names)
            ring = self._ring
        found: dict[str, None] = {}
        for number in range(self._many if ring else 0):
            # the first is the next on the ring, so that everybody is somebody's peer
            point = f"{node}/{number}" if number else node
            place = bisect_left(ring, (_hash(point), ""))
            for step in range(min(len(ring), self._many + 2)):
                name = ring[(place + step) % len(ring)][1]
                if name != node and name not in found:
                    found[name] = None
                    break
        return tuple(sorted(found))


class Teller:
    """Tells agents what has changed. ``answered`` is called by the collector's workers."""

    def __init__(
        self,
        send: Callable[[str, NodeSettings], None],
        agents: Callable[[], frozenset[str] | None],
        agent_of: Callable[[str], AgentPod | None],
        keys: Keys,
        clock: Clock,
        *,
        labels: tuple[str, ...] = (),
        thresholds: Mapping[str, float] | None = None,
        peers: int = 4,
    ) -> None:
        """``send``: as ``AgentOrders.settings``. ``labels``: keys that are told. ``thresholds``:
        for all nodes, "check/measurement" to number."""
        self._send = send
        self._agents = agents
        self._agent_of = agent_of
        self._keys = keys
        self._clock = clock
        self._labels = labels
        self._thresholds = dict(thresholds or {})
        self._peers = Peers(peers)
        self._lock = threading.Lock()
        self._sent_s: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def answered(self, name: str, view: NodeView, digest: str) -> None:
        """The agent of a node has these settings in force."""
        wanted = self.settings_of(view)
        if wanted is None:
            return
        if settings_digest(wanted) == digest:
            with self._lock:
                self._sent_s.pop(name, None)
                self._said.pop(name, None)
            return
        now_s = self._clock.monotonic()
        with self._lock:
            if now_s - self._sent_s.get(name, -math.inf) < AGAIN_S:
                return
            if len(self._sent_s) > _MOST_NODES:  # of nodes that are gone, mostly
                self._sent_s.clear()
                self._said.clear()
            self._sent_s[name] = now_s
        try:
            self._send(name, wanted)
        except HealthError as error:
            with self._lock:
                self.counts["failed"] += 1
                known = self._said.get(name) == str(error)
                self._said[name] = str(error)
            if not known:
                logger.bind(node=name, hint=error.hint).info(
                    f"agent not told its settings: {error}"
                )
            return
        with self._lock:
            self.counts["ok"] += 1

    def counted(self) -> Mapping[str, int]:
        """Settings that were sent, by what came of it; only grows."""
        with self._lock:
            return dict(self.counts)

    def settings_of(self, view: NodeView) -> NodeSettings | None:
        """What the agent of this node is to know; None: nothing that can be said."""
        names = self._agents() or frozenset()
        peers = {
            peer: dict(agent.interfaces)
            for peer in self._peers.of(view.name, names)
            if (agent := self._agent_of(peer)) is not None
        }
        labels = {key: value for key, value in view.labels if key in self._labels}
        try:
            return NodeSettings.model_validate(
                {
                    "node": view.name,
                    "labels": labels,
                    "expected_gpus": told_gpus(view, self._keys),
                    "thresholds": thresholds_of(view, self._keys, self._thresholds),
                    "peers": peers,
                    **_UNSENT,
                }
            )
        except ValidationError as error:
            if view.name not in self._said:
                self._said[view.name] = str(error)
                logger.bind(node=view.name).warning(
                    f"settings cannot be told to the agent: {error.error_count()} values do not fit"
                )
            return None


def thresholds_of(view: NodeView, keys: Keys, everywhere: Mapping[str, float]) -> dict[str, float]:
    """Overrides of a node: those of the settings, and over them those of its labels. The key of a
    label ends with check and measurement, a dot between them: neither has one. A value that is no
    number is left out."""
    found = dict(everywhere)
    for key, value in view.labels:
        check, _, measurement = key.removeprefix(keys.threshold).partition(".")
        if key.startswith(keys.threshold) and check and measurement:
            number = _number(value)
            if number is not None:
                found[f"{check}/{measurement}"] = number
    return dict(sorted(found.items())[:_MOST_THRESHOLDS])


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
