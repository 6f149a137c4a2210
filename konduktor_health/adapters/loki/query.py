"""Which LogQL text asks for these lines?

A query is a stream selector and stages behind it. Invariants: every text that comes from
settings, parsers or Loki is quoted by ``quote``; a selector is checked before it is sent,
because Loki answers a wrong one with 200 and nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from konduktor_health.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MATCHER = re.compile(
    r"""\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*(?P<op>=~|!~|!=|=)\s*
        (?P<value>"(?:[^"\\\n]|\\.)*"|`[^`]*`)\s*(?P<next>,|\Z)""",
    re.VERBOSE,
)
_HINT = 'a selector looks like {namespace="monitoring", job=~"a|b"}'


def quote(text: str) -> str:
    """A LogQL string literal that means exactly ``text``.

    LogQL takes Go's double-quoted strings; JSON's escapes are a subset of Go's as long as
    characters beyond ASCII stay as they are (Go knows no surrogate pairs).
    """
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Query:
    """A log query. ``str()`` is the LogQL text."""

    selector: str
    stages: tuple[str, ...] = ()

    def then(self, stage: str) -> Query:
        """The same query with one more stage; an empty stage changes nothing."""
        return Query(self.selector, (*self.stages, stage)) if stage else self

    def __str__(self) -> str:
        return " ".join((self.selector, *self.stages))


def containing(literals: Iterable[str]) -> str:
    """Stage: the line contains at least one of the literals. None given: no stage."""
    quoted = [quote(literal) for literal in literals]
    return f"|= {' or '.join(quoted)}" if quoted else ""


def uncached(nonce: str) -> str:
    """Stage that filters nothing and makes the query text unique.

    Loki caches empty results of filter queries by query text; a line that arrives later is
    then never returned for the same text (reference: result-cache trap).
    """
    return f"!= {quote(nonce)}"


def matching(pattern: str, *, wanted: bool = True) -> str:
    """Stage: the line matches (or does not match) an RE2 pattern."""
    return f"{'|~' if wanted else '!~'} {quote(pattern)}"


def labelled(name: str, value: str, *, wanted: bool = True) -> str:
    """Stage: an index label or structured metadata is (or is not) ``value``."""
    return f"| {name}{'=' if wanted else '!='}{quote(value)}"


def counted(query: Query, by: Iterable[str], window_s: int) -> str:
    """Metric query: how many lines of the window each value of these labels has."""
    return f"sum by ({', '.join(by)}) (count_over_time({query} [{window_s}s]))"


def one_of(name: str, values: Iterable[str]) -> str:
    """Stage: an index label or structured metadata is one of the values."""
    return f"| {name}=~{quote('|'.join(map(escape_pattern, values)))}"


def is_label_name(name: str) -> bool:
    """True for a name that LogQL takes as a label name."""
    return _NAME.match(name) is not None


def escape_pattern(text: str) -> str:
    """``text`` as an RE2 pattern that matches just it."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def matchers(selector: str) -> tuple[tuple[str, str, str], ...]:
    """The matchers of a stream selector as (name, operator, quoted value).

    Raises ConfigError when the text is not a selector that Loki would take.
    """
    text = selector.strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise ConfigError(f"selector {selector[:200]!r}: not in braces", hint=_HINT)
    inner, position = text[1:-1].rstrip(), 0
    found: list[tuple[str, str, str]] = []
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None:
            where = inner[position : position + 60].strip()
            raise ConfigError(f"selector {selector[:200]!r}: wrong at {where!r}", hint=_HINT)
        found.append((match["name"], match["op"], match["value"]))
        position = match.end()
    if not any(op in ("=", "=~") and len(value) > 2 for _, op, value in found):
        raise ConfigError(
            f"selector {selector[:200]!r}: no matcher that asks for a value",
            hint='at least one of name="value" or name=~".+" is needed',
        )
    return tuple(found)


def selector_of(found: Iterable[tuple[str, str, str]]) -> str:
    """The selector text of matchers."""
    return "{" + ", ".join(f"{name}{op}{value}" for name, op, value in found) + "}"


def narrowed(selector: str, name: str, value: str) -> str:
    """The selector with ``name="value"`` added. Raises ConfigError for a wrong label name."""
    if not is_label_name(name):
        raise ConfigError(f"cluster_label {name[:80]!r} is not a label name", hint="as cluster")
    return selector_of((*matchers(selector), (name, "=", quote(value))))
