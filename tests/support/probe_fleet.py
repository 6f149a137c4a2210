"""A sandbox cluster with real agents on loopback: their API and queue; what checks find is told."""

from __future__ import annotations

import io
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from konduktor_health.adapters.probes.keys import as_secret, published, rotated
from konduktor_health.adapters.signing import SECRET
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.nodes import gpu_node, stable_uuid
from probes.agent.build import Made, Surroundings
from probes.agent.log import JsonLog
from probes.agent.options import Options
from probes.agent.server import Server, listen
from probes.report import Result, Run
from probes.runner.order import Order, Ran
from tests.support.agent import SPECS
from tests.support.controller import NAMESPACE
from tests.support.pair_agents import HastyClock
from tests.support.processes import free_port

DAEMONSET = "konduktor-health-probe"


class ToldRunner:
    """Finds what the test says, else a pass. ``gate``: a run ends once it is set."""

    def __init__(self, boot_id: str) -> None:
        self.boot_id = boot_id
        self.found: dict[str, tuple[Result, ...]] = {}
        self.orders: list[Order] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, order: Order) -> Ran:
        self.orders.append(order)
        self.gate.wait(60)
        now_ns = time.time_ns()
        results = []
        for check in order.checks:
            for each in self.found.get(check, (finding(check, "pass"),)):
                results.append(each.model_copy(update={"ended_ns": now_ns}))
        run = Run(
            run_id=order.run_id, cadence=order.cadence, reason=order.reason, boot_id=self.boot_id,
            began_ns=now_ns, ended_ns=now_ns, results=tuple(results),
        )  # fmt: skip
        return Ran(run, {})

    def stop(self) -> None:
        self.gate.set()


def finding(check: str, outcome: str, **more: Any) -> Result:
    """One result."""
    values = {"tier": "light", "message": f"{check} of the test", "ended_ns": 1} | more
    return Result(check=check, outcome=outcome, **values)


class AgentsOfPods:
    """Agents on addresses of their own, all on one port; their keys are in ``folder/keys``."""

    def __init__(self, stack: ExitStack, folder: Path, port: int) -> None:
        self._stack, self._folder, self._port = stack, folder, port
        self.runners: dict[str, ToldRunner] = {}

    def serve(self, name: str, address: str) -> None:
        """The agent of a node begins."""
        folder = self._folder / name
        boot_id = stable_uuid(name, "boot").replace("-", "")
        (folder / "root/proc/sys/kernel/random").mkdir(parents=True)
        (folder / "root/proc/sys/kernel/random/boot_id").write_text(boot_id)
        options = Options(
            node=name, host=address, port=self._port, state=str(folder / "state"),
            delivered=str(folder / "delivered"), keys=str(self._folder / "keys"),
            root=str(folder / "root"), kmsg="", intervals={}, boot_checks=False, version="9.9",
            clock_skew_s=0.0,
        )  # fmt: skip
        runner = self.runners[name] = ToldRunner(boot_id)
        clock = HastyClock()
        log = JsonLog(io.StringIO(), clock)
        made = Made(options, SPECS, Surroundings(runner, clock, log))
        server = Server(made.app, listen(address, self._port), log)
        server.start()
        worker = threading.Thread(target=made.worker.run, daemon=True)
        worker.start()
        for end in (made.state.close, lambda: worker.join(10), made.worker.stop, server.stop):
            self._stack.callback(end)


class ProbeFleet:
    """Nodes gpu-a, gpu-b ... in the API server, each with an agent, and a settings file."""

    def __init__(self, stack: ExitStack, folder: Path, *names: str, tokens: Any = None) -> None:
        self.folder, self.port = folder, free_port()
        self.api = KubeApi(tokens=tokens)
        self.api.start()
        stack.callback(self.api.stop)
        self._agents = AgentsOfPods(stack, folder, self.port)
        self.runners = self._agents.runners
        for namespace in (NAMESPACE, "training"):
            self.api.store.create("namespaces", {"metadata": {"name": namespace}})
        self._daemonset = self.api.store.create(
            "daemonsets", {"metadata": {"name": DAEMONSET, "namespace": NAMESPACE}}
        )["metadata"]["uid"]
        self.keys = rotated((), time.time_ns(), rotate_s=0)
        (folder / "keys").mkdir()
        for name, pem in published(self.keys).items():
            (folder / "keys" / name).write_text(pem)
        self.make_secret()
        for number, name in enumerate(names, 1):
            self.node(name, labels={"zone": f"eu-{number % 2 + 1}"})
            self.agent(name, number)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self.api.kubeconfig())
        self.config = folder / "settings.yaml"
        wanted = {"probes": {"port": self.port}, "cluster": {"namespace": NAMESPACE}}
        self.config.write_text(yaml.safe_dump(wanted))

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--kubeconfig", str(self.kubeconfig), "--config", str(self.config))

    def make_secret(self) -> None:
        body = {"metadata": {"name": SECRET, "namespace": NAMESPACE}}
        self.api.store.create("secrets", {**body, "data": dict(as_secret(self.keys))})

    def node(self, name: str, *, labels: dict[str, str] | None = None) -> None:
        made = gpu_node(name)
        made["metadata"]["labels"] |= labels or {}
        self.api.store.create("nodes", made)

    def agent(self, name: str, number: int, *, listens: bool = True) -> None:
        """An agent's pod; where it listens, an agent too."""
        address = f"127.0.77.{number}"
        owner = {
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": DAEMONSET,
            "uid": self._daemonset, "controller": True,
        }  # fmt: skip
        self.pod(
            f"probe-{name}", name, NAMESPACE, {"app.kubernetes.io/component": "probe"},
            ownerReferences=[owner],
        )  # fmt: skip
        self.api.store.edit(
            "pods", f"probe-{name}", lambda pod: pod["status"].update(podIP=address),
            namespace=NAMESPACE,
        )  # fmt: skip
        if listens:
            self._agents.serve(name, address)

    def pod(
        self, name: str, node: str, namespace: str, labels: dict[str, str], **meta: Any
    ) -> None:
        """A pod that runs on a node."""
        metadata = {"name": name, "namespace": namespace, "labels": labels, **meta}
        ports = [{"containerPort": self.port}]
        spec = {"nodeName": node, "containers": [{"name": "c", "ports": ports}]}
        self.api.store.create(
            "pods", {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}
        )
