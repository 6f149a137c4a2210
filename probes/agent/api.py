"""What does the agent answer over HTTP?

Handlers are plain functions in a few threads; bodies are read and bounded before anybody looks into
them (``bodies``). Who may ask for what: reading is free (a NetworkPolicy stands before it), what
starts work or changes something is signed (``signatures``).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.security import APIKeyHeader

from probes.agent import documented, failures
from probes.agent.attest import Attestor
from probes.agent.board import Board
from probes.agent.bodies import Body, parsed
from probes.agent.history import History
from probes.agent.limits import RateLimits
from probes.agent.log import Log
from probes.agent.metrics import CONTENT_TYPE, Metrics
from probes.agent.orders import Orders
from probes.agent.refusals import Refusal
from probes.agent.signatures import Signatures
from probes.agent.troubles import Health, Trouble
from probes.report import (
    SIGNATURE_HEADER,
    CheckInfo,
    KmsgAnswers,
    KmsgQuestions,
    NodeSettings,
    Result,
    RunAccepted,
    RunRequest,
)

_JSON = "application/json"
#: Most results of one answer of /v1/history.
MOST_HISTORY = 500
_THREADS = 4

_Signature = Annotated[
    str | None,
    Security(
        APIKeyHeader(
            name=SIGNATURE_HEADER,
            scheme_name="Signature",
            description=documented.SIGNATURE,
            auto_error=False,
        )
    ),
]
_Check = Annotated[
    str,
    Query(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Name of a check.",
    ),
]
_Limit = Annotated[int, Query(ge=1, le=MOST_HISTORY, description="Most results, newest first.")]


@dataclass(frozen=True, slots=True)
class Parts:
    """What answers are made of."""

    boot_id: str
    version: str
    board: Board
    history: History
    orders: Orders
    signatures: Signatures
    limits: RateLimits
    attestor: Attestor
    metrics: Metrics
    health: Health
    checks: Callable[[], tuple[CheckInfo, ...]]
    log: Log


def create(parts: Parts) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="konduktor-probe agent",
        version=parts.version,
        description=documented.API,
        docs_url=None,  # their pages come from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(_admitted(parts.limits))],
        lifespan=_few_threads,
        # What has a default is left out where it is that: no member of an answer is required.
        separate_input_output_schemas=False,
    )
    failures.handle(app, parts.metrics, parts.log)
    documented.describe(app)
    _reading(app, parts)
    _asking(app, parts)
    _watching(app, parts)
    return app


@contextlib.asynccontextmanager
async def _few_threads(_: FastAPI) -> AsyncIterator[None]:
    """Handlers run in so many threads: an agent has a fraction of a core and 80 MiB."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _admitted(limits: RateLimits) -> Callable[[Request], None]:
    def admitted(request: Request) -> None:
        limits.admit(request.url.path, request.client.host if request.client else "")

    return admitted


def _reading(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/report", **documented.REPORT)
    def report(request: Request) -> Response:
        """The newest runs of each cadence in this boot, oldest first.

        The ETag changes when a run has ended or other settings are in force, and with nothing
        else; with it in `If-None-Match` the answer is 304 until then. Of runs that are not the
        newest of their cadence, passing results come without message, measurements and detail.
        """
        told = parts.board.told
        headers = {"ETag": told.etag, "Cache-Control": "no-cache"}
        if _matches(request.headers.get("if-none-match", ""), told.etag):
            return Response(status_code=304, headers=headers)
        return Response(told.body, media_type=_JSON, headers=headers)

    @app.get("/v1/checks", **documented.CHECKS)
    def checks() -> tuple[CheckInfo, ...]:
        """The checks of this node, when they run by themselves, and what they found last."""
        return parts.checks()

    @app.get("/v1/history", **documented.HISTORY)
    def history(check: _Check, limit: _Limit = 50) -> tuple[Result, ...]:
        """What a check has found, newest first, also in earlier boots."""
        if not parts.orders.knows(check):
            raise Refusal("not_found", f"no check {check!r}", "GET /v1/checks lists them")
        found: list[Result] = []
        for run in parts.history.of_check(check):
            found += [result for result in run.results if result.check == check]
            if len(found) >= limit:
                break
        return tuple(found[:limit])


def _asking(app: FastAPI, parts: Parts) -> None:
    @app.post("/v1/run", **documented.RUN)
    def run(body: Body, signature: _Signature = None) -> RunAccepted:
        """Run checks once. Signed.

        The run is told in the report under the id of the request, with the cadence `requested`.
        Requests come before what is scheduled; those that wait are lost when the agent restarts.
        """
        parts.signatures.check("/v1/run", signature, body)
        request = parsed(RunRequest, body)
        parts.signatures.addressed(request)
        checked = parts.orders.checked(request)
        parts.signatures.take(request)
        return parts.orders.put(checked)

    @app.post("/v1/settings", **documented.SETTINGS)
    def settings(body: Body, signature: _Signature = None) -> Response:
        """What only the controller knows of the node. Signed; kept over restarts."""
        parts.signatures.check("/v1/settings", signature, body)
        told = parsed(NodeSettings, body)
        parts.signatures.addressed(told)
        parts.signatures.take(told)
        parts.orders.take(told)
        return Response(status_code=204)

    @app.post("/v1/kmsg", **documented.KMSG)
    def kmsg(body: Body) -> KmsgAnswers:
        """Are these lines in the node's kernel log?

        A question without a boot id is one about this boot: ask only about lines that you take to
        be of it.
        """
        questions = parsed(KmsgQuestions, body).questions
        answers = parts.attestor.answer(questions)
        parts.metrics.answered(answers)
        return KmsgAnswers(boot_id=parts.boot_id, answers=answers)


def _watching(app: FastAPI, parts: Parts) -> None:
    @app.get("/metrics", **documented.METRICS)
    def metrics() -> Response:
        """Prometheus' text format."""
        return Response(parts.metrics.render(), media_type=CONTENT_TYPE)

    @app.get("/healthz", **documented.HEALTH)
    def healthz() -> Response:
        """200 while the agent works; 503: only a restart helps."""
        return _said(parts.health.fatal())

    @app.get("/readyz", **documented.HEALTH)
    def readyz() -> Response:
        """200 when all of it works; 503 with a line for each trouble."""
        return _said(parts.health.troubles())


def _said(troubles: tuple[Trouble, ...]) -> Response:
    if not troubles:
        return Response("ok\n", media_type="text/plain")
    lines = "".join(f"{each.message}\nhint: {each.hint}\n" for each in troubles)
    return Response(lines, status_code=503, media_type="text/plain")


def _matches(header: str, etag: str) -> bool:
    """If-None-Match (RFC 9110, 13.1.2): a list of tags, weak ones too, or any."""
    tags = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return header.strip() == "*" or etag in tags
