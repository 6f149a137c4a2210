"""How are containerd and kubelet started for one real node?

Both keep everything in the node's scratch folder; configuration: ``tests/servers/node``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import requests

from tests.servers import build, debs
from tests.support.node.namespaces import NODE_ADDRESS
from tests.support.processes import ServerError, ServerProcess, binary

TEMPLATES = Path(build.__file__).parent / "node"
_HEALTH = "http://127.0.0.1:10248/healthz"


def packages() -> Path:
    """The folder with the Debian packages. Raises ServerError when they were not fetched."""
    folder = debs.find()
    if folder is None:
        raise ServerError("the Debian packages of the real node are missing: make debs")
    return folder


def _fill(template: str, target: Path, **values: object) -> None:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    target.write_text(text, encoding="utf-8")


class Containerd:
    """containerd with runc and CNI plug-ins; its shims live on when it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._debs = packages()
        self.process = ServerProcess("containerd", folder / "containerd", ready=self._ready)

    def start(self) -> None:
        """Start and wait until it answers. Raises ServerError with the log's tail."""
        (self.folder / "cni").mkdir(exist_ok=True)
        _fill(
            "containerd.toml",
            self.folder / "containerd.toml",
            dir=self.folder,
            runc=self._debs / "usr/sbin/runc",
            cni=self._debs / "usr/lib/cni",
        )
        _fill("pods.conflist", self.folder / "cni" / "10-pods.conflist", dir=self.folder)
        path = f"{self._debs}/usr/bin:{self._debs}/usr/sbin:{os.environ['PATH']}"
        command = [str(self._debs / "usr/bin/containerd"), "-c", f"{self.folder}/containerd.toml"]
        self.process.start(["/usr/bin/env", f"PATH={path}", *command])

    def import_image(self, archive: Path) -> None:
        """Make an OCI archive's images known to kubelet. Raises ServerError."""
        # The native snapshotter copies every layer: a CUDA base takes its time.
        done = self._ctr("images", "import", "--local", "--snapshotter", "native", str(archive))
        if done.returncode:
            raise ServerError(f"{archive.name} was not imported: {done.stderr[-1000:]}")

    def images(self) -> list[str]:
        """Names of the images that kubelet finds."""
        return self._ctr("images", "list", "--quiet").stdout.split()

    def _ready(self) -> bool:
        return (self.folder / "containerd.sock").exists() and not self._ctr("version").returncode

    def _ctr(self, *words: str) -> subprocess.CompletedProcess[str]:
        socket = str(self.folder / "containerd.sock")
        command = [str(self._debs / "usr/bin/ctr"), "-a", socket, "-n", "k8s.io", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=180)


class Kubelet:
    """A kubelet with its node's own identity and rights."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path, cgroup: str) -> None:
        self.folder = folder
        self.logs = folder / "pod-logs"  # NAMESPACE_POD_UID/CONTAINER/N.log
        self._name = name
        self._kubeconfig = kubeconfig
        self._cgroup = cgroup
        self.process = ServerProcess("kubelet", folder / "kubelet-log", ready=self._ready)

    def start(self, labels: str) -> None:
        """Start and wait until it says it is healthy. Raises ServerError with the log's tail."""
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="ascii")
        configuration = self.folder / "kubelet.yaml"
        _fill(
            "kubelet.yaml",
            configuration,
            dir=self.folder,
            address=NODE_ADDRESS,
            cgroup=self._cgroup,
        )
        self.process.start(
            [
                binary("kubelet"),
                f"--config={configuration}",
                f"--kubeconfig={self._kubeconfig}",
                f"--root-dir={self.folder / 'kubelet'}",
                f"--cert-dir={self.folder / 'kubelet-certs'}",
                f"--hostname-override={self._name}",
                f"--node-ip={NODE_ADDRESS}",
                f"--node-labels={labels}",
            ]
        )

    @staticmethod
    def _ready() -> bool:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(_HEALTH, timeout=2).status_code == 200
