"""What do the kubelets of nodes with a real agent do? Pods of a DaemonSet, and the mounted keys.

The embedded API runs no pods. Here each agent's process gets a pod that the DaemonSet owns, on its
node, with the process's address; it is ready while the process answers. The ConfigMap with the
public keys of the controller lies in the directory that the agents read, as a volume would.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from loguru import logger

from konduktor_health.adapters.signing import CONFIG_MAP
from konduktor_health.clock import Clock
from konduktor_health.errors import TransientError
from konduktor_health.sandbox.agents import LocalAgent, LocalAgents
from konduktor_health.sandbox.kubeapi.status import ApiError
from konduktor_health.sandbox.kubeapi.store import Store

DAEMONSET = "konduktor-health-probe"
LABELS = {"app.kubernetes.io/component": "probe"}
PERIOD_S = 0.2
#: So long may an agent take to answer; it starts within two seconds of a core.
START_S = 60.0

Json = dict[str, Any]


class Kubelets:
    """Plays in a thread of its own."""

    def __init__(self, store: Store, agents: LocalAgents, clock: Clock, namespace: str) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock
        self._namespace = namespace
        self._keys: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelets", daemon=True)

    def start(self) -> None:
        """Make the DaemonSet and a pod for each agent, and follow the processes."""
        template = {"metadata": {"labels": LABELS}, "spec": self._pod_spec("")}
        made = self._store.create(
            "daemonsets",
            {
                "metadata": {"name": DAEMONSET},
                "spec": {"selector": {"matchLabels": LABELS}, "template": template},
            },
            namespace=self._namespace,
        )
        for agent in self._agents.of.values():
            self._store.create(
                "pods", self._pod(agent, made["metadata"]["uid"]), namespace=self._namespace
            )
        self._thread.start()

    def await_ready(self, stop: threading.Event) -> bool:
        """Wait until all agents answer; False: ``stop`` is set. Raises TransientError."""
        began_s = self._clock.monotonic()
        while not all(agent.answers() for agent in self._agents.of.values()):
            if self._clock.monotonic() - began_s > START_S:
                raise TransientError(f"the agents did not answer within {START_S:.0f} s")
            if self._clock.wait(stop, 0.1):
                return False
        self.step()
        return True

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def step(self) -> None:
        """One look at the processes and at the keys."""
        for agent in self._agents.of.values():
            self._tell(agent)
        self._mount(self._agents.keys)

    def _run(self) -> None:
        while not self._clock.wait(self._stop, PERIOD_S):
            try:
                self.step()
            except (ApiError, OSError, TransientError) as error:  # the next look does it
                logger.debug(f"kubelets of the sandbox: {error}")

    def _tell(self, agent: LocalAgent) -> None:
        """What the pod's status says of the process."""
        name = pod_name(agent.node)
        before = self._store.get("pods", name, namespace=self._namespace)["status"]
        ready = agent.running() and (_is_ready(before) or agent.answers())
        if ready is _is_ready(before):
            return

        def change(pod: Json) -> None:
            condition = {"type": "Ready", "status": "True" if ready else "False"}
            container = {"name": "agent", "ready": ready, "restartCount": 0}
            pod["status"] |= {
                "phase": "Running",
                "podIP": agent.address,
                "conditions": [condition],
                "containerStatuses": [container],
            }

        self._store.edit("pods", name, change, namespace=self._namespace)

    def _mount(self, folder: Path) -> None:
        """Have the files of the ConfigMap in the folder, each replaced as a whole."""
        try:
            found = self._store.get("configmaps", CONFIG_MAP, namespace=self._namespace)
        except ApiError as error:
            if error.code == 404:
                return
            raise
        wanted: dict[str, str] = found.get("data") or {}
        if wanted == self._keys:
            return
        for name in self._keys.keys() - wanted.keys():
            (folder / name).unlink(missing_ok=True)
        for name, text in wanted.items():
            new = folder / f".{name}"
            new.write_text(text, encoding="ascii")
            new.replace(folder / name)
        self._keys = wanted

    def _pod(self, agent: LocalAgent, owner_uid: str) -> Json:
        owner = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "name": DAEMONSET,
            "uid": owner_uid,
            "controller": True,
        }
        return {
            "metadata": {
                "name": pod_name(agent.node),
                "labels": LABELS,
                "ownerReferences": [owner],
            },
            "spec": self._pod_spec(agent.node),
            "status": {"phase": "Pending"},
        }

    def _pod_spec(self, node: str) -> Json:
        ports = [{"name": "agent", "containerPort": self._agents.port}]
        spec: Json = {
            "containers": [{"name": "agent", "image": "konduktor-health-probe", "ports": ports}],
            "tolerations": [{"operator": "Exists"}],
        }
        return {**spec, "nodeName": node} if node else spec


def pod_name(node: str) -> str:
    """Of the agent of a node."""
    return f"{DAEMONSET}-{node}"


def _is_ready(status: Json) -> bool:
    return any(each.get("status") == "True" for each in status.get("conditions") or [])
