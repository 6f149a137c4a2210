"""How do tests start, stop and speak to the real servers (etcd, kube-apiserver, kwok, Loki)?

Binaries come from ``tests/servers/build.py`` (``make servers``). Every server listens on
loopback with its own free ports, keeps data and logs in a directory of its own, is waited for
with a deadline, and shows the tail of its log when a start fails. Nothing outlives pytest.

Fixtures (tests/conftest.py); a test that uses one of them carries ``@pytest.mark.e2e``
automatically and is skipped by hand (fails with CI=true) when binaries are missing:

    real_kube      RealKube, one per pytest worker: etcd + kube-apiserver (no controller-manager)
    real_loki      Loki, one per pytest worker; use an own label value (a nonce) or tenant per test
    clean_kube     real_kube, and every Node/Event/Lease/ConfigMap/Pod is deleted after the test
    kwok_kube      clean_kube with kwok running: nodes made with ``kwok=True`` become Ready, 8 GPUs
    kube_factory   make(**RealKube arguments): a private RealKube (restart it, extra users, ...)
    loki_factory   make(**Loki arguments): a private Loki (auth_enabled, limits, restart, kill)

Shapes (``from tests.support.servers import RealKube, Loki, ...``); all have .start(), .stop(),
.kill() (not RealKube), .running, .started_in_s, .log_tail():

    Loki(directory, *, auth_enabled=False, limits={}, overrides={}, cache_results=False, config={})
        .url; start/stop/kill keep port and data; a query works 0.3 s after start()
        .push(labels, [(ns, line) | (ns, line, metadata)], tenant="")   LokiRequestError unless 204
        .push_streams([{"stream": labels, "values": [[str_ns, line, metadata?]]}], tenant="")
        .query(logql, start_ns, end_ns, tenant="", limit=5000) -> list[(ns, line, labels)]
        .set_overrides({tenant: {limit: value}})   live; back when Loki has taken them (tenant of
            a Loki without auth_enabled: "fake"); ingestion limits are generous by default
        .flush()   chunks out to storage
    RealKube(directory, *, users={name: [group]}, controller_manager=False, flags=())
        .url .token .ca (path of a PEM) .token_of(user) .apiserver .etcd .kwok
        .kubeconfig(path=None, user="admin") -> Path
        .request(method, path, body=None, *, content_type=..., user="admin", check=True)
            -> parsed JSON; KubeRequestError (.status .body) from 400 on
        .create_node(name | dict, *, labels, annotations, taints, boot_id="", ready=True, gpus=8,
            kwok=False) -> dict;  .create_nodes(count, prefix="node", **same) -> names, 8 threads
        .node(name) .nodes() .taints(name) .events(node="") .patch_node(name, patch, subresource="")
        .set_boot_id(name, boot_id) .wait_ready(names)   (kwok nodes)
        .delete_all()   Nodes, Pods, Events, Leases, ConfigMaps (not the API server's own)
        .start_kwok() .stop_kwok() .stop_apiserver(kill=False) .start_apiserver()
    Etcd(directory), KubeApiServer(directory, etcd_url, ...), KubeControllerManager(...), Kwok(...)
        what RealKube is made of

Facts to know: admission adds ``node.kubernetes.io/not-ready:NoSchedule`` to every new Node and
no controller removes it (a foreign taint is always present); ``status`` of a create is dropped,
so create_node() patches ``/status`` afterwards. RBAC is on: a user without groups may do nothing
until the test creates a binding.
"""

from tests.support.kube_servers import Etcd, KubeApiServer, KubeControllerManager, Kwok
from tests.support.processes import (
    ServerError,
    ServerProcess,
    binary,
    free_port,
    missing_binaries,
)
from tests.support.real_kube import KubeRequestError, RealKube, is_ready
from tests.support.real_loki import Loki, LokiRequestError

__all__ = [
    "Etcd",
    "KubeApiServer",
    "KubeControllerManager",
    "KubeRequestError",
    "Kwok",
    "Loki",
    "LokiRequestError",
    "RealKube",
    "ServerError",
    "ServerProcess",
    "binary",
    "free_port",
    "is_ready",
    "missing_binaries",
]
