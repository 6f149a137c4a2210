"""What do users' patterns run on? RE2: its time grows with the text, whatever the pattern is.

Behind ``parsers.rules.Compile``. Text from logs may hold lone surrogates (undecodable bytes), which
RE2 cannot take: it sees a replacement for each, and captures come from the text as it was.
"""

from __future__ import annotations

import re
from typing import Any

import re2

from parsers.rules import Found, Pattern

#: Memory of one compiled pattern and what it keeps while it matches, bytes: an eighth of RE2's own
#: default, since a file may have thousands. A larger one is refused.
MEMORY = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")


def compile_pattern(pattern: str) -> Pattern:
    """A pattern on RE2. Raises ValueError for what RE2 does not take."""
    options = re2.Options()
    options.log_errors = False  # to stderr, past our log
    options.max_mem = MEMORY
    try:
        return _Pattern(re2.compile(pattern, options))
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(text) from error


class _Pattern:
    """A Pattern of RE2."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def match(self, text: str, /) -> Found | None:
        return _found(self._compiled.match(_encodable(text)), text)

    def search(self, text: str, /) -> Found | None:
        return _found(self._compiled.search(_encodable(text)), text)


class _Found:
    """What was found, in the text as it was."""

    def __init__(self, match: Any, text: str) -> None:
        self._match = match
        self._text = text

    def groupdict(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name, number in self._match.re.groupindex.items():
            start, end = self._match.span(number)
            found[name] = self._text[start:end] if start >= 0 else None
        return found


def _encodable(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _found(match: Any, text: str) -> Found | None:
    return None if match is None else _Found(match, text)
