"""How does a test get a real one-node cluster, and how is it gone afterwards?

etcd, kube-apiserver (Node and RBAC authorisation, audit log), controller-manager, scheduler,
containerd and kubelet, each a real process in the namespaces of ``namespaces.py``. Pods are real
containers: they reach the API server at its service address, and the node's address.
Invariant: everything lies in one scratch folder, one cgroup and these namespaces.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.controller import eventually
from tests.support.kube_servers import KubeScheduler
from tests.support.node.audit import AuditLog
from tests.support.node.busybox import write_busybox
from tests.support.node.commands import Commands
from tests.support.node.namespaces import lay_out, uncover
from tests.support.node.scratch import Scratch
from tests.support.node.servers import TEMPLATES, Containerd, Kubelet, packages
from tests.support.processes import ServerError
from tests.support.real_kube import RealKube, is_ready

_LABELS = "nvidia.com/gpu.present=true"  # what GPU feature discovery says of a GPU node


class RealNode:
    """A cluster of one node, ``name``.

    ``archives``: OCI archives that are imported before kubelet starts. ``kube`` is the
    administrator's API client, ``commands`` the administrator's tools, ``audit`` who called what.
    """

    name = "real-node"

    def __init__(self, *, archives: Sequence[Path] = ()) -> None:
        self._made_on_host = lay_out()
        self._archives = tuple(archives)
        self._scratch = Scratch()
        self.folder = self._scratch.path
        self.audit = AuditLog(self.folder / "audit.log")
        self._identity = f"system:node:{self.name}"
        self.kube = RealKube(
            self.folder / "kube",
            users={self._identity: ["system:nodes"]},
            controller_manager=True,
            port=443,
            flags=(
                "--bind-address=0.0.0.0",
                "--authorization-mode=Node",  # besides RBAC
                "--enable-admission-plugins=NodeRestriction",
                "--kubelet-preferred-address-types=InternalIP",
                f"--audit-policy-file={TEMPLATES / 'audit.yaml'}",
                f"--audit-log-path={self.audit.path}",
            ),
        )
        admin = self.folder / "kube" / "admin.kubeconfig"
        self.commands = Commands(admin, self.folder)
        self.scheduler = KubeScheduler(self.folder / "scheduler", admin)
        self.containerd = Containerd(self.folder)
        self.kubelet = Kubelet(
            self.folder, self.name, self.folder / "kubelet.kubeconfig", self._scratch.cgroup
        )
        self.started_in_s = 0.0  # until the Node was Ready

    def start(self) -> None:
        """Start everything and wait for the Node. Raises ServerError with logs' tails."""
        began = time.monotonic()
        self.containerd.start()
        image = self.folder / "busybox.tar"
        write_busybox(packages() / "usr/bin/busybox", image)
        for archive in (image, *self._archives):
            self.containerd.import_image(archive)
        self.kube.start()
        self.scheduler.start()
        self.kube.kubeconfig(self.folder / "kubelet.kubeconfig", user=self._identity)
        self.kubelet.start(_LABELS)
        self.wait_node_ready()
        self.started_in_s = time.monotonic() - began

    def wait_node_ready(self, within_s: float = 60) -> None:
        """Wait until the Node is Ready and the scheduler may use it."""

        def ready() -> bool:
            nodes = [one for one in self.kube.nodes() if one["metadata"]["name"] == self.name]
            return bool(nodes) and is_ready(nodes[0]) and not self._not_ready_taints()

        eventually(ready, lambda: f"Node Ready\n{self.log_tail()}", within_s, 0.1)

    def _not_ready_taints(self) -> list[str]:
        keys = [taint["key"] for taint in self.kube.taints(self.name)]
        return [key for key in keys if key.startswith("node.kubernetes.io/")]

    def restart_kubelet(self) -> None:
        """Stop kubelet as an administrator does and start it again; containers go on."""
        self.kubelet.process.stop()
        self.kubelet.start(_LABELS)

    def log_tail(self) -> str:
        """The ends of the logs of all processes."""
        processes = (self.containerd.process, self.kubelet.process, self.scheduler.process)
        return "\n".join([self.kube.log_tail(), *(one.log_tail() for one in processes)])

    def stop(self) -> None:
        """End containers and processes, remove mounts, cgroups and files."""
        try:
            self.kubelet.process.stop()
            self._end_containers()
            self.containerd.process.stop()
            self.scheduler.stop()
            self.kube.stop()
        finally:
            self._scratch.remove()
            uncover(self._made_on_host)
            self._made_on_host = []

    def _end_containers(self) -> None:
        """Kill whatever runs in the node's cgroup; its shims and their sockets go too."""
        self.containerd.process.stop()
        marks = (f"/{self._scratch.cgroup}/", str(self.folder))
        deadline = time.monotonic() + 20
        while doomed := [pid for pid in _processes() if _belongs(pid, marks)]:
            if time.monotonic() > deadline:
                raise ServerError(f"processes of the node do not end: {doomed[:5]}")
            for pid in doomed:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)  # noqa: TID251 - other processes end


def _processes() -> list[int]:
    own = os.getpid()
    found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in found if pid not in (1, own)]


def _belongs(pid: int, marks: tuple[str, str]) -> bool:
    """A container's process (by cgroup), or a shim (by its command line)."""
    cgroup, folder = marks
    try:
        if cgroup in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
            return True
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return words[0].endswith("containerd-shim-runc-v2") and any(folder in word for word in words)
