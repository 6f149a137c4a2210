"""What do the nodes look like now? List, then watch, for ever; NodeFeed of ports.

All Nodes are watched and filtered here: the server cannot select by capacity, and with a label
selector it would report DELETED when the GPU label vanishes. Kept are views of the nodes that
``keep`` wants, and of all others only name and aliases.

Invariants
- A view never gives way to an older one: resource versions are compared as numbers where both
  are numbers, else the later arrival is the newer. This holds for put() against the watch and
  the other way round; a put() of a deleted node does not bring it back.
- Callbacks run on the feed's thread and see an unbroken chain per node: ``old`` is what the
  last callback got as ``new``, own writes taken up by put() included. A change of nothing but
  the resource version (kubelet heartbeats) is kept but not called back.
- The watch resumes where it was; only 410 lists again. Failures wait 0.5 s to 30 s, doubling,
  with jitter. A stream that is silent too long is opened anew.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from loguru import logger

from konduktor_health.adapters.kube.client import KubeHttp, KubeStream
from konduktor_health.adapters.kube.listing import NODES, PAGE, each_node
from konduktor_health.adapters.kube.names import NameIndex
from konduktor_health.adapters.kube.nodes import NodeDecoder
from konduktor_health.adapters.kube.status import Gone, call_of, error_of
from konduktor_health.clock import Clock
from konduktor_health.errors import ClusterUnavailable, HealthError
from konduktor_health.model import NodeView

Callback = Callable[[NodeView | None, NodeView | None], None]

WATCH_S = 290  # asked of the server; API servers end watches after 5 to 10 minutes themselves
# Real servers send a bookmark a minute on a quiet watch: two missing mean a dead connection.
SILENCE_S = 125.0
_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 30.0
_TOO_SHORT_S = 1.0  # a watch that ends sooner without an event counts as a failure


class WatchFeed:
    """Keeps managed nodes up to date. Methods may be called from any thread."""

    def __init__(
        self,
        http: KubeHttp,
        decoder: NodeDecoder,
        keep: Callable[[NodeView], bool],
        clock: Clock,
        *,
        watch_s: int = WATCH_S,
        silence_s: float = SILENCE_S,
        page: int = PAGE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._decoder = decoder
        self._keep = keep
        self._clock = clock
        self._watch_s = watch_s
        self._silence_s = silence_s
        self._page = page
        self._jitter = jitter
        self._lock = threading.Lock()
        self._views: dict[str, NodeView] = {}
        self._told: dict[str, NodeView] = {}  # what callbacks were last given
        self._snapshot: Mapping[str, NodeView] | None = None
        self._index = NameIndex()
        self._position = ""  # resource version up to which we know everything
        self._callbacks: list[Callback] = []
        self._synced = False
        self._error: Exception | None = None
        self._stream: KubeStream | None = None
        self._warned = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    def start(self, stop: threading.Event) -> None:
        """Start the watch thread; it ends within a second of ``stop``."""
        self._thread = threading.Thread(
            target=self._run, args=(stop,), name="node-feed", daemon=True
        )
        self._thread.start()
        threading.Thread(
            target=self._abort_on, args=(stop,), name="node-feed-stop", daemon=True
        ).start()

    def join(self, timeout: float) -> bool:
        """Wait for the watch thread to end; True when it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def synced(self) -> bool:
        """True once a first list has been taken up."""
        return self._synced

    def last_error(self) -> Exception | None:
        """Why the feed is not current, or None while it is."""
        return self._error

    @property
    def undecodable(self) -> int:
        """Node objects without a usable name, so far."""
        return self._decoder.undecodable

    def nodes(self) -> Mapping[str, NodeView]:
        """The kept nodes now; a snapshot."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = MappingProxyType(dict(self._views))
            return self._snapshot

    def resolve(self, name: str) -> str | None:
        """Node name for a name in a log stream; None: unknown or ambiguous."""
        with self._lock:
            return self._index.resolve(name)

    def put(self, view: NodeView) -> None:
        """Take up our own write; callbacks hear of it with the watch's next event of the node."""
        wanted = self._keep(view)
        with self._lock:
            known = view.name in self._index
            if not known and not _newer(view.resource_version, self._position):
                return  # deleted meanwhile
            self._store(view, wanted)

    def on_change(self, callback: Callback) -> None:
        """Register callback(old, new); new is None for a node deleted or no longer kept."""
        self._callbacks.append(callback)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                if not self._position:
                    self._list()
                self._watch(stop)
                continue
            except Gone as gone:
                self._position = ""
                logger.info("node watch: listing again: {}", gone)
            except HealthError as error:
                if stop.is_set():
                    return
                if str(self._error) != str(error):
                    logger.warning("node watch: {}", error)
                self._error = error
            except Exception as error:  # the predicate's bug must not end the feed
                logger.opt(exception=error).error("node watch: unexpected error")
                self._error = error
            self._failures += 1
            most = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10))
            self._clock.wait(stop, most * (0.5 + self._jitter() / 2))

    def _list(self) -> None:
        seen: set[str] = set()

        def take(raw: Any) -> None:
            view = self._decode(raw)
            if view is not None:
                seen.add(view.name)
                self._take(view)

        position = each_node(self._http, take, page=self._page)
        with self._lock:
            # a node put while we listed is newer than the list and stays
            gone = [
                name
                for name in self._index.names()
                if name not in seen
                and not (
                    name in self._views and _later(self._views[name].resource_version, position)
                )
            ]
        for name in gone:
            self._drop(name, position)
        with self._lock:
            self._position = position
        self._synced = True
        self._error = None

    def _watch(self, stop: threading.Event) -> None:
        started = self._clock.monotonic()
        stream = self._http.stream(
            NODES,
            params={
                "resourceVersion": self._position,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(self._watch_s),
            },
            silence_s=self._silence_s,
        )
        self._stream = stream
        self._error = None
        events = 0
        try:
            if stop.is_set():  # _abort_on may have run before the stream was there
                return
            for line in stream:
                self._event(line)
                events += 1
                if stop.is_set():
                    return
        finally:
            self._stream = None
            stream.close()
            lasted = self._clock.monotonic() - started >= _TOO_SHORT_S
            if events or lasted:
                self._failures = 0
        if not events and not lasted and not stop.is_set():
            raise ClusterUnavailable("watch nodes: the API server ends the watch at once")

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, raw = event["type"], event["object"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise ClusterUnavailable("watch nodes: an event that is not JSON") from error
        if kind == "ERROR":
            code = raw.get("code") if isinstance(raw, dict) else None
            raise error_of(
                code if isinstance(code, int) else 500,
                json.dumps(raw).encode(),
                call_of("GET", NODES, watch=True),
                self._http.server,
            )
        version = _version(raw)
        if kind != "BOOKMARK":
            view = self._decode(raw)
            if view is not None and kind == "DELETED":
                self._drop(view.name, view.resource_version)
            elif view is not None:
                self._take(view)
        if version:
            with self._lock:
                self._position = version

    def _decode(self, raw: Any) -> NodeView | None:
        view = self._decoder.view(raw)
        if view is None and not self._warned:
            self._warned = True
            logger.warning("a Node object without a usable name is ignored (counted)")
        return view

    def _take(self, view: NodeView) -> None:
        wanted = self._keep(view)
        with self._lock:
            before = self._views.get(view.name)
            self._store(view, wanted)
        self._tell(view.name, before)

    def _drop(self, name: str, version: str) -> None:
        with self._lock:
            kept = self._views.get(name)
            if kept is not None and _later(kept.resource_version, version):
                return  # created anew and put before this event came
            self._index.remove(name)
            if self._views.pop(name, None) is not None:
                self._snapshot = None
        self._tell(name, kept)

    def _store(self, view: NodeView, wanted: bool) -> None:
        kept = self._views.get(view.name)
        if kept is not None and not _newer(view.resource_version, kept.resource_version):
            return
        self._index.put(view.name, view.aliases)
        if wanted:
            self._views[view.name] = view
        elif kept is not None:
            del self._views[view.name]
        self._snapshot = None

    def _tell(self, name: str, before: NodeView | None) -> None:
        """``before``: what was kept, for one that goes before it was told, having been put."""
        with self._lock:
            old, new = self._told.get(name), self._views.get(name)
            old = before if old is None and new is None else old
            if new is None:
                self._told.pop(name, None)
            else:
                self._told[name] = new
        if old is None or new is None:
            changed = old is not new
        else:
            changed = replace(old, resource_version=new.resource_version) != new
        if changed:
            for callback in self._callbacks:
                try:
                    callback(old, new)
                except Exception as error:  # its bug must not stop the watch
                    logger.opt(exception=error).error("node watch: a callback failed")

    def _abort_on(self, stop: threading.Event) -> None:
        stop.wait()
        stream = self._stream
        if stream is not None:
            stream.abort()


def _newer(version: str, than: str) -> bool:
    """Is a view of ``version`` to replace one of ``than``? Arrival decides what numbers cannot."""
    if version.isdigit() and than.isdigit():
        return int(version) > int(than)
    return version != than


def _later(version: str, than: str) -> bool:
    return version.isdigit() and than.isdigit() and int(version) > int(than)


def _version(raw: Any) -> str:
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    version = meta.get("resourceVersion") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else ""
