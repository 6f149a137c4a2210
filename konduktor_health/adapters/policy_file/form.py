"""Has this document the form of a policy file? pydantic's errors become problems with places."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from konduktor_health.adapters.marked_yaml import Complaints, Path, shown
from konduktor_health.policy.values import PROBLEM

Form = TypeVar("Form", bound=BaseModel)

_NOT: Mapping[str, str] = {
    "string_type": "not a text",
    "string_unicode": "not a text that can be stored",
    "tuple_type": "not a list",
    "dict_type": "not a mapping",
    "model_type": "not a mapping",
    "model_attributes_type": "not a mapping",
    "bool_type": "not true or false",
    "int_type": "not a whole number",
    "float_type": "not a number",
    "finite_number": "not a number",
}
_HINTS: Mapping[str, str] = {
    "string_type": "write it in quotes",
    "tuple_type": "such as [a, b]",
    "bool_type": "true or false",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS: Mapping[str, tuple[str, str]] = {
    "too_short": ("min_length", "at least"),
    "string_too_short": ("min_length", "at least"),
    "too_long": ("max_length", "at most"),
    "string_too_long": ("max_length", "at most"),
}


def read_form(form: type[Form], complaints: Complaints) -> Form | None:
    """The document in this form, or None after complaints."""
    document = complaints.marked.value
    if not isinstance(document, dict):
        what = "the file is empty" if document is None else f"{shown(document)}, not a mapping"
        complaints.add((), what, "version: 1, then what it says")
        return None
    try:
        return form.model_validate(document)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            _complain(form, dict(item), complaints)
        return None


def _complain(form: type[BaseModel], item: dict[str, Any], complaints: Complaints) -> None:
    path: Path = tuple(item["loc"])
    kind, given, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        known = _fields(form, path[:-1])
        complaints.add(path, "no such field", complaints.like(str(path[-1]), known), key=True)
    elif kind == "missing":
        complaints.add(path, "missing", _wanted(form, path))
    elif kind in ("enum", "literal_error"):
        names = _choices(form, path)
        hint = complaints.like(given, names) if isinstance(given, str) else ""
        complaints.add(
            path, f"not known (got {shown(given)})", hint or f"one of {', '.join(names)}"
        )
    elif kind == PROBLEM:
        complaints.add(path, f"{context['what']} (got {shown(given)})", context["hint"])
    elif kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        complaints.add(path, f"must be {words} {context[name]:g} (got {shown(given)})")
    elif kind in _LENGTHS:
        name, words = _LENGTHS[kind]
        unit = "characters" if kind.startswith("string") else "of them"
        what = f"too {'short' if 'short' in kind else 'long'} (got {shown(given)})"
        complaints.add(path, what, f"{words} {context[name]} {unit}")
    else:
        what = _NOT.get(kind, item["msg"])
        hint = _HINTS.get(kind, "") if given is not None else "leave it out, or give it a value"
        complaints.add(path, f"{what} (got {shown(given)})", hint)


def _fields(form: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The fields of the part at this path."""
    at = _part(form, path)
    return () if at is None else tuple(at.model_fields)


def _wanted(form: type[BaseModel], path: Path) -> str:
    """What a missing field is for."""
    at = _part(form, path[:-1])
    info = None if at is None else at.model_fields.get(str(path[-1]))
    if info is None:
        return ""
    names = _choices(form, path)
    return f"one of {', '.join(names)}" if names else info.description or ""


def _choices(form: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The words that may stand at this path."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    at = _part(form, path[:-1])
    info = None if at is None or not path else at.model_fields.get(str(path[-1]))
    words: list[str] = []
    _collect(None if info is None else info.annotation, words)
    return tuple(words)


def _collect(annotation: Any, words: list[str]) -> None:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        words += [str(each.value) for each in annotation]
    elif isinstance(annotation, (str, int)):
        words.append(str(annotation))
    for each in get_args(annotation):
        _collect(each, words)


def _part(form: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model at a path."""
    at: type[BaseModel] | None = form
    for piece in path:
        if isinstance(piece, int):
            continue
        info = None if at is None else at.model_fields.get(piece)
        at = None if info is None else _model(info.annotation)
    return at


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model(each))), None)
