"""A whole controller finds its agents, has them test each other, and taints the one to blame."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health import settings
from konduktor_health.adapters.probes import AgentHttp
from konduktor_health.adapters.probes.pods import NETWORK_STATUS
from konduktor_health.clock import SystemClock
from konduktor_health.core.pair_tests import PairOutcome
from konduktor_health.runtime.wiring import build
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.loki import LokiServer
from konduktor_health.sandbox.nodes import gpu_node, stable_uuid
from tests.support.controller import NAMESPACE, OUR_KEY, eventually
from tests.support.pair_agents import NetTool, PairAgent
from tests.support.pair_world import LEAF, PairWorld
from tests.support.processes import free_port

NODES = ("gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5")
DAEMONSET = "konduktor-health-probe"


class Cluster:
    """Nodes, pods of agents that listen on loopback, and a controller in threads."""

    def __init__(self, stack: ExitStack, folder: Path, world: PairWorld) -> None:
        self.folder, self.world = folder, world
        self.api, self.port = KubeApi(), free_port()
        self.api.start()
        stack.callback(self.api.stop)
        self.loki = stack.enter_context(LokiServer())
        self.api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        owner = self.api.store.create(
            "daemonsets", {"metadata": {"name": DAEMONSET, "namespace": NAMESPACE}}
        )
        address = {name: f"127.0.78.{n}" for n, name in enumerate(NODES, 1)}
        rdma = {name: f"10.78.0.{n}" for n, name in enumerate(NODES, 1)}
        node_at = {each: name for where in (address, rdma) for name, each in where.items()}
        self.keys = folder / "keys"
        self.keys.mkdir()
        self.agents = {}
        for name in NODES:
            made = gpu_node(name)
            made["metadata"]["labels"][LEAF] = world.leaf_of[name]
            self.api.store.create("nodes", made)
            self.agents[name] = PairAgent(
                stack, folder / name, name, NetTool(world, name, node_at), self.keys,
                host=address[name], port=self.port,
                boot_id=stable_uuid(name, "boot").replace("-", ""),
            )  # fmt: skip
            self._pod(name, address[name], rdma[name], owner["metadata"]["uid"])
        (folder / "kubeconfig").write_text(self.api.kubeconfig())
        self.stop = threading.Event()
        self._start()
        stack.callback(self._end)

    def tainted(self) -> set[str]:
        return {
            node["metadata"]["name"]
            for node in self.api.store.list("nodes")
            if any(taint["key"] == OUR_KEY for taint in node["spec"].get("taints", []))
        }

    def node(self, name: str) -> Any:
        (found,) = [n for n in self.api.store.list("nodes") if n["metadata"]["name"] == name]
        return found

    def publish_keys(self) -> None:
        """As a kubelet does: the ConfigMap becomes files that the agents read."""
        maps = self.api.store.list("configmaps", namespace=NAMESPACE)
        for one in maps:
            if one["metadata"]["name"] == "konduktor-health-probe-keys":
                for name, pem in one["data"].items():
                    (self.keys / name).write_text(pem)

    def _pod(self, name: str, address: str, rdma: str, uid: str) -> None:
        owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": DAEMONSET, "uid": uid,
                 "controller": True}  # fmt: skip
        networks = [
            {"name": "pods", "interface": "eth0", "ips": [address], "default": True},
            {"name": "rdma", "interface": "net1", "ips": [rdma]},
        ]
        metadata = {
            "name": f"probe-{name}", "namespace": NAMESPACE, "ownerReferences": [owner],
            "labels": {"app.kubernetes.io/component": "probe"},
            "annotations": {NETWORK_STATUS: json.dumps(networks)},
        }  # fmt: skip
        ports = [{"containerPort": self.port}]
        spec = {"nodeName": name, "containers": [{"name": "agent", "ports": ports}]}
        status = {"podIP": address, "phase": "Running"}
        self.api.store.create("pods", {"metadata": metadata, "spec": spec, "status": status})

    def _start(self) -> None:
        flags = {
            "loki": {"url": self.loki.url},
            "sources": [{"preset": "konduktor-otel"}],
            "reading": {"poll_interval_s": 0.5},
            "cluster": {"kubeconfig": self.folder / "kubeconfig", "namespace": NAMESPACE},
            "policy": {"start_up_grace_s": 0},
            "http": {"enabled": False},
            "probes": {"port": self.port, "rounds": {"confirm_s": 1}, "interval_s": 1},
        }
        clock = SystemClock()
        controller = build(
            settings.load(flags=flags, environ={}),
            stop=self.stop,
            agent_http=AgentHttp(clock, may_ask=lambda _address: True),
        )
        self.controller = controller
        self._thread = threading.Thread(target=controller.run, daemon=True)
        self._thread.start()

    def _end(self) -> None:
        self.stop.set()
        self.controller.wake.set()
        self._thread.join(10)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    leaves = {name: f"leaf-{number % 2}" for number, name in enumerate(NODES)}
    world = PairWorld(leaves, bad_nodes={"gpu-3": PairOutcome.FAILED})
    with ExitStack() as stack:
        made = Cluster(stack, tmp_path, world)
        yield made
        assert made.api.failures == []


def test_the_node_to_blame_is_tainted_and_explained(cluster: Cluster) -> None:
    def tainted() -> bool:
        cluster.publish_keys()
        return bool(cluster.tainted())

    eventually(tainted, "a taint", 90)
    assert cluster.tainted() == {"gpu-3"}
    ledger = cluster.node("gpu-3")["metadata"]["annotations"][f"{OUR_KEY.split('/')[0]}/ledger"]
    assert "probe/network-pair" in ledger
    assert "eth0" in ledger or "net1" in ledger
    partners = [name for name in NODES if name != "gpu-3" and name in ledger]
    assert len(partners) >= 2, ledger
    pinged = [
        order.options["ping.addresses"]
        for agent in cluster.agents.values()
        for order in agent.runner.orders
        if "ping.addresses" in order.options
    ]
    assert pinged
    assert all("eth0=127.0.78." in each and "net1=10.78.0." in each for each in pinged)
