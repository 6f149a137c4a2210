"""Which values may stand in a policy file? Types with their checks, for ``policy.document``.

A check says what is wrong and a hint in one error (``problem``), so that the reader of the file
can tell both with the place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from konduktor_health.policy.durations import seconds
from konduktor_health.selector import SelectorError, parse_selector
from konduktor_health.timestamps import parse_rfc3339

#: Type of our own errors in a ValidationError; its context has ``what`` and ``hint``.
PROBLEM = "policy"
_TEXT_LIMIT = 1000
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?", re.ASCII)
_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?",
    re.ASCII,
)


def problem(what: str, hint: str = "") -> PydanticCustomError:
    """An error for a value, with a hint."""
    return PydanticCustomError(PROBLEM, "{what}", {"what": what, "hint": hint})


def _text(value: str) -> str:
    """Texts are told in messages and logs: one line that can be printed."""
    if not value.isprintable() and any(not c.isprintable() and c not in "\n\t" for c in value):
        raise problem("has characters that cannot be printed", "write it with letters and signs")
    if len(value) > _TEXT_LIMIT:
        raise problem(f"has {len(value)} characters", f"at most {_TEXT_LIMIT}")
    return value


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise problem("not a name", "a-z, 0-9 and -, at most 48 characters, such as ecc-on-a100")
    return value


def _label_key(value: str) -> str:
    if _LABEL_KEY.fullmatch(value) is None:
        raise problem("not a key of a label", "such as example.com/pool")
    return value


def _glob(value: str) -> str:
    if not value.isprintable() or len(value) > 100:
        raise problem("not a short text on one line", "such as xid/79, xid/*, 0000:3b:*")
    return value


def _selection(value: str) -> str:
    if len(value) > _TEXT_LIMIT:
        raise problem(f"has {len(value)} characters", f"at most {_TEXT_LIMIT}")
    try:
        parse_selector(value)
    except SelectorError as error:
        hint = "terms are KEY=VALUE, KEY!=VALUE, KEY in (A, B), KEY notin (A), KEY or !KEY"
        raise problem(str(error), hint) from error
    return value


def _duration(value: Any) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise problem(str(error), "such as 90s, 10m, 24h, 30d, or seconds as a number") from error


def _forever(value: Any) -> float:
    """A duration; -1 stands for ``never``."""
    return -1.0 if value == "never" else _duration(value)


def _time(value: str) -> str:
    try:
        parse_rfc3339(value)
    except (ValueError, OverflowError) as error:
        hint = "RFC 3339 with a zone, such as 2027-01-31T22:00:00Z"
        raise problem("not a time", hint) from error
    return value


#: ``decay: never``
NEVER = -1.0

Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
Probe = Annotated[str, AfterValidator(_name)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
Glob = Annotated[str, AfterValidator(_glob)]
Selection = Annotated[str, AfterValidator(_selection)]
Time = Annotated[str, AfterValidator(_time)]
Duration = Annotated[float, BeforeValidator(_duration)]
Forever = Annotated[float, BeforeValidator(_forever)]
Percent = Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
