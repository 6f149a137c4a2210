"""What does the OpenAPI document say of the endpoints? What they answer, to the last status.

The document is the agent's own answer (``/openapi.json``) and docs/reference/agent-openapi.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from probes.agent.refusals import CODES, ErrorBody
from probes.report import (
    LONGEST_VALIDITY_S,
    SIGNATURE_HEADER,
    KmsgQuestions,
    NodeSettings,
    Report,
    RunRequest,
)

_REF = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (RunRequest, NodeSettings, KmsgQuestions)

API = (
    "The node agent of konduktor-health. Reading is free, behind a NetworkPolicy; what starts work "
    "or changes something is signed by the controller. Errors are "
    '`{"error": {"code", "message", "hint"}}`.'
)
SIGNATURE = (
    "`<key id>:<base64>`: the Ed25519 signature over `konduktor-health v1 POST <path>`, a line "
    "feed, and the body as sent. The key id is the first 16 hex digits of the SHA-256 of the public"
    " key. "
    f"A request is good for at most {LONGEST_VALIDITY_S:g} s, for one node, and once."
)
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds until it is worth asking again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
_AUTHENTICATE = {
    "WWW-Authenticate": {
        "description": f"The scheme of `{SIGNATURE_HEADER}`.",
        "schema": {"type": "string"},
    }
}
_ETAG = {"ETag": {"description": "Of the content.", "schema": {"type": "string"}}}
_TEXT: Mapping[str, Any] = {"text/plain": {"schema": {"type": "string"}}}


def _refusals(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The answers that refuse, by status, with the codes that they may carry."""
    by_status: dict[int | str, list[str]] = {}
    for code in (*codes, "rate_limited"):
        by_status.setdefault(CODES[code][0], []).append(code)
    headers = {401: _AUTHENTICATE, 429: _RETRY_AFTER}
    return {
        status: {
            "model": ErrorBody,
            "description": "; ".join(f"`{code}`: {CODES[code][1]}" for code in listed),
            **({"headers": headers[status]} if status in headers else {}),
        }
        for status, listed in by_status.items()
    }


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_READ_BODY = ("too_slow", "too_large", "invalid")
_SIGNED = (
    *_READ_BODY, "no_keys", "unsigned", "bad_signature", "foreign_node", "expired", "replayed",
    "uncertain", "state_unwritable",
)  # fmt: skip

REPORT: dict[str, Any] = {
    "operation_id": "report",
    "response_model": None,
    "responses": {
        200: {"model": Report, "headers": _ETAG, "description": "The report."},
        304: {"headers": _ETAG, "description": "It is as the client has it."},
        **_refusals(),
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "ETag of the report that the client has.",
            }
        ]
    },
}
CHECKS: dict[str, Any] = {"operation_id": "checks", "responses": _refusals()}
HISTORY: dict[str, Any] = {
    "operation_id": "history",
    "responses": _refusals("invalid", "not_found"),
}
RUN: dict[str, Any] = {
    "operation_id": "run",
    "status_code": 202,
    "responses": _refusals(
        *_SIGNED, "unknown_check", "not_for_requests", "known_run", "gpus_busy", "queue_full"
    ),
    "openapi_extra": _body_of(RunRequest),
}
SETTINGS: dict[str, Any] = {
    "operation_id": "settings",
    "status_code": 204,
    "response_model": None,
    "responses": _refusals(*_SIGNED, "older_settings"),
    "openapi_extra": _body_of(NodeSettings),
}
KMSG: dict[str, Any] = {
    "operation_id": "kmsg",
    "responses": _refusals(*_READ_BODY),
    "openapi_extra": _body_of(KmsgQuestions),
}
METRICS: dict[str, Any] = {
    "operation_id": "metrics",
    "response_model": None,
    "responses": {200: {"content": _TEXT, "description": "Metrics."}, **_refusals()},
}
HEALTH: dict[str, Any] = {
    "response_model": None,
    "responses": {
        200: {"content": _TEXT, "description": "It works."},
        503: {"content": _TEXT, "description": "It does not; a line for each trouble."},
    },
}


def describe(app: FastAPI) -> None:
    """Let the document have the bodies of requests too, which are parsed after their signature."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        known = app.openapi_schema is not None
        document = generated()
        if not known:
            _, defined = models_json_schema(
                [(model, "validation") for model in _BODIES], ref_template=_REF
            )
            document["components"]["schemas"].update(defined["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]
