"""How does a test run the controller with the rights of a ServiceAccount, and see what it did?

A real API server, the embedded Loki, processes of ``konduktor-health`` with the account's token.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from konduktor_health.adapters.probes.keys import as_secret, rotated
from konduktor_health.sandbox.loki import LokiServer
from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, cli
from tests.support.loglines import STREAM, Line
from tests.support.rbac.accounts import Accounts, Actor
from tests.support.rbac.rights import Account
from tests.support.servers import RealKube

CONTROLLER = Account(NAMESPACE, "konduktor-health")
PROBE = Account(NAMESPACE, "konduktor-health-probe")
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
STATE = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"
LEASE_TIMES = {"duration_s": 15.0, "renew_deadline_s": 10.0}  # a busy machine loses no Lease
LEASE_NAME, STATE_NAME = "konduktor-health", "konduktor-health-state"


class Scene:
    """What a test plays on. ``stack`` ends what is started here, and takes the roles away."""

    def __init__(self, kube: RealKube, folder: Path, stack: ExitStack) -> None:
        self.kube, self.folder = kube, folder
        self.accounts = Accounts(kube)
        stack.callback(self.accounts.remove)
        self.loki = stack.enter_context(LokiServer())
        self._stack = stack
        self.processes: list[ControllerProcess] = []

    def act_as(self, account: Account) -> Actor:
        """From now on processes run as this account."""
        actor = self.accounts.actor(account)
        actor.kubeconfig(self.kubeconfig)
        return actor

    @property
    def kubeconfig(self) -> Path:
        """With the token of the account that processes run as."""
        return self.folder / "kubeconfig"

    def push(self, *lines: Line) -> None:
        """Kernel lines into Loki."""
        self.loki.push(STREAM, list(lines))

    def controller(self, *args: str, **settings: Any) -> ControllerProcess:
        """Started; its state is written every second."""
        process = ControllerProcess(
            self.folder,
            kubeconfig=self.kubeconfig,
            loki=self.loki.url,
            args=args,
            settings={"checkpoint_interval_s": 1, "lease": LEASE_TIMES, **settings},
        )
        self.processes.append(process)
        return self._stack.enter_context(process)

    def daemonset(self) -> Any:
        """The agents' DaemonSet as it was made; nothing makes pods of it here."""
        labels = {"app": "probe"}
        body = {
            "metadata": {"name": "konduktor-health-probe", "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "agent", "image": "none.invalid/agent"}]},
                },
            },
        }
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
        return self.kube.request("POST", path, body)

    def public_keys(self) -> dict[str, str]:
        """What agents would mount."""
        answer = self.kube.request("GET", f"{STATE}/konduktor-health-probe-keys", check=False)
        data = answer.get("data") if answer else None
        return data if isinstance(data, dict) else {}

    def stale_keys(self) -> None:
        """A signing key whose time is over, and public keys that are of no use."""
        (key,) = rotated((), 1, rotate_s=0)
        for path, name, data in (
            (SECRETS, "konduktor-health-signing", dict(as_secret((key,)))),
            (STATE, "konduktor-health-probe-keys", {"old.pem": "x"}),
        ):
            body = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": data}
            self.kube.request("POST", path, body)

    def run(self, *args: str) -> Any:
        """Another command as the account: a CompletedProcess."""
        environ = {
            "LOG_ENDPOINT": self.loki.url,
            "KONDUKTOR_HEALTH_CLUSTER__NAMESPACE": NAMESPACE,
            "KONDUKTOR_HEALTH_LEASE__RETRY_S": "0.2",
        }
        return cli(*args, "--kubeconfig", str(self.kubeconfig), environ=environ)

    def tainted(self, name: str) -> bool:
        """Whether the node carries our taint."""
        return any(taint["key"] == OUR_KEY for taint in self.kube.taints(name))

    def gpu_pod(self, node: str, name: str = "job") -> str:
        """A pod in namespace default that asks for a GPU of the node; its UID."""
        container = {"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        body = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [container]}}
        made = self.kube.request("POST", PODS, body)
        return str(made["metadata"]["uid"])

    def told(self, uid: str) -> list[str]:
        """Reasons of the Events about a pod of namespace default."""
        found = self.kube.request("GET", EVENTS)["items"]
        return [str(each["reason"]) for each in found if each["involvedObject"].get("uid") == uid]

    def condition(self, name: str) -> str:
        """Reason of our condition; "" when there is none."""
        conditions = self.kube.node(name)["status"].get("conditions", [])
        return next((str(c["reason"]) for c in conditions if c["type"] == "KonduktorHealthy"), "")

    def reasons(self, name: str) -> list[str]:
        """Reasons of our Events about the node."""
        return [str(event["reason"]) for event in self.kube.events(name)]

    def state(self) -> dict[str, Any]:
        """The state ConfigMap; empty while there is none."""
        found = self.kube.request("GET", f"{STATE}/{STATE_NAME}", check=False)
        return dict(found) if found.get("kind") == "ConfigMap" else {}

    def holder(self) -> str:
        """Who holds the Lease; "" when nobody does."""
        found = self.kube.request("GET", f"{LEASE}/{LEASE_NAME}", check=False)
        return str(found.get("spec", {}).get("holderIdentity") or "")

    def logs(self) -> str:
        """What all controllers have logged."""
        return "".join(process.log.read_text(errors="replace") for process in self.processes)
