"""What does a client read when its request is refused?

``{"error": {"code": ..., "message": ..., "hint": ...}}``. A code is for programs and is one of
``CODES``; message and hint are for people, bounded and printable.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from parsers.printable import printable

_TEXT_LIMIT = 512

#: Every code, its status, and when it is given.
CODES: Mapping[str, tuple[int, str]] = {
    "unsigned": (401, "the request has no signature"),
    "bad_signature": (403, "no key that is held made this signature over this body"),
    "foreign_node": (403, "signed for another node"),
    "expired": (403, "the request is not good any more, or not yet, or for too long"),
    "not_found": (404, "no such path, or no such check"),
    "method_not_allowed": (405, "this path answers another method"),
    "too_slow": (408, "the body did not arrive in time"),
    "replayed": (409, "this signed request was taken before"),
    "older_settings": (409, "newer settings are in force"),
    "known_run": (409, "a run of this id was asked for before"),
    "gpus_busy": (409, "the checks need idle GPUs, and something runs on one"),
    "too_large": (413, "the body is larger than is read"),
    "invalid": (422, "the body or a parameter is not what the endpoint takes"),
    "unknown_check": (422, "this node has no such check"),
    "not_for_requests": (422, "an option that only the agent's own configuration sets"),
    "rate_limited": (429, "asked too often; `Retry-After` says when to come again"),
    "internal": (500, "a fault of the agent; its log says more"),
    "no_keys": (503, "no public key is held, so nothing signed can be taken"),
    "uncertain": (
        503,
        "this signed request may have been taken before; `Retry-After` says when to sign anew",
    ),
    "queue_full": (503, "too many runs wait already"),
    "state_unwritable": (503, "the state directory cannot be written"),
}


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    hint: str = ""


class ErrorBody(BaseModel):
    """The body of every answer that refuses."""

    model_config = ConfigDict(frozen=True)

    error: ErrorDetail


class Refusal(Exception):
    """A request is refused."""

    def __init__(
        self, code: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """Of HTTP."""
        return CODES[self.code][0]

    def body(self) -> bytes:
        """JSON."""
        detail = ErrorDetail(
            code=self.code,
            message=printable(self.message, _TEXT_LIMIT),
            hint=printable(self.hint, _TEXT_LIMIT),
        )
        return ErrorBody(error=detail).model_dump_json().encode()
