"""Agents on loopback: reports that they serve, and what hostile ones do instead."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.model import NodeView
from probes.report import Measured, Report, Result, Run
from tests.support.builders import BOOT, NOW

Behave = Callable[[socket.socket, str], None]


def result(check: str = "pcie-bandwidth", outcome: str = "pass", **fields: Any) -> Result:
    """One finding of a light check, a minute ago."""
    values: dict[str, Any] = {"tier": "light", "device": "0000:3b:00", "ended_ns": NOW - 60 * 10**9}
    return Result(check=check, outcome=outcome, **(values | fields))


def run(run_id: str, *results: Result, **fields: Any) -> Run:
    """A run that ended with its last result."""
    ended_ns = max((each.ended_ns for each in results), default=NOW)
    values: dict[str, Any] = {"cadence": "light", "began_ns": ended_ns - 10**9}
    return Run(run_id=run_id, ended_ns=ended_ns, results=results, **(values | fields))


def report(node: str = "gpu-1", *runs: Run, **fields: Any) -> Report:
    """What an agent serves."""
    return Report(**({"node": node, "boot_id": BOOT, "backend": "nvml", "runs": runs} | fields))


def slow_link(value: float = 12.0) -> Measured:
    """A link that is slower than it should be."""
    limit = {"value": 20.0, "bound": "at_least", "source": "H100 SXM, PCIe 5 x16"}
    return Measured.model_validate(
        {"name": "h2d", "value": value, "unit": "GB/s", "threshold": limit}
    )


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class AgentServer:
    """One agent on a loopback address. What it does with a request is up to ``behave``."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.behave: Behave = lambda connection, _request: connection.sendall(answer(b"{}"))
        self.requests: list[str] = []
        self.connections = 0
        self._server = socket.create_server((address, port), backlog=64)
        self.address, self.port = self._server.getsockname()[:2]
        self._open: set[socket.socket] = set()
        self._ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def serve(self, said: Report, etag: str = '"1"') -> None:
        """Answer with this report, and 304 to whoever has it."""

        def behave(connection: socket.socket, request: str) -> None:
            if f"if-none-match: {etag}" in request:
                connection.sendall(f"HTTP/1.1 304 Not Modified\r\netag: {etag}\r\n\r\n".encode())
            else:
                connection.sendall(answer(said.model_dump_json().encode(), etag=etag))

        self.behave = behave

    def close(self) -> None:
        """Hang up."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._server.shutdown(socket.SHUT_RDWR)  # else the thread in accept() keeps it open
        self._server.close()
        for each in list(self._open):
            each.close()

    def __enter__(self) -> AgentServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            while request := _head(connection):
                self.requests.append(request)
                self.behave(connection, request)
                if "connection: close" in request:
                    return
        except OSError:
            return
        finally:
            self._open.discard(connection)
            connection.close()


def _head(connection: socket.socket) -> str:
    """One request with its body; empty when the other side is done."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return ""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.decode().split("\r\n")
            if line.startswith("content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return (head + b"\r\n\r\n" + body).decode()


class MemoryPods:
    """Agents' pods that come and go when told."""

    def __init__(self, agents: Mapping[str, AgentPod] | None = None) -> None:
        self.agents = dict(agents or {})
        self.known = True
        self._told: Callable[[Collection[str]], None] = lambda _names: None

    def start(self, stop: threading.Event) -> None:
        """Nothing runs by itself."""

    def names(self) -> frozenset[str] | None:
        return frozenset(self.agents) if self.known else None

    def of(self, node: str) -> AgentPod | None:
        return self.agents.get(node)

    def on_change(self, callback: Callable[[Collection[str]], None]) -> None:
        self._told = callback

    def put(self, node: str, agent: AgentPod | None) -> None:
        """Another agent, or none."""
        if agent is None:
            self.agents.pop(node, None)
        else:
            self.agents[node] = agent
        self._told({node})


class MemoryNodes:
    """Managed nodes that change when told (``ports.NodeFeed``)."""

    def __init__(self, *views: NodeView) -> None:
        self.views = {view.name: view for view in views}
        self._callbacks: list[Callable[[NodeView | None, NodeView | None], None]] = []

    def start(self, stop: threading.Event) -> None:
        """Nothing runs by itself."""

    def synced(self) -> bool:
        return True

    def last_error(self) -> Exception | None:
        return None

    def nodes(self) -> Mapping[str, NodeView]:
        return MappingProxyType(self.views)

    def resolve(self, name: str) -> str | None:
        return name if name in self.views else None

    def put(self, view: NodeView) -> None:
        """The Node is so now."""
        old = self.views.get(view.name)
        self.views = {**self.views, view.name: view}
        for each in self._callbacks:
            each(old, view)

    def on_change(self, callback: Callable[[NodeView | None, NodeView | None], None]) -> None:
        self._callbacks.append(callback)
