"""How are etcd, kube-apiserver, -controller-manager, -scheduler and kwok started for tests?

Each class owns one process, one directory and one port, and keeps port and data over
stop(), kill() and start().
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests

from tests.servers import build
from tests.support.processes import Server, ServerProcess, binary, free_port

STAGES = Path(build.__file__).parent / "kwok" / "stages.yaml"
KWOK_ANNOTATION = "kwok.x-k8s.io/node"


def _answers(url: str, verify: bool | str = True) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would override verify
        return session.get(url, timeout=2, verify=verify).status_code == 200


def _signing_key() -> str:
    """A fresh EC P-256 key as PEM. SEC 1 lets the public half be left out, so no library."""
    scalar = b"\x01" + secrets.token_bytes(31)  # below the order of the curve
    der = bytes.fromhex("30310201010420") + scalar + bytes.fromhex("a00a06082a8648ce3d030107")
    text = base64.b64encode(der).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n"


class Etcd(Server):
    """A one-member etcd that does not wait for the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{free_port()}"
        self._peer = f"http://127.0.0.1:{free_port()}"
        self.process = ServerProcess(
            "etcd", directory, ready=lambda: _answers(f"{self.url}/health")
        )

    def argv(self) -> list[str]:
        return [
            binary("etcd"),
            f"--data-dir={self.directory / 'data'}",
            "--name=tests",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self._peer}",
            f"--initial-advertise-peer-urls={self._peer}",
            f"--initial-cluster=tests={self._peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]


class KubeApiServer(Server):
    """A kube-apiserver with RBAC, bearer tokens and a self-signed certificate.

    ``users`` maps further user names to their groups; ``token_of(name)`` is the bearer token.
    A user without groups can do nothing until a test binds a role to it. ``flags`` are added to
    its command line; ``port`` 0 takes a free one.
    """

    def __init__(
        self,
        directory: Path,
        etcd_url: str,
        *,
        users: Mapping[str, Sequence[str]] | None = None,
        service_accounts: bool = False,
        flags: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = directory / "certs" / "apiserver.crt"  # written by the server: leaf and CA
        self.service_account_key = directory / "service-account.key"
        self._etcd_url = etcd_url
        self._service_accounts = service_accounts
        self._flags = tuple(flags)
        self._tokens = {"admin": "admin-token"}
        lines = ["admin-token,admin,admin,system:masters"]
        for name, groups in (users or {}).items():
            self._tokens[name] = f"{name}-token"
            quoted = f',"{",".join(groups)}"' if groups else ""
            lines.append(f"{name}-token,{name},{name}{quoted}")
        self._token_lines = lines
        # It would wait up to a minute for watches to end; etcd has all it was told.
        self.process = ServerProcess("kube-apiserver", directory, ready=self._ready, stop_s=3)

    def _ready(self) -> bool:
        return self.ca.is_file() and _answers(f"{self.url}/readyz", verify=str(self.ca))

    @property
    def token(self) -> str:
        """The bearer token of a member of system:masters."""
        return self.token_of("admin")

    def token_of(self, user: str) -> str:
        """The bearer token of ``admin`` or of one of ``users``."""
        return self._tokens[user]

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        tokens = self.directory / "tokens.csv"
        tokens.write_text("\n".join(self._token_lines) + "\n", encoding="utf-8")
        if not self.service_account_key.exists():
            self.service_account_key.write_text(_signing_key(), encoding="ascii")
        super().start()

    def argv(self) -> list[str]:
        argv = [
            binary("kube-apiserver"),
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port}",
            f"--cert-dir={self.directory / 'certs'}",
            f"--service-account-key-file={self.service_account_key}",
            f"--service-account-signing-key-file={self.service_account_key}",
            "--service-account-issuer=https://kubernetes.default",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.99.0.0/24",
            "--allow-privileged=true",
            "--delete-collection-workers=8",
            "--profiling=false",
            *self._flags,
        ]
        if not self._service_accounts:  # nobody makes the default service accounts
            argv.append("--disable-admission-plugins=ServiceAccount")
        return argv


class _Component(Server):
    """A process of the control plane that speaks to the API server and has a health port."""

    def __init__(self, name: str, directory: Path, kubeconfig: Path, *flags: str) -> None:
        self.directory = directory
        self._name = name
        self._kubeconfig = kubeconfig
        self._flags = flags
        self._port = free_port()
        self._ca = directory / "certs" / f"{name}.crt"
        self.process = ServerProcess(name, directory, ready=self._ready)

    def _ready(self) -> bool:
        return self._ca.is_file() and _answers(
            f"https://127.0.0.1:{self._port}/healthz", verify=str(self._ca)
        )

    def argv(self) -> list[str]:
        return [
            binary(self._name),
            f"--kubeconfig={self._kubeconfig}",
            f"--authentication-kubeconfig={self._kubeconfig}",
            "--authentication-skip-lookup=true",  # it fails here, and fills the log with that
            f"--authorization-kubeconfig={self._kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self.directory / 'certs'}",
            *self._flags,
        ]


class KubeControllerManager(_Component):
    """The controllers (node lifecycle, taint eviction, namespaces ...) without leader election."""

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        service_account_key: Path,
        *,
        root_ca: Path,
        controllers: str = "*",
    ) -> None:
        super().__init__(
            "kube-controller-manager",
            directory,
            kubeconfig,
            f"--service-account-private-key-file={service_account_key}",
            f"--root-ca-file={root_ca}",  # what pods verify the API server with
            f"--controllers={controllers}",
        )


class KubeScheduler(_Component):
    """The scheduler without leader election."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        super().__init__("kube-scheduler", directory, kubeconfig)


class Kwok(Server):
    """Simulated kubelets for the nodes annotated ``kwok.x-k8s.io/node: fake``."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self.directory = directory
        self._kubeconfig = kubeconfig
        self._address = f"127.0.0.1:{free_port()}"
        self.process = ServerProcess(
            "kwok", directory, ready=lambda: _answers(f"http://{self._address}/healthz")
        )

    def argv(self) -> list[str]:
        return [
            binary("kwok"),
            f"--kubeconfig={self._kubeconfig}",
            f"--config={STAGES}",
            f"--manage-nodes-with-annotation-selector={KWOK_ANNOTATION}=fake",
            "--node-lease-duration-seconds=40",
            "--node-ip=10.0.0.1",
            f"--server-address={self._address}",
        ]
