"""What does the agent answer on Autopilot's paths? Plain text, to GET, as Autopilot does.

The agent answers for its own node alone: it knows no other one, no label and no job. The controller
does (docs/design/autopilot.md), and asks here. What would load the network or needs the GPUs alone
is refused: whoever can reach this port has shown nothing of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import Depends, FastAPI, Request, Response

from parsers.printable import printable
from probes.agent.limits import Rate, RateLimits
from probes.agent.log import Log
from probes.agent.refusals import Refusal
from probes.autopilot.asking import Asking
from probes.autopilot.names import asked, ours
from probes.autopilot.texts import Told, banner, text_of
from probes.autopilot.verdicts import words

_PLAIN = "text/plain; charset=utf-8"
_MOST_CHECKS = 16
_INVASIVE = (
    "Invasive health checks are not launched here: they run in Jobs of the controller, which"
    " reserve the GPUs first. Their results are added to 'autopilot.ibm.com/gpuhealth' and"
    " 'autopilot.ibm.com/dcgm.level.3' node labels. ABORT\n"
)
_NETWORK = "[NETWORK] - [IPERF] - [ERROR] : {}: ask the controller's port. ABORT\n"
_REFUSED: Mapping[str, tuple[int, str]] = {
    "/invasive": (403, _INVASIVE),
    "/iperf": (403, _NETWORK.format("a ring needs to know the other nodes")),
    "/iperfservers": (403, _NETWORK.format("an agent starts no servers for whoever asks")),
    "/iperfclients": (403, _NETWORK.format("an agent sends to no address for whoever asks")),
    "/iperfstopservers": (200, "No iperf3 servers are running.\n"),
}
_CHECKS = ("pciebw", "remapped", "dcgm", "gpumem", "gpupower", "ping", "pvc")
#: For each address: the controller asks once for each that asks it.
RATES: Mapping[str, Rate] = {
    **dict.fromkeys(("/status", *(f"/{check}" for check in _CHECKS)), Rate(20, 1)),
    "/metrics": Rate(10, 2),
}
_CONTROLLERS = {
    "iperf": "pairs of nodes are tested by the controller: ask its port",
    "pvc": "PVCs are created by the controller: ask its port",
}


def create(
    node: str,
    asking: Asking,
    limits: RateLimits,
    log: Log,
    *,
    metrics: Callable[[], tuple[bytes, str]],
) -> FastAPI:
    """The application. ``metrics``: body and content type of /metrics."""

    def admitted(request: Request) -> None:
        limits.admit(request.url.path, request.client.host if request.client else "")

    app = FastAPI(openapi_url=None, dependencies=[Depends(admitted)])
    paths = _Paths(node, asking)

    @app.get("/status")
    async def status(request: Request) -> Response:
        return await paths.status(request.query_params)

    for check in _CHECKS:
        app.add_api_route(f"/{check}", paths.of(check), methods=["GET"])
    for path, (code, text) in _REFUSED.items():
        app.add_api_route(path, _fixed(code, text), methods=["GET"])

    @app.get("/readinessprobe")
    async def ready() -> Response:
        body = b'{"Name":"readinessProbe","Body":"ready"}\n'
        return Response(body, status_code=201, media_type="application/json")

    @app.get("/metrics")
    async def told() -> Response:
        body, content_type = metrics()
        return Response(body, media_type=content_type)

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        answer = _text(f"{words(refusal.message)}; {words(refusal.hint)}. ABORT\n", refusal.status)
        answer.headers.update(refusal.headers)
        return answer

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.failed("a request failed", path=request.url.path, why=f"{type(error).__name__}")
        return _text("A fault of the agent; its log says more. ABORT\n", 500)

    return app


class _Paths:
    """The handlers."""

    def __init__(self, node: str, asking: Asking) -> None:
        self._node, self._asking = node, asking

    async def status(self, query: Mapping[str, str]) -> Response:
        """``host`` (this node), ``check``, ``r``, and ``run``, which is ours: a run that the
        controller has asked for."""
        host = query.get("host", "")
        if host != self._node:
            return _text(
                f"Asking to run on remote node(s) {words(host or 'all')} or with node label"
                f" {words(query.get('nodelabel', 'None'))}\n\n"
                f"This agent answers for host={self._node} alone: ask the controller's port for"
                " other nodes. ABORT\n",
                421,
            )
        checks = asked(query.get("check", "all"))
        if len(checks) > _MOST_CHECKS:
            return _text(f"At most {_MOST_CHECKS} checks at once. ABORT\n", 422)
        level = query.get("r", "1")
        told = await self._told(checks, level, printable(query.get("run", ""), 64))
        texts = [text_of(check, told[check], self._node) for check in checks]
        head = f"Checking system status of host {self._node} (localhost) \n\n"
        return _text(head + "".join(texts))

    def of(self, check: str) -> Callable[[Request], object]:
        """The handler of a check's own path."""

        async def handler(request: Request) -> Response:
            told = await self._told((check,), request.query_params.get("r", "1"))
            return _text(banner(check, told[check]) + text_of(check, told[check], self._node))

        return handler

    async def _told(
        self, checks: tuple[str, ...], level: str, run_id: str = ""
    ) -> Mapping[str, Told]:
        """By Autopilot's names."""
        names = {check: ours(check, level) for check in checks}
        known = await self._asking.told({name for name in names.values() if name}, run_id)
        return {check: _of(check, level, name, known) for check, name in names.items()}


def _of(check: str, level: str, name: str | None, known: Mapping[str, Told]) -> Told:
    if name is not None:
        return known[name]
    if check == "dcgm":
        return Told(why_none=f"r={printable(level, 20)}: DCGM's levels are 1 to 4")
    return Told(why_none=_CONTROLLERS.get(check, ""))


def _fixed(code: int, text: str) -> Callable[[], object]:
    async def handler() -> Response:
        return _text(text, code)

    return handler


def _text(text: str, code: int = 200) -> Response:
    return Response(text, status_code=code, media_type=_PLAIN)
