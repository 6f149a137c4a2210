"""How does a test install our chart on a real node, break it and look at what it did?

Installed by real helm with the images of this checkout; Loki runs beside the pods. Invariant:
``ensure()`` leaves an installed release and a Node without anything that earlier tests left.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.chart import CHART, NAME, ROOT
from tests.support.controller import OUR_KEY, eventually, merged
from tests.support.node.audit import Call
from tests.support.node.cluster import RealNode
from tests.support.node.commands import Done
from tests.support.node.namespaces import NODE_ADDRESS
from tests.support.servers import Loki

NAMESPACE = NAME
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
PROBE_ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}-probe"
CONTROLLER = "app.kubernetes.io/component=controller"
PROBE = "app.kubernetes.io/component=probe"
NO_SHIPPER = ROOT / "deploy/shippers/none/values.yaml"  # the kmsg container pushes by itself


class Release:
    """One installed chart. ``shipper`` is the values file of how lines get into Loki."""

    def __init__(self, node: RealNode, loki: Loki, images: Mapping[str, str]) -> None:
        self.node = node
        self.loki = loki
        self.loki_url = f"http://{NODE_ADDRESS}:{loki.port}"  # as pods reach it
        self._images = dict(images)
        self._commands = node.commands
        self.state_directory = node.folder / "state"

    # ------------------------------------------------------------ helm

    def values(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What this cluster needs besides the chart's defaults, and ``more``."""
        own = {
            "controller": {
                "image": {"repository": self._images["konduktor-health"]},
                "minReadySeconds": 5,  # the chart's 15 s only make each roll longer here
            },
            "probe": {
                "image": {"repository": self._images["konduktor-health-probe"]},
                "stateDirectory": str(self.state_directory),
            },
            # a rehearsal on the shared kernel log repeats faults, and what a test reads is written;
            # and the Node has only just been made
            "settings": {
                "loki": {"url": self.loki_url},
                "watched_namespaces": [],
                "policy": {"repeat_write_interval_s": 0, "start_up_grace_s": 0},
            },
        }
        return merged(own, more or {})

    def installed(self) -> bool:
        """Whether helm knows the release."""
        listed = self._commands.helm("list", "-n", NAMESPACE, "-q").stdout
        return NAME in listed.split()

    def ensure(self) -> None:
        """Install if it is not there, and begin with a Node on which nothing is open."""
        if not self.installed():
            self.install()
        self.clear()

    def install(self) -> None:
        """helm install, and wait for all pods."""
        self._helm("install", "--create-namespace")

    def upgrade(self, more: Mapping[str, Any] | None = None, shipper: Path = NO_SHIPPER) -> None:
        """helm upgrade to other values, and wait for the roll's end."""
        self._helm("upgrade", more=more, shipper=shipper)

    def upgrade_without_waiting(self, more: Mapping[str, Any]) -> Done:
        """helm upgrade as the person who runs it sees it: what it says, and its exit code."""
        return self._helm("upgrade", more=more, wait=False)

    def _helm(
        self,
        verb: str,
        *options: str,
        more: Mapping[str, Any] | None = None,
        shipper: Path = NO_SHIPPER,
        wait: bool = True,
    ) -> Done:
        values = self.node.folder / "values.yaml"
        values.write_text(yaml.safe_dump(self.values(more)), encoding="utf-8")
        words = [verb, NAME, str(CHART), "-n", NAMESPACE, *options]
        words += ["-f", str(shipper), "-f", str(values)]
        if not wait:
            return self._commands.helm(*words, check=False)
        done = self._commands.helm(*words, "--wait", "--timeout", "90s")
        self.until_ready()
        return done

    def until_ready(self, timeout_s: float = 60) -> None:
        """All replicas and the probe are there, and none that leaves."""
        self._commands.ready_pods(NAMESPACE, CONTROLLER, 2, timeout_s)
        self._commands.ready_pods(NAMESPACE, PROBE, 1, timeout_s)

    # ------------------------------------------------------------ pods

    def controllers(self) -> list[dict[str, Any]]:
        """The controller's pods that are not being deleted."""
        return self._commands.pods(NAMESPACE, CONTROLLER)

    def probe(self) -> str:
        """Name of the probe pod."""
        return str(self._commands.ready_pods(NAMESPACE, PROBE, 1)[0]["metadata"]["name"])

    def in_probe(self, *command: str, check: bool = True) -> Done:
        """Run something in the kmsg container."""
        return self._commands.in_pod(
            NAMESPACE, self.probe(), *command, container="kmsg", check=check
        )

    def lease(self) -> dict[str, Any]:
        """The Lease's spec; empty when there is none."""
        words = ["get", "lease", NAME, "-n", NAMESPACE, "--ignore-not-found", "-o", "json"]
        text = self._commands.kubectl(*words).stdout
        return dict(json.loads(text)["spec"]) if text.strip() else {}

    def leader(self) -> str:
        """Name of the pod that holds the Lease; "" when nobody does."""
        holder = str(self.lease().get("holderIdentity") or "")
        names = [str(pod["metadata"]["name"]) for pod in self.controllers()]
        return next((name for name in names if holder.startswith(name)), "")

    def until_led(self, timeout_s: float = 30) -> str:
        """The name of the pod that leads."""
        return eventually(self.leader, lambda: f"a leader: {self.lease()}", timeout_s, 0.2)

    def refused(self) -> list[Call]:
        """What the controller's account asked for and may not."""
        return self.node.audit.forbidden(ACCOUNT)

    def restarts(self) -> int:
        """How often containers of the release were started again."""
        pods = self.controllers() + self._commands.pods(NAMESPACE, PROBE)
        statuses = [one for pod in pods for one in pod["status"].get("containerStatuses", [])]
        return sum(int(one["restartCount"]) for one in statuses)

    def metrics(self, pod: str) -> str:
        """A controller's /metrics, by the API server's proxy."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics"
        return self._commands.kubectl("get", "--raw", path).stdout

    # ------------------------------------------------------------ faults

    def echo_xid(self) -> tuple[str, float]:
        """The documented test through the kmsg pod: the GPU's address, and when it was written.

        Time is of time.monotonic(), just before kubectl starts.
        """
        pci = a_device()
        pod = self.probe()
        began = time.monotonic()
        self._commands.in_pod(
            NAMESPACE, pod, "sh", "-c", f'echo "<4>{xid_line(pci)}" > /dev/kmsg', container="kmsg"
        )
        return pci, began

    def record(self, pci: str) -> dict[str, Any]:
        """The open fault of one GPU in the Node's ledger; empty when there is none."""
        text = self._metadata("annotations").get("trainy.konduktor.ai/ledger")
        records = json.loads(text)["records"] if text else []
        return next((dict(one) for one in records if pci in str(one["device"])), {})

    def tainted(self) -> bool:
        """Whether our taint is on the Node."""
        return any(taint["key"] == OUR_KEY for taint in self.node.kube.taints(self.node.name))

    def until_tainted_for(self, pci: str, timeout_s: float = 30) -> dict[str, Any]:
        """The record of the fault, once the Node has it and our taint."""

        def seen() -> dict[str, Any]:
            record = self.record(pci)
            return record if record and self.tainted() else {}

        return eventually(seen, lambda: f"a taint for {pci}: {self.state()}", timeout_s, 0.05)

    def until_clear(self, timeout_s: float = 20) -> None:
        """No taint of ours, no open fault."""

        def clear() -> bool:
            keys = self._metadata("annotations")
            return not self.tainted() and "trainy.konduktor.ai/ledger" not in keys

        eventually(clear, lambda: f"a clear Node: {self.state()}", timeout_s, 0.1)

    def clear(self) -> None:
        """Reset the Node if anything is open, as a person would."""
        if self.tainted() or "trainy.konduktor.ai/ledger" in self._metadata("annotations"):
            self._commands.konduktor("reset", self.node.name)
        self.until_clear()

    def state(self) -> str:
        """What the Node carries of ours, for messages."""
        node = self.node.kube.node(self.node.name)
        taints, notes = node["spec"].get("taints", []), node["metadata"].get("annotations", {})
        return json.dumps({"taints": taints, "annotations": notes})[:4000]

    def log_tail(self) -> str:
        """The ends of all our containers' logs."""
        words = ["--prefix", "--tail=40", "--all-containers", "--ignore-errors"]
        logs = [
            self._commands.kubectl("logs", "-n", NAMESPACE, "-l", selector, *words, check=False)
            for selector in (CONTROLLER, PROBE)
        ]
        return "\n".join(done.stdout[-6000:] + done.stderr[-1000:] for done in logs)

    def _metadata(self, part: str) -> dict[str, str]:
        return dict(self.node.kube.node(self.node.name)["metadata"].get(part, {}))


def xid_line(pci: str) -> str:
    """What the driver prints when a GPU has fallen off the bus."""
    return f"NVRM: Xid (PCI:{pci}): 79, pid=1, name=x, GPU has fallen off the bus."


def a_device() -> str:
    """A PCI address that no other test writes: the kernel log is the host's."""
    return f"{secrets.token_hex(2)}:{secrets.token_hex(1)}:00"
