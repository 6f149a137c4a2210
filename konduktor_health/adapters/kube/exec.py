"""How does ``inject --node`` run a command on a node? Exec into that node's kmsg pod.

Kubernetes' exec is a WebSocket with one byte of channel before each frame; here only what a
short command with a line of stdin needs. On websocket-client directly (the official client's
own dependency): its WSClient has no connect time-out, and takes the environment's proxies.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.status import Call, error_of
from konduktor_health.clock import Clock
from konduktor_health.errors import ClusterUnavailable, HealthError, NotFound, excerpt

KMSG_SELECTOR = "app.kubernetes.io/component=probe"
_PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_MAX_OUTPUT = 1024 * 1024


def find_kmsg_pod(http: KubeHttp, node: str, namespace: str) -> str:
    """Name of the running kmsg pod on a node. NotFound when there is none."""
    answer = http.get(
        f"/api/v1/namespaces/{quote(namespace, safe='')}/pods",
        {"labelSelector": KMSG_SELECTOR, "fieldSelector": f"spec.nodeName={node}"},
    )
    pods = answer.get("items")
    for pod in pods if isinstance(pods, list) else []:
        try:
            running = pod["status"]["phase"] == "Running" and not pod["metadata"].get(
                "deletionTimestamp"
            )
            name = pod["metadata"]["name"]
        except (KeyError, TypeError, AttributeError):
            continue
        if running and isinstance(name, str):
            return name
    raise NotFound(
        f"no running kmsg pod on node {node} in namespace {namespace} ({KMSG_SELECTOR})",
        hint="is the DaemonSet konduktor-health-probe installed, and does it run on this node?",
    )


def exec_in_pod(
    http: KubeHttp,
    clock: Clock,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    stdin_text: str = "",
    timeout_s: float = 15.0,
) -> tuple[str, str, int]:
    """Run a command in a container: (stdout, stderr, exit code), outputs up to 1 MiB.

    ``cat``-like commands that read stdin to its end need a server of Kubernetes 1.30 or newer
    (only protocol v5 can close stdin). Raises ClusterUnavailable, ClusterForbidden, NotFound.
    """
    import websocket

    # the WebSocket is opened by GET: servers check "get", newer ones "create" as well
    call = Call("get", "pods/exec", pod, namespace)
    access = http.access
    query: list[tuple[str, str]] = [("command", part) for part in command]
    query += [("stdout", "true"), ("stderr", "true"), ("container", container)]
    if stdin_text:
        query.append(("stdin", "true"))
    url = (
        http.server.replace("http", "ws", 1)
        + f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/exec?"
        + urlencode(query)
    )
    deadline = clock.monotonic() + timeout_s
    options: dict[str, Any] = {}
    if access.ssl_context is not None:
        options["context"] = access.ssl_context
    if access.tls_server_name:
        options["server_hostname"] = access.tls_server_name
    socket: Any = websocket.WebSocket(sslopt=options)
    try:
        socket.settimeout(timeout_s)
        socket.connect(
            url,
            header=[f"{name}: {value}" for name, value in access.headers().items()],
            subprotocols=_PROTOCOLS,
            http_no_proxy=["*"],
        )
        if stdin_text:
            socket.send_binary(bytes([_STDIN]) + stdin_text.encode())
            if socket.subprotocol == _PROTOCOLS[0]:
                socket.send_binary(bytes([_CLOSE, _STDIN]))
        return _collect(socket, clock, deadline, call)
    except websocket.WebSocketBadStatusException as error:
        body = error.resp_body if isinstance(error.resp_body, bytes) else b""
        refused = error_of(error.status_code, body, call, http.server)
        if error.status_code == 403:  # newer servers check "create" too, and do not name it
            refused.hint = (
                "RBAC: grant verbs 'get' and 'create' on resource 'pods/exec'; test with "
                f"kubectl auth can-i create pods/exec -n {namespace}"
            )
        raise refused from error
    except (websocket.WebSocketException, OSError, ssl.SSLError) as error:
        raise ClusterUnavailable(f"{call}: {excerpt(str(error))}") from error
    finally:
        socket.close()


def _collect(socket: Any, clock: Clock, deadline: float, call: Call) -> tuple[str, str, int]:
    import websocket

    channels = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    while True:
        left = deadline - clock.monotonic()
        if left <= 0:
            raise ClusterUnavailable(f"{call}: the command did not end within the time-out")
        socket.settimeout(left)
        opcode, data = socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            break
        if data and data[0] in channels:
            channel = channels[data[0]]
            channel += data[1 : _MAX_OUTPUT - len(channel) + 1]
            if data[0] == _STATUS:
                break
    return (
        channels[_STDOUT].decode("utf-8", "replace"),
        channels[_STDERR].decode("utf-8", "replace"),
        exit_code(bytes(channels[_STATUS]), call),
    )


def exit_code(status: bytes, call: Call) -> int:
    """Exit code in the Status object that ends an exec.

    Raises ClusterUnavailable when the command could not be run (or its end was not reported).
    """
    try:
        body = json.loads(status)
        if body["status"] == "Success":
            return 0
        for cause in body["details"]["causes"]:
            if cause["reason"] == "ExitCode":
                return int(cause["message"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _failed(status, call) from error
    raise _failed(status, call)


def _failed(status: bytes, call: Call) -> HealthError:
    return ClusterUnavailable(
        f"{call}: the command could not be run: {excerpt(status) or 'no status'}"
    )
