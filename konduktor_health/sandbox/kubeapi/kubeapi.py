"""How is the embedded Kubernetes API started, stopped and spoken to? One object: KubeApi."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping

from konduktor_health.clock import Clock, SystemClock
from konduktor_health.sandbox.kubeapi import actors, discovery
from konduktor_health.sandbox.kubeapi.auth import Access, self_review
from konduktor_health.sandbox.kubeapi.faults import Faults, RequestLog
from konduktor_health.sandbox.kubeapi.proxy import proxied
from konduktor_health.sandbox.kubeapi.reading import Pages, Reader
from konduktor_health.sandbox.kubeapi.revisions import encode
from konduktor_health.sandbox.kubeapi.route import (
    Answer,
    Call,
    Stream,
    Target,
    check_accept,
    decoded,
    target,
)
from konduktor_health.sandbox.kubeapi.server import Server
from konduktor_health.sandbox.kubeapi.status import ApiError, Json, bad_request, no_such_path
from konduktor_health.sandbox.kubeapi.store import Store
from konduktor_health.sandbox.kubeapi.watch import Ending
from konduktor_health.sandbox.kubeapi.writing import Writer

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_HEALTH = ("/healthz", "/livez", "/readyz")
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class KubeApi:
    """An embedded Kubernetes API on loopback. Not a cluster: nothing schedules or runs pods.

    ``tokens`` maps bearer tokens to users; None means no authentication. kubectl, unlike other
    clients, sends no token over plain HTTP. ``buffer`` is how many changes a watch can resume
    over. ``play_actors`` starts the taint manager and the kubelets of ``actors``.

    ``store`` is for preparing objects, ``faults`` for misbehaving, ``requests`` for seeing what
    was asked, ``deny`` for taking rights away, ``pod_logs`` for what ``pods/log`` answers by
    (namespace, name).
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        tokens: Mapping[str, str] | None = None,
        buffer: int = 4096,
        play_actors: bool = False,
    ) -> None:
        clock = clock or SystemClock()
        self.store = Store(clock, buffer)
        self.access = Access(tokens)
        self._pages = Pages()
        self.faults = Faults(self._compact, self.store.wake)
        self.requests = RequestLog()
        self.pod_logs: dict[tuple[str, str], str] = {}
        self._reader = Reader(self.store, clock, self._pages)
        self._writer = Writer(self.store, self._reader)
        self._actors = actors.Actors(self.store, clock) if play_actors else None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server = Server(self._dispatch, self.access, self.faults, self.requests, self._stop)
        for name in NAMESPACES:
            labels = {"kubernetes.io/metadata.name": name}
            self.store.create(
                "namespaces",
                {"metadata": {"name": name, "labels": labels}, "status": {"phase": "Active"}},
            )

    @property
    def deny(self) -> dict[str, set[tuple[str, str]]]:
        """(verb, resource) pairs that a user (``*``: any) may not do, e.g. ("patch", "nodes")."""
        return self.access.deny

    @property
    def failures(self) -> list[BaseException]:
        """Errors of the sandbox itself; a test that ends with any has found a bug in here."""
        return self._server.failures

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve in background threads."""
        self._spawn("kubeapi", lambda: self._server.serve_forever(poll_interval=0.05))
        if self._actors is not None:
            playing = self._actors
            self._spawn("kubeapi-actors", lambda: playing.run(self._stop))

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """End all connections and threads; the store stays readable."""
        self._stop.set()
        self.store.wake()
        if self._threads:
            self._server.close_all()
        else:
            self._server.server_close()
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()

    def kubeconfig(self, user: str | None = None) -> str:
        """A kubeconfig in YAML for a user of ``tokens`` (default: the first one)."""
        lines = [
            "apiVersion: v1",
            "kind: Config",
            "current-context: sandbox",
            "clusters:",
            "- name: sandbox",
            f"  cluster: {{server: '{self.url}'}}",
            "contexts:",
            "- name: sandbox",
            "  context: {cluster: sandbox, user: sandbox}",
            "users:",
            "- name: sandbox",
        ]
        tokens = self.access.tokens or {}
        token = next((t for t, who in tokens.items() if user in (None, who)), None)
        lines.append("  user: {}" if token is None else f"  user: {{token: '{token}'}}")
        return "\n".join(lines) + "\n"

    def _compact(self) -> None:
        self.store.compact()
        self._pages.clear()

    def _dispatch(self, call: Call) -> Answer | Stream:
        """Answer one request. ApiError for anything but success."""
        if call.path in _HEALTH or call.path.startswith(("/livez/", "/readyz/")):
            return Answer(b"ok", content_type="text/plain; charset=utf-8")
        document = discovery.document(call.path) if call.method == "GET" else None
        if document is not None:
            return Answer(encode(document))
        if call.path == _REVIEW and call.method == "POST":
            review = decoded(call)
            if not isinstance(review, dict):
                raise bad_request("the object provided is unrecognized")
            return Answer(encode(self_review(self.access, call.user, review)), 201)
        found = target(call)
        self.access.check(call.user, found.attributes())
        if found.subresource == "proxy":
            return proxied(call, found, self.store)
        check_accept(call.accept)
        return self._resource(call, found)

    def _resource(self, call: Call, found: Target) -> Answer | Stream:
        match found.subresource, found.verb:
            case "log", _:
                self.store.entry(found.resource, found.namespace, found.name)
                text = self.pod_logs.get((found.namespace, found.name), "")
                return Answer(text.encode(), content_type="text/plain")
            case "eviction", _:
                return self._evict(call, found)
            case _, "get":
                return self._reader.get(call, found)
            case _, "list":
                return self._reader.list_all(call, found)
            case _, "watch":
                ending = Ending(self._stop, lambda: self.faults.watch_epoch)
                return self._reader.watch(call, found, ending)
            case _, "create":
                return self._writer.create(call, found)
            case _, "update":
                return self._writer.update(call, found)
            case _, "patch":
                return self._writer.patch(call, found)
            case _, "delete":
                return self._writer.delete(call, found)
            case _, "deletecollection":
                return self._writer.delete_collection(call, found)
        raise no_such_path()

    def _evict(self, call: Call, found: Target) -> Answer:
        """POST pods/NAME/eviction. ApiError 429 when a disruption budget is exhausted."""
        eviction = decoded(call)
        if not isinstance(eviction, dict) or eviction.get("kind") != "Eviction":
            raise bad_request("the object provided is unrecognized (must be of type Eviction)")
        with self.store.transaction():
            pod = self.store.entry(found.resource, found.namespace, found.name)
            actors.check_budgets(self.store, pod.obj)
            options = copy.deepcopy(eviction.get("deleteOptions") or {})
            self._writer.delete(
                Call(
                    "DELETE",
                    call.path,
                    {k: v for k, v in call.query.items() if k == "dryRun"},
                    "application/json",
                    "",
                    encode(options),
                    call.user,
                ),
                Target(found.resource, found.namespace, found.name, "", "delete"),
            )
        done: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Answer(encode({**done, "code": 201}), 201)


__all__ = ["ApiError", "KubeApi"]
