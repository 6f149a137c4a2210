"""What does a client read when something went wrong, whatever it was?

Invariant: every answer that is no success is an ``ErrorBody``, and none tells the agent's insides.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from probes.agent.log import Log
from probes.agent.metrics import Metrics
from probes.agent.refusals import Refusal

_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}


def handle(app: FastAPI, metrics: Metrics, log: Log) -> None:
    """Let the application answer so."""

    def answer(
        request: Request, refusal: Refusal, more: Mapping[str, str] | None = None
    ) -> Response:
        metrics.refused(request.url.path, refusal.code)
        if refusal.status in (401, 403):
            log.warning(
                "a signed request was refused",
                path=request.url.path,
                client=request.client.host if request.client else "",
                code=refusal.code,
                why=refusal.message,
            )
        return Response(
            refusal.body(),
            status_code=refusal.status,
            media_type="application/json",
            headers={**refusal.headers, **(more or {})},
        )

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        told = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
            for each in list(error.errors())[:3]
        )
        return answer(request, Refusal("invalid", told, "parameters are in /openapi.json"))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, "invalid")
        hint = "paths and methods are in /openapi.json"
        return answer(request, Refusal(code, str(error.detail), hint), error.headers)

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.failed(
            "a request failed", path=request.url.path, why=f"{type(error).__name__}: {error}"
        )
        return answer(request, Refusal("internal", "a fault of the agent", "its log says more"))
