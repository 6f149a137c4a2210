"""What is in the body of a request?

Invariants: no more is read than ``MOST_BODY_BYTES``, and for no longer than ``SLOWEST_S``, before
anybody looks into it; what does not fit the schema to the letter is refused and says where.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from probes.agent.refusals import Refusal
from probes.report import MOST_BODY_BYTES

SLOWEST_S = 10.0
_MOST_TOLD = 3

M = TypeVar("M", bound=BaseModel)


async def _read(request: Request) -> bytes:
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > MOST_BODY_BYTES:
        raise _too_large()
    content = bytearray()
    try:
        async with asyncio.timeout(SLOWEST_S):
            async for piece in request.stream():
                content += piece
                if len(content) > MOST_BODY_BYTES:
                    raise _too_large()
    except TimeoutError as error:
        raise Refusal("too_slow", f"the body took more than {SLOWEST_S:g} s") from error
    return bytes(content)


#: The raw body: signatures are of the bytes, not of what they mean.
Body = Annotated[bytes, Depends(_read)]


def parsed(model: type[M], body: bytes) -> M:
    """The body as a model. Raises Refusal: invalid, with up to three places."""
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise Refusal(
            "invalid", described(error), f"the body is a {model.__name__} of /openapi.json"
        ) from error


def described(error: ValidationError) -> str:
    """Where it does not fit, and why."""
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc']) or 'body'}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)[:_MOST_TOLD]
    )


def _too_large() -> Refusal:
    return Refusal("too_large", f"the body is larger than {MOST_BODY_BYTES} bytes")
