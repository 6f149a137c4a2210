"""Which agents are there now? List, then watch the pods of the DaemonSet, for ever.

As the node watch (``adapters.kube.feed``): it goes on where it was, 410 lists again, failures wait
0.5 s to 30 s. Kept is one small value for each pod; the newest that is ready counts for a node.

Without the DaemonSet there are no agents, which is an answer. What cannot be read is none: then
nobody knows (``agents`` is None) until the first list is there, and what was known stays after it.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

from loguru import logger

from konduktor_health.adapters.kube.client import KubeHttp, KubeStream
from konduktor_health.adapters.kube.nodes import walk_list
from konduktor_health.adapters.kube.status import Gone, call_of, error_of
from konduktor_health.adapters.probes.pods import AgentPod, NoAgent, Owner, agent_of
from konduktor_health.clock import Clock
from konduktor_health.errors import ClusterUnavailable, HealthError, NotFound, excerpt

WATCH_S = 290
SILENCE_S = 125.0
LOOK_AGAIN_S = 30.0  # for a DaemonSet that is not there, or whose pods have another owner
_PAGE = 500


class AgentPods:
    """Keeps the agents up to date. Methods may be called from any thread."""

    def __init__(
        self,
        http: KubeHttp,
        clock: Clock,
        *,
        namespace: str,
        daemonset: str,
        selector: str,
        port: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._clock = clock
        self._daemonset = daemonset
        self._selector = selector
        self._port = port
        self._jitter = jitter
        where = quote(namespace, safe="")
        self._pods_path = f"/api/v1/namespaces/{where}/pods"
        self._owner_path = (
            f"/apis/apps/v1/namespaces/{where}/daemonsets/{quote(daemonset, safe='')}"
        )
        self._lock = threading.Lock()
        self._pods: dict[str, AgentPod] = {}  # by UID
        self._by_node: dict[str, dict[str, AgentPod]] = {}
        self._names: frozenset[str] | None = None  # of nodes; None: to be looked up
        self._listed = False
        self._told: Callable[[Collection[str]], None] = lambda _nodes: None
        self._stream: KubeStream | None = None
        self._owned_by = Owner("", "")
        self._position = ""
        self._failures = 0
        self._said = ""

    def start(self, stop: threading.Event) -> None:
        """Start the watch thread; it ends when ``stop`` is set."""
        for name, run in (("agent-pods", self._run), ("agent-pods-stop", self._abort_on)):
            threading.Thread(target=run, args=(stop,), name=name, daemon=True).start()

    def look(self) -> None:
        """List them once, without a watch: for a command. Raises HealthError."""
        owner = self._owner()
        if owner is None:
            self._take({}, whole=True)
        else:
            self._list(owner)

    def names(self) -> frozenset[str] | None:
        """The nodes that have an agent's pod; None: not known yet."""
        with self._lock:
            if self._names is None and self._listed:
                self._names = frozenset(self._by_node)
            return self._names

    def present(self) -> bool:
        """The DaemonSet was there when it was looked for last."""
        return bool(self._owned_by.uid)

    def of(self, node: str) -> AgentPod | None:
        """The agent of a node: the newest pod that is ready, else the newest."""
        with self._lock:
            return max(self._by_node.get(node, {}).values(), key=_rank, default=None)

    def on_change(self, callback: Callable[[Collection[str]], None]) -> None:
        """Register callback(nodes): another agent, one more or one less. Called on our thread."""
        self._told = callback

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                pause_s = self._turn(stop)
                self._failures, self._said = 0, ""
            except Gone:
                self._position, pause_s = "", 0.0
            except HealthError as error:
                if stop.is_set():
                    return
                if str(error) != self._said:
                    logger.bind(hint=error.hint).warning(f"agents are not watched: {error}")
                    self._said = str(error)
                self._failures += 1
                pause_s = min(30.0, 0.5 * 2 ** min(self._failures - 1, 10))
            except Exception as error:  # a bug must not end the watch unseen
                logger.opt(exception=error).error(f"bug: agents are not watched: {error!r}")
                self._position, pause_s = "", 30.0
            self._clock.wait(stop, pause_s * (0.5 + self._jitter() / 2))

    def _turn(self, stop: threading.Event) -> float:
        """List if that is due, and watch until the stream ends; returns how long to wait then."""
        if not self._position:
            owner = self._owner()
            self._owned_by = owner or Owner("", "")
            if owner is None:
                self._take({}, whole=True)
                return LOOK_AGAIN_S
            foreign = self._list(owner)
            if foreign:
                logger.bind(pods=foreign).warning(
                    "pods with the agents' labels are of another DaemonSet: they are not asked"
                )
        if not self._watch(self._owned_by, stop):
            self._position = ""  # a pod of a DaemonSet that was made anew
            return LOOK_AGAIN_S
        return 0.0

    def _owner(self) -> Owner | None:
        try:
            raw = self._http.get(self._owner_path)
        except NotFound:
            return None
        meta = raw.get("metadata")
        uid = meta.get("uid") if isinstance(meta, dict) else None
        if not isinstance(uid, str) or not uid:
            raise ClusterUnavailable(f"get daemonsets {self._daemonset}: an answer without a UID")
        return Owner(self._daemonset, uid)

    def _list(self, owner: Owner) -> int:
        """Take up all pods; returns how many are of another owner."""
        found: dict[str, AgentPod] = {}
        foreign = 0

        def take(raw: Any) -> None:
            nonlocal foreign
            agent = agent_of(raw, owner, self._port)
            if isinstance(agent, AgentPod):
                found[agent.uid] = agent
            elif agent.why in ("foreign_owner", "other_daemonset"):
                foreign += 1

        params = {"labelSelector": self._selector, "limit": str(_PAGE)}
        while True:
            payload = self._http.request("GET", self._pods_path, params=params)
            try:
                rest = walk_list(payload, take)
            except (ValueError, RecursionError) as error:
                raise ClusterUnavailable(
                    f"list pods: the answer is no PodList: {excerpt(payload[:512])}"
                ) from error
            meta = rest.get("metadata")
            meta = meta if isinstance(meta, dict) else {}
            if not meta.get("continue"):
                break
            params["continue"] = str(meta["continue"])
        self._position = str(meta.get("resourceVersion") or "")
        self._take(found, whole=True)
        return foreign

    def _watch(self, owner: Owner, stop: threading.Event) -> bool:
        """Follow until the stream ends. False: the pods have another owner of the same name."""
        stream = self._http.stream(
            self._pods_path,
            params={
                "labelSelector": self._selector,
                "resourceVersion": self._position,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_S),
            },
            silence_s=SILENCE_S,
        )
        self._stream = stream
        try:
            for line in () if stop.is_set() else stream:
                if not self._event(line, owner):
                    return False
                if stop.is_set():
                    break
        finally:
            self._stream = None
            stream.close()
        return True

    def _event(self, line: bytes, owner: Owner) -> bool:
        try:
            event = json.loads(line)
            kind, raw = event["type"], event["object"]
            version = raw["metadata"]["resourceVersion"] if kind != "ERROR" else ""
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise ClusterUnavailable("watch pods: an event that is not one") from error
        if kind == "ERROR":
            code = raw.get("code") if isinstance(raw, dict) else None
            raise error_of(
                code if isinstance(code, int) else 500,
                json.dumps(raw).encode(),
                call_of("GET", self._pods_path, watch=True),
                self._http.server,
            )
        ours = True
        if kind != "BOOKMARK":
            agent = agent_of(raw, owner, self._port)
            there = isinstance(agent, AgentPod) and kind != "DELETED"
            self._take({agent.uid: agent if there and isinstance(agent, AgentPod) else None})
            ours = not (isinstance(agent, NoAgent) and agent.why == "other_daemonset")
        self._position = str(version)
        return ours

    def _take(self, found: Mapping[str, AgentPod | None], *, whole: bool = False) -> None:
        """Take up pods; with ``whole`` these are all there are."""
        with self._lock:
            gone = dict.fromkeys(self._pods.keys() - found.keys()) if whole else {}
            changed = set[str]()
            for uid, agent in (*gone.items(), *found.items()):
                before = self._pods.pop(uid, None)
                if before is not None:
                    pods = self._by_node[before.node]
                    del pods[uid]
                    if not pods:
                        del self._by_node[before.node]
                if agent is not None:
                    self._pods[uid] = agent
                    self._by_node.setdefault(agent.node, {})[uid] = agent
                changed |= {each.node for each in (before, agent) if each and before != agent}
            first, self._listed = not self._listed, True
            if first or changed:
                self._names = None
        if first or changed:
            self._told(changed)

    def _abort_on(self, stop: threading.Event) -> None:
        stop.wait()
        stream = self._stream
        if stream is not None:
            stream.abort()


def _rank(agent: AgentPod) -> tuple[bool, int, str]:
    return (agent.ready, agent.created_ns, agent.uid)
