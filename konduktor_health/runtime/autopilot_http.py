"""What does the controller answer on Autopilot's paths? Plain text, to GET, piece by piece.

Nobody who asks is asked who they are, as with Autopilot. So nothing is begun here unless the
settings allow it: light checks and a PVC with one, with another one invasive tests, which are only
wanted here: they begin when all GPUs of a node are idle, a few at once. Only the leader answers: it
alone knows the agents, and may ask them.

Invariants: so many questions are answered at once, others are refused; an answer ends when its
reader hangs up; a bug is one line of the answer and one of the log.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from loguru import logger

from konduktor_health.adapters.autopilot import TestsVolumes, build_fan_out
from konduktor_health.adapters.autopilot.fan_out import FanOut
from konduktor_health.adapters.autopilot.query import QueryError, parsed
from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.probes import Agents
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError
from konduktor_health.ports import Leadership, NodeFeed
from konduktor_health.runtime.http import ThreadedServer
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.settings import Settings

_BANNERS: Mapping[str, str] = {
    "/pciebw": "Requesting pcie test with bw: that of each node\n",
    "/remapped": "Requesting Remapped Rows check on all GPUs\n",
    "/dcgm": "DCGM test\n",
    "/gpumem": "GPU Memory DGEMM+DAXPY test\n",
    "/gpupower": "GPU Power Measurement test\n",
    "/ping": "Ping test\n",
    "/pvc": "PVC create-delete test\n",
}
_INVASIVE = (
    "Invasive health checks are not launched through this port: they run in Jobs that reserve the"
    " GPUs first ({}). Their results are added to 'autopilot.ibm.com/gpuhealth' and"
    " 'autopilot.ibm.com/dcgm.level.3' node labels. ABORT\n"
)
_NO_JOBS, _DRY_RUN = "probes.jobs.enabled is off", "this is a dry run"
_NOT_FROM_HERE = "autopilot.start_invasive is off: when clearing asks for it, or by schedule"
_FIXED: Mapping[str, tuple[int, str]] = {
    "/iperfservers": (403, "Servers are started with their clients, by /iperf. ABORT\n"),
    "/iperfclients": (403, "Clients are started with their servers, by /iperf. ABORT\n"),
    "/iperfstopservers": (200, "No iperf3 servers are running.\n"),
}
PATHS = ("/status", "/iperf", "/invasive", *_BANNERS, *_FIXED, "/readinessprobe", "/metrics")
_READY = '{"Name":"readinessProbe","Body":"ready"}\n'
_MOST_PARAMETERS = 32
CONNECTIONS = 128  # at once: nobody who asks is known
_STANDBY = "Another replica leads: ask it, or again. ABORT\n"
_BUSY = "Too many questions are being answered: ask again. ABORT\n"
_BUG = "A fault of the controller; its log says more. ABORT\n"
_PLAIN = "text/plain; charset=utf-8"


class Answer:
    """What is sent. ``pieces`` are made while they are sent."""

    def __init__(
        self, pieces: Iterable[str], status: int = 200, outcome: str = "ok", kind: str = _PLAIN
    ) -> None:
        self.pieces, self.status, self.outcome, self.kind = pieces, status, outcome, kind


class AutopilotServer:
    """Serves in threads. Raises ConfigError: the port cannot be had."""

    def __init__(
        self,
        fan_out: FanOut,
        metrics: Metrics,
        *,
        leads: Callable[[], bool],
        host: str,
        port: int,
        at_once: int,
        why_not_invasive: str = _NOT_FROM_HERE,
    ) -> None:
        """``why_not_invasive``: told where the fan-out launches no test."""
        self._why_not_invasive = why_not_invasive
        self._fan_out, self._metrics, self._leads = fan_out, metrics, leads
        self._free = threading.BoundedSemaphore(at_once)
        try:
            self._server = ThreadedServer(host, port, _handler(self), most=CONNECTIONS)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                hint="choose another port with autopilot.port, or 0 for any free one",
            ) from error
        self._serving = False
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._serving = True
        threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="autopilot-http", daemon=True
        ).start()

    def stop(self) -> None:
        """Answer nobody else, and free the port."""
        if self._serving:
            self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def answering(self, target: str) -> Iterator[Answer]:
        """The answer to a request for ``target``, while it is sent."""
        parts = urlsplit(target)
        answer, held = self._answer(parts.path, parts.query)
        path = parts.path if parts.path in PATHS else "other"
        self._metrics.autopilot.labels(path, answer.outcome).inc()
        try:
            yield answer
        finally:
            if held:
                self._free.release()

    def _answer(self, path: str, text: str) -> tuple[Answer, bool]:
        """The answer, and whether it takes one of the places."""
        if path == "/readinessprobe":
            return Answer([_READY], 201, kind="application/json"), False
        if path == "/metrics":
            page = self._metrics.render().decode()
            return Answer([page], kind="text/plain; version=0.0.4; charset=utf-8"), False
        if path in _FIXED:
            status, said = _FIXED[path]
            return Answer([said], status, "ok" if status == 200 else "refused"), False
        if path == "/invasive" and not self._fan_out.launches:
            said = _INVASIVE.format(self._why_not_invasive)
            return Answer([said], 403, "refused"), False
        if path not in PATHS:
            return Answer(["404 page not found\n"], 404, "refused"), False
        if not self._leads():
            return Answer([_STANDBY], 503, "standby"), False
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
            check = path[1:] if path in _BANNERS else ""
            query = parsed(dict(pairs), check, named=path == "/invasive")
        except QueryError as error:
            return Answer([f"{error} ABORT\n"], 422, "refused"), False
        except ValueError:
            return Answer(["Too many parameters. ABORT\n"], 422, "refused"), False
        if not self._free.acquire(blocking=False):
            return Answer([_BUSY], 503, "busy"), False
        if path == "/iperf":
            return Answer(self._fan_out.ring(query)), True
        if path == "/invasive":
            return Answer(self._fan_out.invasive(query)), True
        pieces = self._fan_out.status(query)
        return Answer(_after(_BANNERS.get(path, ""), pieces)), True


def autopilot_server(
    settings: Settings,
    http: KubeHttp,
    feed: NodeFeed,
    agents: Agents | None,
    clock: Clock,
    metrics: Metrics,
    lease: Leadership | None,
    *,
    volumes: TestsVolumes | None = None,
    test: Callable[[str], str] | None = None,
) -> AutopilotServer:
    """Wired from settings. ``lease`` None: a dry run, which begins nothing. ``volumes``: who tests
    storage; ``test``: has a node tested by a Job. Raises ConfigError."""
    if agents is None:
        raise ConfigError(
            "autopilot.enabled: there are no agents to ask",
            hint="probes.enabled switches them on; docs/guides/switch-from-autopilot.md",
        )
    wanted, jobs = settings.autopilot, settings.probes.jobs
    why_not = _NOT_FROM_HERE if not wanted.start_invasive else _DRY_RUN
    return AutopilotServer(
        build_fan_out(settings, http, feed, agents, clock, volumes=volumes, test=test),
        metrics,
        leads=lease.is_leader if lease is not None else lambda: True,
        host=wanted.host,
        port=wanted.port,
        at_once=wanted.at_once,
        why_not_invasive=why_not if jobs.enabled else _NO_JOBS,
    )


def _after(banner: str, pieces: Iterable[str]) -> Iterator[str]:
    yield banner
    yield from pieces


def _handler(server: AutopilotServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """An answer of unknown length ends with its connection: it is sent as it is made."""

        protocol_version = "HTTP/1.1"
        timeout = 30
        server_version = "konduktor-health"
        sys_version = ""

        def do_GET(self) -> None:
            with server.answering(self.path) as answer:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                if answer.status == 503:
                    self.send_header("Retry-After", "5")
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    for piece in answer.pieces:
                        self.wfile.write(piece.encode("utf-8", "replace"))
                except OSError:
                    logger.debug("who asked as Autopilot's user has hung up")
                except Exception as error:
                    logger.opt(exception=error).error(f"bug: {self.path[:200]!r}: {error!r}")
                    with contextlib.suppress(OSError):
                        self.wfile.write(_BUG.encode())
                finally:
                    if isinstance(answer.pieces, Iterator):
                        _close(answer.pieces)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
            """Questions are counted, not logged."""

    return Handler


def _close(pieces: Iterator[str]) -> None:
    """End what makes the pieces: nobody reads them any more."""
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
