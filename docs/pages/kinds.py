"""How is a Python type called in the documentation?"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from docs.pages.tables import code

_WORDS: Mapping[object, str] = {
    str: "text", int: "integer", float: "number", bool: "true or false",
    Path: "file path", SecretStr: "secret",
}  # fmt: skip
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def kind_of(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a value of this type looks like to a user, with the bounds of pydantic's metadata."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(code(value) for value in args)
    if origin in (Union, types.UnionType):
        return kind_of(next(each for each in args if each is not type(None)))
    if origin is tuple:
        return f"list of {kind_of(args[0])}"
    if origin is dict:
        return f"mapping of {kind_of(args[0])} to {kind_of(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(code(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "entries (below)"
    bounds = [
        f"{word} {getattr(each, name):g}"
        for each in metadata
        for name, word in _BOUNDS.items()
        if hasattr(each, name)
    ]
    return ", ".join([_WORDS[annotation], *bounds])
