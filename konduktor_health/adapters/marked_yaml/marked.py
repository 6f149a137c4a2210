"""What does this YAML text say, and where does each value stand?

YAML is composed into nodes, which know their places, and made into plain values here. Refused:
aliases (a small file could name a value a million times), duplicated keys, keys that are no text,
tags, several documents, and more size or depth than such files need. Each with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from konduktor_health.adapters.marked_yaml.problem import VALUE_LIMIT, Malformed, Problem, shown

#: Most bytes of a file: what a ConfigMap can hold.
SIZE_LIMIT = 1 << 20
DEPTH_LIMIT = 16
#: Keys and indices from the top.
Path = tuple[str | int, ...]

# libyaml's parser is some ten times faster than the one in Python; not every build has it
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Marked:
    """A document: its plain value, and the places of its parts."""

    value: Any
    places: Mapping[Path, tuple[int, int]]  # line and column of each value, from 1
    keys: Mapping[Path, tuple[int, int]]  # of each key of a mapping
    verbatim: frozenset[Path]  # texts that stand in the file character for character
    problems: tuple[Problem, ...] = ()  # duplicated keys and the like

    def place(self, path: Path) -> tuple[int, int]:
        """Where a value stands; of one that is missing, where what should hold it stands."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def key(self, path: Path) -> tuple[int, int]:
        """Where the key of a value stands."""
        return self.keys.get(path) or self.place(path)


def read_marked(content: bytes, *, times_are_texts: bool = False) -> Marked:
    """The one document of a file; None is the value of an empty one. Raises Malformed.

    ``times_are_texts``: a date or time without quotes is the text that stands there, for files
    that have times; otherwise it is a problem.
    """
    text = _text(content)
    try:
        _check_events(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise Malformed(Problem(line, column, "", f"not valid YAML: {what}", _QUOTE)) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        what = f"character {error.character!r} is not allowed in YAML"
        raise Malformed(Problem(*place, "", what, "write it as an escape in quotes")) from error
    if root is None:
        return Marked(None, {}, {}, frozenset())
    reading = _Reading(text, times_are_texts)
    value = reading.plain(root, ())
    return Marked(
        value, reading.places, reading.keys, frozenset(reading.verbatim), tuple(reading.problems)
    )


_QUOTE = "texts with : # { [ * & ! % or \\ are safest in 'single quotes'"


def _text(content: bytes) -> str:
    if len(content) > SIZE_LIMIT:
        what = f"has more than {SIZE_LIMIT} bytes"
        raise Malformed(Problem(1, 1, "", what, "say it in fewer rules"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise Malformed(Problem(line, column, "", what, "save the file as UTF-8")) from error


def _check_events(text: str) -> None:
    """Refuse what must not even be composed. Raises Malformed and YAMLError."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        mark: Any = event.start_mark  # every event of a parser has one
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            what = f"alias *{str(event.anchor)[:40]}: aliases are not taken"
            raise Malformed(Problem(line, column, "", what, "write the value again, or a macro"))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            what = f"more than {DEPTH_LIMIT} levels deep"
            raise Malformed(Problem(line, column, "", what, "nothing here needs so many"))


@dataclass(slots=True)
class _Reading:
    text: str
    times_are_texts: bool = False
    constructor: yaml.constructor.SafeConstructor = field(
        default_factory=yaml.constructor.SafeConstructor
    )
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    verbatim: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def plain(self, node: Any, path: Path) -> Any:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.places[path] = (line, column)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (_MAPPING, _LIST):
            what = f"tag {shown(node.tag)}: tags are not taken"
            self._complain((line, column), path, what, "leave it out")
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(each, (*path, at)) for at, each in enumerate(node.value)]
        if node.tag == _TEXT:
            self._place_text(node, path)
        return self._scalar(node, path)

    def _pairs(self, node: Any, path: Path) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = self._scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                what = f"key {shown(key)} is no text"
                self._complain(place, path, what, "write it in quotes")
                continue
            if key in seen:
                what = f"key {shown(key)} is there twice"
                self._complain(place, path, what, "the first would be ignored: keep one of them")
                continue
            seen.add(key)
            self.keys[(*path, key)] = place
            yield key, self.plain(value_node, (*path, key))

    def _scalar(self, node: Any, path: Path) -> Any:
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        kind = node.tag.removeprefix(_CORE)
        if kind == "timestamp" and self.times_are_texts:
            return str(node.value)
        if kind not in _SCALARS:
            what = f"{shown(node.value)} is taken for {shown(kind)}"
            self._complain(place, path, what, "write it in quotes, without a tag")
            return str(node.value)
        try:
            return self.constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError, LookupError) as error:
            reason = getattr(error, "problem", None) or f"not of the kind {kind}"
            self._complain(place, path, f"{shown(node.value)}: {reason}", "write it in quotes")
            return str(node.value)

    def _place_text(self, node: Any, path: Path) -> None:
        """A text's own first character, behind its quotation mark; whether it is verbatim."""
        quoted = node.style in ("'", '"')
        start = node.start_mark.index + quoted
        line, column = self.places[path]
        if quoted or not node.style:  # of a plain one libyaml says "", the other parser None
            self.places[path] = (line, column + quoted)
            if self.text[start : start + len(node.value)] == node.value:
                self.verbatim.add(path)

    def _complain(self, place: tuple[int, int], path: Path, what: str, hint: str) -> None:
        self.problems.append(Problem(*place, dotted(path), what, hint))


_CORE = "tag:yaml.org,2002:"
_TEXT, _MAPPING, _LIST = (f"{_CORE}{kind}" for kind in ("str", "map", "seq"))
#: Kinds of plain values; a date, say, is none that a rule could want.
_SCALARS = ("str", "bool", "int", "float", "null")


def dotted(path: Path) -> str:
    """A path as text: kernel[0].severity; keys are bounded."""
    parts: list[str] = []
    for piece in path:
        if isinstance(piece, int):
            parts.append(f"[{piece}]")
        else:
            parts.append(("." if parts else "") + piece[:VALUE_LIMIT])
    return "".join(parts)
