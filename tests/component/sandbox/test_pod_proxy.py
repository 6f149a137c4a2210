"""The sandbox's pod proxy passes on what a real API server passes on, and keeps what that keeps."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from konduktor_health.sandbox.kubeapi import KubeApi
from tests.support.processes import free_port


class Pod(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        self._answer(200 if self.headers.get("If-None-Match") != '"e"' else 304)

    def do_POST(self) -> None:
        self._answer(409)

    def _answer(self, code: int) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        seen = {
            "method": self.command, "path": self.path, "body": self.rfile.read(length).decode(),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }  # fmt: skip
        body = b"" if code == 304 else json.dumps(seen).encode()
        self.send_response(code)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silence."""


@pytest.fixture
def api() -> Iterator[KubeApi]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pod)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    made = KubeApi(tokens={"secret-token": "person"})
    made.start()
    made.port = server.server_address[1]  # type: ignore[attr-defined]
    for name, address in (("p", "127.0.0.1"), ("unborn", "")):
        status = {"podIP": address} if address else {}
        made.store.create(
            "pods", {"metadata": {"name": name, "namespace": "default"}, "status": status}
        )
    yield made
    made.stop()
    server.shutdown()
    server.server_close()
    assert made.failures == []


def call(
    api: KubeApi, method: str, pod: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=10)
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    where = f"/api/v1/namespaces/default/pods/{pod}/proxy{path}"
    connection.request(
        method, where, body or None, {"Authorization": "Bearer secret-token", **told}
    )
    response = connection.getresponse()
    content = response.read()
    connection.close()
    answered = {name.lower(): value for name, value in response.getheaders()}
    return response.status, answered, json.loads(content) if content else None


def test_method_path_body_and_headers_come_through(api: KubeApi) -> None:
    pod = f"p:{api.port}"  # type: ignore[attr-defined]
    code, headers, seen = call(
        api, "POST", pod, "/v1/run?x=1&y=a%20b", b'{"a": 1}', X_Konduktor_Signature="k:abc",
        Content_Type="application/json",
    )  # fmt: skip
    assert (code, headers["etag"]) == (409, '"e"'), "whatever the pod says"
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/v1/run?x=1&y=a+b", '{"a": 1}')
    assert seen["headers"]["x-konduktor-signature"] == "k:abc"
    assert seen["headers"]["content-type"] == "application/json"
    assert call(api, "GET", pod, "/v1/report", If_None_Match='"e"')[0] == 304


def test_credentials_stay_with_the_api_server(api: KubeApi) -> None:
    _, _, seen = call(api, "GET", f"p:{api.port}", "/")  # type: ignore[attr-defined]
    assert "authorization" not in seen["headers"]
    assert seen["path"] == "/"


def test_a_pod_that_is_not_there_or_does_not_answer(api: KubeApi) -> None:
    assert call(api, "GET", "none:80", "/")[0] == 404
    code, _, said = call(api, "GET", f"p:{free_port()}", "/")
    assert (code, said["reason"]) == (503, "ServiceUnavailable")
    assert "error trying to reach service" in said["message"]
    assert call(api, "GET", "unborn:80", "/")[0] == 500
    assert call(api, "GET", "p:http", "/")[0] == 400


@pytest.mark.parametrize(("method", "verb"), [("GET", "get"), ("POST", "create")])
def test_it_is_a_right_of_its_own(api: KubeApi, method: str, verb: str) -> None:
    api.deny["person"] = {(verb, "pods/proxy")}
    code, _, said = call(api, method, f"p:{api.port}", "/")  # type: ignore[attr-defined]
    assert code == 403
    assert f'cannot {verb} resource "pods/proxy"' in said["message"]
