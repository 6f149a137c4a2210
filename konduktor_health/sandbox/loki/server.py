"""A Loki in this process: the sandbox's log store, and what component tests read from.

Entries are visible as soon as a push has been answered. Everything is bounded: stored bytes
(oldest dropped), the log of requests, the size of a body, the time a connection may be idle.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from konduktor_health.clock import Clock, SystemClock
from konduktor_health.sandbox.loki import counting, queries
from konduktor_health.sandbox.loki.cache import EmptyAnswers
from konduktor_health.sandbox.loki.faults import Fault, Faults
from konduktor_health.sandbox.loki.ingest import Refusal, ingest, print_refusals
from konduktor_health.sandbox.loki.limits import Limits
from konduktor_health.sandbox.loki.push import Batch, PushError, decode_json, decode_otlp
from konduktor_health.sandbox.loki.store import Entry, Store
from konduktor_health.sandbox.loki.wire import JSON, TEXT, Answer, WireServer

_REQUEST_LOG = 1000
_LOGGED_VALUE = 16_384  # characters
_MAX_TENANTS = 1000
_NO_TENANT = "fake"  # the tenant of a Loki without auth_enabled
_LABEL_VALUES = re.compile(r"/loki/api/v1/label/([^/]+)/values")
_METHODS = {
    "/loki/api/v1/push": ("POST",),
    "/otlp/v1/logs": ("POST",),
    "/loki/api/v1/query_range": ("GET", "POST"),
    "/loki/api/v1/query": ("GET", "POST"),
    "/loki/api/v1/labels": ("GET", "POST"),
    "/loki/api/v1/label/*/values": ("GET", "POST"),
    "/loki/api/v1/series": ("GET", "POST"),
}

Line = tuple[int, str] | tuple[int, str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the server received, for asserts in tests."""

    method: str
    path: str
    params: Mapping[str, str]  # query string and form, the first value of each
    headers: Mapping[str, str]  # names in lower case
    tenant: str
    status: int  # 0: the connection was dropped
    time_ns: int


@dataclass(slots=True)
class _Tenant:
    store: Store = field(default_factory=Store)
    cache: EmptyAnswers = field(default_factory=EmptyAnswers)


class LokiServer:
    """An embedded Loki on a loopback port (0: a free one, kept over stop and start).

    ``limits`` apply to every tenant without an entry in ``tenant_limits``; both may be replaced
    while it runs. With ``auth_enabled`` a request without X-Scope-OrgID is answered 401.
    ``faults`` makes it misbehave; ``requests`` is a bounded log of what it was asked.
    """

    def __init__(
        self, *, clock: Clock | None = None, limits: Limits | None = None,
        auth_enabled: bool = False, port: int = 0,
    ) -> None:  # fmt: skip
        self.limits = limits or Limits()
        self.tenant_limits: dict[str, Limits] = {}
        self.faults = Faults()
        self.requests: deque[Request] = deque(maxlen=_REQUEST_LOG)
        self.auth_enabled = auth_enabled
        self._clock = clock or SystemClock()
        self._port = port
        self._tenants: dict[str, _Tenant] = {}
        self._lock = threading.RLock()
        self._in_flight = 0
        self._stopping = threading.Event()
        self._http: WireServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> LokiServer:
        """Listen and serve in a thread; after stop() it starts again on the same port."""
        self._stopping.clear()
        self._http = WireServer(self._port, self)
        self._port = int(self._http.server_address[1])
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox-loki",
            daemon=True,
        )  # fmt: skip
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and close every connection; what is stored stays. Idempotent."""
        self._stopping.set()
        if self._http is not None:
            self._http.shutdown()
            self._http.close_connections()
            self._http.server_close()
            self._http = None
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def __enter__(self) -> LokiServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens (known after the first start)."""
        return f"http://127.0.0.1:{self._port}"

    def push(
        self, labels: Mapping[str, str], lines: Iterable[Line], *, tenant: str = _NO_TENANT
    ) -> list[str]:
        """Store (ns, line) or (ns, line, structured metadata); the reasons of refused ones."""
        entries = [
            Entry(line[0], line[1], tuple(sorted(line[2].items())) if len(line) == 3 else ())
            for line in lines
        ]
        return [r.text for r in self._ingest(tenant, [Batch(labels, entries)])]

    def flush(self) -> None:
        """Make entries visible that Limits.ingester_window_s hides."""
        with self._lock:
            for tenant in self._tenants.values():
                tenant.store.flush()

    @property
    def in_flight(self) -> int:
        """Requests that are being answered now."""
        with self._lock:
            return self._in_flight

    @property
    def stored_bytes(self) -> int:
        """What all tenants hold, about, in bytes."""
        with self._lock:
            return sum(t.store.stored_bytes for t in self._tenants.values())

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one HTTP request (called by the HTTP server on the connection's thread)."""
        url = urlsplit(target)
        params = parse_qs(url.query, keep_blank_values=True)
        if "x-www-form-urlencoded" in headers.get("content-type", ""):
            form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
            params = {**params, **{k: form[k] + params.get(k, []) for k in form}}
        fault = self.faults.take(url.path)
        with self._lock:
            self._in_flight += 1
        try:
            return self._answer(method, url.path, params, headers, body, fault)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _answer(
        self, method: str, path: str, params: Mapping[str, list[str]],
        headers: Mapping[str, str], body: bytes, fault: Fault | None,
    ) -> Answer:  # fmt: skip
        if fault is not None and fault.kind == "hang":
            self._stopping.wait(fault.seconds)
        answer = self._forced(fault)
        if answer is None:
            answer = self._guarded(method, path, params, headers, body)
        if fault is not None and fault.kind == "truncate":
            answer = Answer(answer.status, answer.body[: len(answer.body) // 2], JSON)
        self.requests.append(
            Request(
                method, path, {name: values[0][:_LOGGED_VALUE] for name, values in params.items()},
                headers, headers.get("x-scope-orgid", ""), answer.status, self._clock.now_ns(),
            )
        )  # fmt: skip
        return answer

    @staticmethod
    def _forced(fault: Fault | None) -> Answer | None:
        """The answer that a fault gives instead of ours: nothing is stored or read."""
        match fault and fault.kind:
            case "drop":
                return Answer(0)
            case "status":
                assert fault is not None  # noqa: S101
                return Answer(fault.status, fault.body.encode(), TEXT, fault.retry_after)
            case "html":
                page = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
                return Answer(200, page, "text/html; charset=utf-8")
        return None

    def _guarded(
        self, method: str, path: str, params: Mapping[str, list[str]],
        headers: Mapping[str, str], body: bytes,
    ) -> Answer:  # fmt: skip
        try:
            return self._route(method, path, params, headers, body)
        except queries.Refused as refused:
            return Answer(refused.status, refused.text.encode())

    def _route(
        self, method: str, path: str, params: Mapping[str, list[str]],
        headers: Mapping[str, str], body: bytes,
    ) -> Answer:  # fmt: skip
        values_of = _LABEL_VALUES.fullmatch(path)
        route = "/loki/api/v1/label/*/values" if values_of else path
        if method not in _METHODS.get(route, ("GET", "POST")):
            return Answer(405)
        if route not in _METHODS:
            return self._open_route(method, route)
        tenant = headers.get("x-scope-orgid", "") if self.auth_enabled else _NO_TENANT
        if not tenant:
            return Answer(401, b"no org id\n")
        if route in {"/loki/api/v1/push", "/otlp/v1/logs"}:
            return self._push(route, tenant, headers, body)
        first = {name: values[0] for name, values in params.items()}
        if route == "/loki/api/v1/query_range":
            flags = headers.get("x-loki-response-encoding-flags", "")
            return self._range(tenant, first, categorize="categorize-labels" in flags)
        if route == "/loki/api/v1/query":
            limits = self._limits(tenant)
            with self._lock:
                store, now_ns = self._tenant(tenant).store, self._clock.now_ns()
                return _data(counting.answer_instant(store, first, limits, now_ns))
        with self._lock:
            store, now_ns = self._tenant(tenant).store, self._clock.now_ns()
            if values_of:
                name = unquote(values_of[1])
                return _names(queries.answer_values(store, name, first, now_ns))
            if route == "/loki/api/v1/labels":
                return _names(queries.answer_labels(store, first, now_ns))
            selectors = params.get("match[]", []) + params.get("match", [])
            return _data(queries.answer_series(store, selectors, first, now_ns))

    def _open_route(self, method: str, path: str) -> Answer:
        """Routes that need no tenant."""
        match (method, path):
            case ("GET", "/ready"):
                return Answer(200, b"ready\n")
            case ("GET", "/metrics"):
                return Answer(200, self._metrics())
            case ("GET", "/loki/api/v1/status/buildinfo"):
                names = ("revision", "branch", "buildUser", "buildDate", "goVersion")
                return _json({"version": "3.7.0-sandbox", **dict.fromkeys(names, "")})
            case ("POST", "/flush"):
                self.flush()
                return Answer(204)
        return Answer(404, b"404 page not found\n")

    def _push(self, route: str, tenant: str, headers: Mapping[str, str], body: bytes) -> Answer:
        otlp = route == "/otlp/v1/logs"
        if "application/json" not in headers.get("content-type", ""):
            return _refused(400, "snappy: corrupt input", otlp=otlp)  # protobuf is not spoken here
        most = self._limits(tenant).max_push_bytes
        if len(body) > most:
            text = f"grpc: received message larger than max ({len(body)} vs. {most})"
            return _refused(500, f"rpc error: code = ResourceExhausted desc = {text}", otlp=otlp)
        try:
            batches = decode_otlp(body) if otlp else decode_json(body)
        except PushError as error:
            return _refused(400, str(error), otlp=otlp)
        if not batches:
            text = "error at least one valid stream is required for ingestion"
            return _refused(422, text, otlp=otlp)
        refusals = self._ingest(tenant, batches)
        if refusals:
            return _refused(400, print_refusals(refusals), otlp=otlp)
        return Answer(204)

    def _range(self, tenant: str, params: Mapping[str, str], *, categorize: bool) -> Answer:
        limits, now_ns = self._limits(tenant), self._clock.now_ns()
        request = queries.read_range_request(params, limits, now_ns, categorize=categorize)
        with self._lock:
            owner = self._tenant(tenant)
            cache = owner.cache if limits.cache_results else None
            data = queries.answer_range(owner.store, request, limits, cache, now_ns)
        answer = _data(data)
        return answer if len(answer.body) <= limits.max_answer_bytes else self._lost(limits)

    def _lost(self, limits: Limits) -> Answer:
        self._stopping.wait(limits.query_timeout_s)
        if limits.query_timeout_s > limits.write_timeout_s:
            return Answer(0)
        return Answer(504, queries.TIMED_OUT.encode())

    def _limits(self, tenant: str) -> Limits:
        return self.tenant_limits.get(tenant, self.limits)

    def _tenant(self, name: str) -> _Tenant:
        if name in self._tenants or len(self._tenants) < _MAX_TENANTS:
            return self._tenants.setdefault(name, _Tenant())
        return _Tenant()  # a reader's made-up names must not cost memory

    def _ingest(self, tenant: str, batches: Sequence[Batch]) -> list[Refusal]:
        with self._lock:
            store = self._tenant(tenant).store
            refusals = ingest(store, batches, self._limits(tenant), self._clock.now_ns())
            excess = self.stored_bytes - self.limits.max_stored_bytes
            if excess > 0:
                # A tenth more than needed, so that not every push has to drop.
                goal = excess + self.limits.max_stored_bytes // 10
                for owner in sorted(self._tenants.values(), key=lambda t: -t.store.stored_bytes):
                    goal -= owner.store.drop_oldest(goal)
                    if goal <= 0:
                        break
            return refusals

    def _metrics(self) -> bytes:
        with self._lock:
            tenants, stored = len(self._tenants), self.stored_bytes
        return (
            f"# TYPE sandbox_loki_stored_bytes gauge\nsandbox_loki_stored_bytes {stored}\n"
            f"# TYPE sandbox_loki_tenants gauge\nsandbox_loki_tenants {tenants}\n"
        ).encode()


def _json(document: Any) -> Answer:
    # As Loki's own encoder: HTML-significant characters are escaped.
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Answer(200, text.encode("utf-8", "replace") + b"\n", JSON)


def _data(data: Any) -> Answer:
    return _json({"status": "success", "data": data})


def _refused(status: int, text: str, *, otlp: bool) -> Answer:
    """A push that was not (wholly) stored. OTLP answers are a google.rpc.Status in protobuf."""
    body = text.encode("utf-8", "replace")
    if not otlp:
        return Answer(status, body + b"\n")
    size, varint = len(body), bytearray()
    while size > 0x7F:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    varint.append(size)
    return Answer(status, b"\x12" + bytes(varint) + body, "application/octet-stream")


def _names(names: list[str]) -> Answer:
    """The label endpoints leave an empty list out."""
    return _data(names) if names else _json({"status": "success"})
