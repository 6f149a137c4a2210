"""Is what is wrong with a connection said in one sentence, and does nothing hang?"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.config import Access, load, namespace_of_pod
from konduktor_health.clock import SystemClock
from konduktor_health.errors import (
    ClusterForbidden,
    ClusterRejected,
    ClusterUnavailable,
    ConfigError,
    HealthError,
)
from konduktor_health.sandbox.kubeapi import KubeApi
from tests.component.kube.conftest import Side

CLOCK = SystemClock()


def kubeconfig(path: Path, server: str = "http://127.0.0.1:1", **user: object) -> Path:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server} if server else {}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def access(path: Path, context: str = "") -> Access:
    return load(path, context, CLOCK, environ={})


def connect(path: Path, timeout_s: float = 5.0) -> KubeHttp:
    return KubeHttp(access(path), CLOCK, timeout_s=timeout_s)


def failing(path: Path, context: str = "") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        access(path, context)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_kubeconfig_that_is_missing_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "k"
    assert "no such file" in str(failing(path))
    for content in ("a: [", "", "[]", "3", "clusters: 3\ncurrent-context: x", "users: [1]"):
        path.write_text(content, encoding="utf-8")
        assert str(path) in str(failing(path))
    path.write_bytes(b"\xff\xfe\x00")
    failing(path)
    assert "nonesuch" in str(failing(kubeconfig(path), "nonesuch"))
    assert "no server URL" in str(failing(kubeconfig(path, server="")))


def test_no_configuration_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="no cluster"):
        load(None, "", CLOCK, environ={}, service_account=tmp_path)
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        load(None, "", CLOCK, environ={"KUBECONFIG": f"{tmp_path}/no:"}, service_account=tmp_path)
    path = kubeconfig(tmp_path / "k", "http://127.0.0.1:9")
    found = load(None, "", CLOCK, {"KUBECONFIG": f"{tmp_path}/no:{path}"}, tmp_path)
    assert found.server == "http://127.0.0.1:9"


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    user = {"client-certificate-data": "bm90IGEgY2VydA==", "client-key-data": "eA=="}
    path = kubeconfig(tmp_path / "k", "https://127.0.0.1:9", **user)
    assert "certificates" in str(failing(path))


def test_a_refused_connection_is_the_kubeconfigs_fault_at_start(tmp_path: Path) -> None:
    http = connect(kubeconfig(tmp_path / "k"))
    with pytest.raises(ConfigError, match="nothing answers") as caught:
        http.check()
    assert caught.value.hint


def test_proxies_of_the_environment_are_ignored(
    sandbox_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    http, _ = sandbox_side.adapter()
    assert http.check().startswith("v1.")


def test_in_cluster_tokens_are_read_again(sandbox_api: KubeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("admin-token\n", encoding="utf-8")
    (tmp_path / "namespace").write_text("mine\n", encoding="utf-8")
    assert namespace_of_pod(tmp_path) == "mine"

    class Later(SystemClock):
        offset = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.offset

    clock = Later()
    from kubernetes.client.configuration import Configuration

    configuration: Any = Configuration(host=sandbox_api.url, proxy="", no_proxy="")
    configuration.api_key["BearerToken"] = "bearer admin-token\n"

    def refresh(current: Any) -> None:
        current.api_key["BearerToken"] = "bearer " + (tmp_path / "token").read_text("utf-8")

    configuration.refresh_api_key_hook = refresh
    http = KubeHttp(Access(configuration, "in-cluster", clock), clock, timeout_s=5)
    http.get("/api/v1/nodes")
    (tmp_path / "token").write_text("nobody-token\n", encoding="utf-8")
    clock.offset = 11
    with pytest.raises(ClusterForbidden, match="nobody"):
        http.get("/api/v1/nodes")
    http.close()


def test_in_cluster_comes_first_unless_a_context_is_asked_for(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    (tmp_path / "token").write_text("t", encoding="utf-8")
    with pytest.raises(ConfigError, match="in-cluster configuration"):
        load(None, "", CLOCK, environ, tmp_path)  # the CA is missing
    path = kubeconfig(tmp_path / "k")
    found = load(None, "x", CLOCK, {**environ, "KUBECONFIG": str(path)}, tmp_path)
    assert found.origin == str(path)


def test_a_credential_plugin_gives_the_token(sandbox_api: KubeApi, tmp_path: Path) -> None:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "admin-token"},
    }
    (tmp_path / "answer").write_text(json.dumps(answer), encoding="utf-8")
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [str(tmp_path / "answer")],
    }
    path = kubeconfig(tmp_path / "k", sandbox_api.url, exec=plugin)
    http = connect(path)
    assert http.get("/api/v1/nodes")["kind"] == "NodeList"
    http.close()
    plugin["args"] = [str(tmp_path / "missing")]
    error = failing(kubeconfig(path, sandbox_api.url, exec=plugin))
    assert "credential plug-in 'cat'" in str(error)


def test_a_wrong_token_says_so(sandbox_api: KubeApi, tmp_path: Path) -> None:
    http = connect(kubeconfig(tmp_path / "k", sandbox_api.url, token="wrong"))
    with pytest.raises(ClusterForbidden, match="does not accept our credentials"):
        http.get("/api/v1/nodes")
    http.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [(429, ClusterUnavailable), (503, ClusterUnavailable), (422, ClusterRejected)],
)
def test_each_answer_has_its_error(
    sandbox_api: KubeApi, sandbox_side: Side, code: int, error: type[HealthError]
) -> None:
    sandbox_api.faults.answer(code, path="/api/v1/nodes$", message="because\x1b[2J")
    http, _ = sandbox_side.adapter()
    with pytest.raises(error, match="because") as caught:
        http.get("/api/v1/nodes")
    assert str(caught.value).isprintable()


def test_a_dead_kept_alive_connection_is_replaced_once(
    sandbox_api: KubeApi, sandbox_side: Side
) -> None:
    http, _ = sandbox_side.adapter()
    http.get("/api/v1/nodes")
    sandbox_api.faults.drop(path="/api/v1/nodes$", times=1)
    http.get("/api/v1/nodes")
    sandbox_api.faults.drop(path="/api/v1/nodes$", times=2)
    with pytest.raises(ClusterUnavailable, match="connection broke"):
        http.get("/api/v1/nodes")


@pytest.fixture
def odd_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Answers each connection with the given bytes, then one more each 50 ms, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    start: bytes = request.param

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(start)
                while start and not stop.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        break
                if not start:
                    stop.wait(5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    "odd_server",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n{"],
    indirect=True,
    ids=["silent", "trickling", "endless"],
)
def test_a_server_that_never_finishes_is_given_up(odd_server: str, tmp_path: Path) -> None:
    http = connect(kubeconfig(tmp_path / "k", odd_server), timeout_s=0.3)
    started = time.monotonic()
    with pytest.raises(ClusterUnavailable, match="time-out"):
        http.get("/api/v1/nodes")
    assert time.monotonic() - started < 2
    http.close()


@pytest.mark.parametrize(
    "odd_server",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b"SSH-2.0-OpenSSH\r\n",
    ],
    indirect=True,
    ids=["html", "list", "ssh"],
)
def test_a_server_that_is_no_api_server_is_unavailable(odd_server: str, tmp_path: Path) -> None:
    http = connect(kubeconfig(tmp_path / "k", odd_server))
    with pytest.raises(ClusterUnavailable):
        http.get("/api/v1/nodes")
    http.close()


def test_an_unknown_certificate_is_refused_unless_told_otherwise(
    real_side: Side, tmp_path: Path
) -> None:
    content = yaml.safe_load(real_side.kubeconfig(""))
    cluster = content["clusters"][0]["cluster"]
    del cluster["certificate-authority"]
    path = tmp_path / "insecure"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    http = connect(path)
    with pytest.raises(ClusterUnavailable, match="TLS failed") as caught:
        http.get("/api/v1/nodes")
    assert "certificate-authority" in caught.value.hint
    with pytest.raises(ConfigError, match="TLS failed"):
        http.check()
    cluster["insecure-skip-tls-verify"] = True
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    http = connect(path)
    assert http.check().startswith("v1.")
    http.close()


@pytest.mark.parametrize("token", ["secretA\nsecretB", "secr\u0113t"])
def test_a_token_that_is_no_header_is_refused_and_not_printed(tmp_path: Path, token: str) -> None:
    wrong = failing(kubeconfig(tmp_path / "k", token=token))
    assert "token" in str(wrong)
    assert "secr" not in str(wrong)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:1"])
def test_a_proxy_that_is_not_supported_is_said(tmp_path: Path, proxy: str) -> None:
    path = kubeconfig(tmp_path / "k")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["clusters"][0]["cluster"]["proxy-url"] = proxy
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert "proxy-url" in str(failing(path))
