"""How does the API say no? ``Status`` bodies and the error that carries one.

Texts and reasons are those of a kube-apiserver 1.36, so that a client which parses them (and a
person who greps for them) sees what a cluster would answer.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """An answer other than success: HTTP code, reason, message and details of a Status."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: Json | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = REASONS.get(code, "") if reason is None else reason
        self.details = details
        self.retry_after = retry_after

    def body(self) -> Json:
        """The Status object."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def success(name: str, group: str, plural: str, uid: str) -> Json:
    """The Status of a deletion that has happened."""
    details = {"name": name, "kind": plural, "uid": uid}
    if group:
        details["group"] = group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def named(name: str, group: str, kind: str) -> Json:
    """The details of an error about one object (``kind`` is the plural in most of them)."""
    details = {"group": group} if group else {}
    if name:
        details["name"] = name
    details["kind"] = kind
    return details


def qualified(group: str, plural: str) -> str:
    """``nodes``, ``leases.coordination.k8s.io``: how messages name a resource."""
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> ApiError:
    """400 without details."""
    return ApiError(400, message)


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(
        404, f'{qualified(group, plural)} "{name}" not found', details=named(name, group, plural)
    )


def no_such_path() -> ApiError:
    """404 for a resource that the server does not know."""
    return ApiError(404, "the server could not find the requested resource", details={})


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(
        405, "the server does not allow this method on the requested resource", details={}
    )


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """409 for a create."""
    return ApiError(
        409,
        f'{qualified(group, plural)} "{name}" already exists',
        reason="AlreadyExists",
        details=named(name, group, plural),
    )


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    """409 for a write that was based on an older version."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    return ApiError(
        409,
        f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}',
        details=named(name, group, plural),
    )


def invalid(group: str, kind: str, name: str, field: str, why: str, cause: str) -> ApiError:
    """422 about one field. ``cause`` is the machine-readable reason (FieldValueInvalid, ...)."""
    details = named(name, group, kind)
    details["causes"] = [{"reason": cause, "message": why, "field": field}]
    label = f"{kind}.{group}" if group else kind
    return ApiError(422, f'{label} "{name}" is invalid: {field}: {why}', details=details)


def rejected_patch() -> ApiError:
    """422 for a JSON patch that cannot be applied, failed ``test`` included."""
    return ApiError(
        422,
        "the server rejected our request due to an error in our request",
        reason="Invalid",
        details={},
    )


def expired(requested: int, oldest: int) -> ApiError:
    """410 for a revision that the event buffer no longer reaches."""
    return ApiError(410, f"too old resource version: {requested} ({oldest})", reason="Expired")
