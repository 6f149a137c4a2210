"""How does a person's command reach the agents? Through the API server, or directly from a pod.

A laptop does not reach the addresses of pods. ``pods/proxy`` of the API server passes requests on
with the user's own rights, headers and bytes as they are, so that a signature holds. In the cluster
agents are asked directly.

What starts work is signed with the key of the controller: who may read that Secret may do so.
Nothing here is an effect of the controller: no Lease is asked.

Invariants: as ``client``, answers are bounded, redirects are not followed, and a request that
starts work is sent once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.kube import namespace as namespace_of
from konduktor_health.adapters.kube.client import Passed
from konduktor_health.adapters.kube.status import error_of as api_error
from konduktor_health.adapters.kube.status import explain
from konduktor_health.adapters.probes.asked import AskedRuns
from konduktor_health.adapters.probes.client import AgentHttp, Answer
from konduktor_health.adapters.probes.keys import DamagedKeysError, Key, from_secret, signer_of
from konduktor_health.adapters.probes.orders import AgentOrders
from konduktor_health.adapters.probes.pod_watch import AgentPods
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.refusal import error_of, refusal_in
from konduktor_health.adapters.signing import SECRET
from konduktor_health.clock import Clock
from konduktor_health.errors import (
    AgentRefused,
    AgentUnavailable,
    ClusterRejected,
    ClusterUnavailable,
    HealthError,
    NotFound,
)
from konduktor_health.model import NodeView
from konduktor_health.settings import Settings
from probes.report import MOST_BODY_BYTES, signed_bytes

_PAGE = 500


class PodProxy:
    """Requests to agents by way of the API server (as ``client.AgentHttp``). Thread-safe."""

    def __init__(
        self, http: KubeHttp, namespace: str, pod_at: Callable[[str], AgentPod | None]
    ) -> None:
        """``pod_at``: the agent's pod that has this address."""
        self._http = http
        self._namespace = namespace
        self._pod_at = pod_at

    def get(
        self, address: str, port: int, path: str, *, timeout_s: float, etag: str = "", keep: bool
    ) -> Answer:
        """GET; ``keep`` is the API server's affair."""
        del keep
        headers = {"if-none-match": etag} if etag else {}
        return self._answer("GET", address, port, path, b"", headers, timeout_s)

    def post(
        self,
        address: str,
        port: int,
        path: str,
        body: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST JSON, once."""
        more = {"content-type": "application/json", **(headers or {})}
        return self._answer("POST", address, port, path, body, more, timeout_s)

    def close(self) -> None:
        """Nothing is kept open here."""

    def _answer(
        self,
        method: str,
        address: str,
        port: int,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Answer:
        pod = self._pod_at(address)
        if pod is None:
            raise NotFound(f"no agent's pod has the address {address}")
        where = f"/api/v1/namespaces/{quote(self._namespace, safe='')}/pods"
        path = f"{where}/{quote(pod.name, safe='')}:{port}/proxy{path}"
        passed = self._http.pass_on(method, path, body=body, headers=headers, timeout_s=timeout_s)
        if passed.status == 304:
            return Answer(304, etag=passed.etag)
        if len(passed.body) > MOST_BODY_BYTES:
            raise AgentUnavailable(f"an answer of {len(passed.body)} bytes: too long")
        if 200 <= passed.status < 300:
            return Answer(passed.status, passed.body, passed.etag)
        raise self._error(passed)

    def _error(self, passed: Passed) -> HealthError:
        """Who says no: the agent, or the API server before it?"""
        if refusal_in(passed.body) is not None:
            return error_of(passed.status, passed.body)
        reason, message = explain(passed.body)
        if not reason:
            return error_of(passed.status, passed.body)
        error = api_error(passed.status, passed.body, passed.call, self._http.server)
        if isinstance(error, ClusterUnavailable):
            return AgentUnavailable(
                f"the API server does not reach the agent: {message}",
                hint="does a NetworkPolicy keep it away? From a pod in the cluster: --via direct",
            )
        return error


@dataclass(frozen=True, slots=True)
class Reach:
    """The agents, as a command reaches them."""

    pods: Mapping[str, AgentPod]  # by node
    orders: AgentOrders
    asked: AskedRuns


def find_agents(settings: Settings, http: KubeHttp, clock: Clock) -> Mapping[str, AgentPod]:
    """The agents' pods by node. Raises HealthError."""
    wanted = settings.probes
    found = AgentPods(
        http,
        clock,
        namespace=wanted.namespace or namespace_of(settings),
        daemonset=wanted.daemonset,
        selector=wanted.selector,
        port=wanted.port,
    )
    found.look()
    names = found.names() or frozenset()
    return {name: pod for name in sorted(names) if (pod := found.of(name)) is not None}


def reach(
    settings: Settings,
    http: KubeHttp,
    pods: Mapping[str, AgentPod],
    nodes: Mapping[str, NodeView],
    clock: Clock,
    *,
    direct: bool,
    agents: AgentHttp | None = None,
) -> Reach:
    """How to ask these. ``direct``: past the API server; ``agents``: by what, then."""
    wanted = settings.probes
    namespace = wanted.namespace or namespace_of(settings)
    by_address = {pod.address: pod for pod in pods.values()}
    way: AgentHttp | PodProxy = PodProxy(http, namespace, by_address.get)
    if direct:
        way = agents or AgentHttp(clock)
    signer = Signer(http, namespace, clock)
    timeout_s = max(wanted.timeout_s, settings.cluster.timeout_s)
    return Reach(
        pods,
        AgentOrders(pods.get, way, signer.sign, clock, timeout_s=timeout_s),
        # What a fake backend says is shown as such, and is no pass.
        AskedRuns(pods.get, way, lambda: nodes, clock, timeout_s=timeout_s, accept_fake=True),
    )


def nodes_of_pods(http: KubeHttp, namespace: str, selector: str) -> frozenset[str]:
    """Nodes on which pods with these labels run, or are about to. Raises HealthError."""
    found: set[str] = set()
    params = {"labelSelector": selector, "limit": str(_PAGE)}
    while True:
        listed = http.get(f"/api/v1/namespaces/{quote(namespace, safe='')}/pods", params)
        items, meta = listed.get("items"), listed.get("metadata")
        for pod in items if isinstance(items, list) else ():
            try:
                name, phase = pod["spec"].get("nodeName"), pod["status"].get("phase")
            except (KeyError, TypeError, AttributeError):
                continue
            if isinstance(name, str) and name and phase not in ("Succeeded", "Failed"):
                found.add(name)
        following = meta.get("continue") if isinstance(meta, dict) else None
        if not following:
            return frozenset(found)
        params["continue"] = str(following)


class Signer:
    """Signs with the controller's key, read once it is needed. Thread-safe."""

    def __init__(self, http: KubeHttp, namespace: str, clock: Clock) -> None:
        self._http = http
        self._namespace = namespace
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()

    def sign(self, endpoint: str, body: bytes) -> str:
        """The value of the signature header. Raises HealthError: no right, no key."""
        with self._lock:
            self._keys = self._keys or self._read()
            keys = self._keys
        return signer_of(keys, self._clock.now_ns()).signature(signed_bytes(endpoint, body))

    def _read(self) -> tuple[Key, ...]:
        path = f"/api/v1/namespaces/{quote(self._namespace, safe='')}/secrets/{SECRET}"
        try:
            return from_secret(self._http.get(path).get("data"))
        except NotFound as error:
            raise ClusterRejected(
                f"there is no signing key: Secret {SECRET} in namespace {self._namespace}",
                hint="a controller with probes.enabled makes it once it leads",
            ) from error
        except DamagedKeysError as error:
            raise ClusterRejected(f"Secret {SECRET}: {error}") from error


def is_the_agents_own(error: HealthError) -> bool:
    """The error is of one agent; all others would be the same for each of them."""
    return isinstance(error, (AgentUnavailable, AgentRefused))
