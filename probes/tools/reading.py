"""How is the output of a program read, so that garbage is an error and never a value?

Invariants:
- What is not understood raises CheckError that quotes a bounded, printable piece of it.
- A number is finite and not negative, or it is refused: NaN, infinity, a boolean, and a word that
  merely starts with a digit are no numbers.
- Reading takes time in proportion to the output, however hostile it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from parsers.printable import printable
from probes.check import ToolOutput
from probes.errors import CheckError

#: Longest quotation of an output in a message, in characters.
EXCERPT_LIMIT = 160
#: Objects that begin in a text and are looked at; logs of a tool may have braces of their own.
_MOST_BEGINNINGS = 64

_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def json_object(text: str, roots: tuple[str, ...], tool: str) -> Mapping[str, object]:
    """The one JSON object in ``text`` that has a key of ``roots``, whatever stands around it.

    Tools print warnings before and after their JSON, with braces in them. Raises CheckError when
    there is no such object (also when it is cut off), and when there are several.
    """
    found: list[Mapping[str, object]] = []
    position = 0
    for _ in range(_MOST_BEGINNINGS):
        position = text.find("{", position)
        if position < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        if isinstance(value, dict) and any(root in value for root in roots):
            found.append(value)
        position = end
    if not found:
        raise CheckError(f"{tool}: no JSON with {roots[0]!r} in its output: {excerpt(text)}")
    if len(found) > 1:
        raise CheckError(f"{tool}: several JSON documents with {roots[0]!r} in one output")
    return found[0]


def number(value: object, what: str) -> float:
    """A finite number that is not negative; JSON numbers and plain decimal texts.

    Raises CheckError that names ``what``.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckError(f"{what}: {excerpt(str(value))} is not a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result) or result < 0:
        raise CheckError(f"{what}: {excerpt(str(value))} is not a finite number of at least 0")
    return result


def mapping(value: object, what: str) -> Mapping[str, object]:
    """``value``, when it is a JSON object. Raises CheckError that names ``what``."""
    if not isinstance(value, dict):
        raise CheckError(f"{what}: {excerpt(str(value))} is not an object")
    return value


def items(value: object, what: str, most: int = 4096) -> list[object]:
    """``value``, when it is a JSON list of at most ``most`` items. Raises CheckError."""
    if not isinstance(value, list):
        raise CheckError(f"{what}: {excerpt(str(value))} is not a list")
    if len(value) > most:
        raise CheckError(f"{what}: {len(value)} items are more than {most}")
    return value


def word(value: object, what: str) -> str:
    """``value``, when it is a text; printable and bounded. Raises CheckError."""
    if not isinstance(value, str):
        raise CheckError(f"{what}: {excerpt(str(value))} is not a text")
    return printable(value, 256)


def excerpt(text: str) -> str:
    """A short printable quotation; the end of a long text, where tools say what went wrong."""
    text = text.strip()
    if not text:
        return "nothing"
    if len(text) > EXCERPT_LIMIT:
        text = "…" + text[-EXCERPT_LIMIT:]
    return repr(printable(text, EXCERPT_LIMIT + 1))


def ending(output: ToolOutput) -> str:
    """How a program ended, for a message: "exit 226" or "signal 9"."""
    code = output.returncode
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("the same key twice in one object")
    return made


# NaN and infinity are no JSON; a key that is there twice would hide what the first one says.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unique)
