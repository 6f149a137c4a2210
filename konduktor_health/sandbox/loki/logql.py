"""Which LogQL does the embedded Loki understand? A selector, line filters, label filters.

Anything else is a :class:`LogQLError` whose text starts as the real Loki's does
("parse error at line 1, col 9: ..."). Patterns are compiled by Python's ``re``: what RE2 does not
know (look-around, back-references, possessive quantifiers) is refused as Loki refuses it, and what
only RE2 knows (``\\pL``, ``[[:alpha:]]``, ``\\Q``) is refused too, rather than misread.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LabelSet = tuple[tuple[str, str], ...]
# (line, index labels, structured metadata) -> does the entry pass?
Predicate = Callable[[str, Mapping[str, str], LabelSet], bool]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<op>\|=|\|~|!=|!~|=~|==|=|[{},|()])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_SIMPLE_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\",
    '"': '"',
}  # fmt: skip
# Looked for after escaped punctuation has been taken out; the first one outside of [sets].
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|\(|>|#|P=)|\\[1-9Z]|[*+?}]\+|\{\d*,?\d{4,}\}")
_ONLY_RE2 = re.compile(r"\\[pPQECX]|\[\^?\[|\[[^\]]*(?:--|&&|~~|\|\|)")
_SET = re.compile(r"\[\^?\]?[^\]]*\]")
_BAD_PATTERN = "parse error : error parsing regexp"
_EMPTY_SELECTOR = (
    "parse error : queries require at least one regexp or equality matcher that does not have an "
    'empty-compatible value. For instance, app=~".*" does not meet this requirement, but '
    'app=~".+" will'
)


class LogQLError(ValueError):
    """The query is not acceptable; the text is the body of Loki's 400."""


class UnsupportedPattern(LogQLError):
    """The real Loki would take this pattern, the sandbox cannot."""


class StageError(LogQLError):
    """A bad pattern in a line filter. Loki 3 finds it so late that a request with the
    categorize-labels header is answered 200 and empty instead of 400."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher; patterns are anchored at both ends."""

    name: str
    op: str  # = != =~ !~
    value: str

    def compiled(self) -> Callable[[str], bool]:
        """A test of a label's value; "" stands for an absent label."""
        wanted = self.value
        if self.op == "=":
            return lambda value: value == wanted
        if self.op == "!=":
            return lambda value: value != wanted
        pattern = compile_re2(wanted, re.ASCII | re.DOTALL)
        if self.op == "=~":
            return lambda value: pattern.fullmatch(value) is not None
        return lambda value: pattern.fullmatch(value) is None


@dataclass(frozen=True, slots=True)
class LineFilter:
    """One line filter with its ``or`` chain. Negative ones exclude every alternative."""

    op: str  # |= != |~ !~
    needles: tuple[str, ...]

    def compiled(self) -> Predicate:
        """A test of the line; labels do not matter."""
        if self.op in {"|=", "!="}:
            found = _contains_any(self.needles)
        else:
            found = _search_any([compile_re2(needle) for needle in self.needles])
        if self.op in {"|=", "|~"}:
            return lambda line, _labels, _metadata: found(line)
        return lambda line, _labels, _metadata: not found(line)


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed log query."""

    matchers: tuple[Matcher, ...]
    stages: tuple[LineFilter | Matcher, ...]
    text: str

    def selects(self) -> Callable[[Mapping[str, str]], bool]:
        """A test of a stream's index labels."""
        tests = [(m.name, m.compiled()) for m in self.matchers]
        return lambda labels: all(test(labels.get(name, "")) for name, test in tests)

    def keeps(self) -> Predicate | None:
        """A test of entries, None when every entry passes."""
        tests = [_stage(stage) for stage in self.stages]
        if not tests:
            return None
        if len(tests) == 1:
            return tests[0]
        return lambda line, labels, extra: all(test(line, labels, extra) for test in tests)


def _stage(stage: LineFilter | Matcher) -> Predicate:
    if isinstance(stage, LineFilter):
        return stage.compiled()
    name, test = stage.name, stage.compiled()

    def passes(_line: str, labels: Mapping[str, str], metadata: LabelSet) -> bool:
        value = labels.get(name)  # ingest keeps metadata of the same name out of the way
        if value is None:
            value = next((v for k, v in metadata if k == name), "")
        return test(value)

    return passes


def _contains_any(needles: tuple[str, ...]) -> Callable[[str], bool]:
    if len(needles) == 1:
        only = needles[0]
        return lambda line: only in line

    def found(line: str) -> bool:
        for needle in needles:  # noqa: SIM110 - any() with a generator is three times slower
            if needle in line:
                return True
        return False

    return found


def _search_any(patterns: list[re.Pattern[str]]) -> Callable[[str], bool]:
    return lambda line: any(pattern.search(line) is not None for pattern in patterns)


def compile_re2(pattern: str, flags: re.RegexFlag = re.ASCII) -> re.Pattern[str]:
    """Compile what RE2 would accept; its \\d, \\w, \\s and \\b are ASCII. Raises LogQLError."""
    bare = re.sub(r"\\[^A-Za-z0-9]", "", pattern)
    if _NOT_RE2.search(_SET.sub("x", bare)):
        raise LogQLError(f"{_BAD_PATTERN}: invalid or unsupported Perl syntax: `{pattern}`")
    if _ONLY_RE2.search(bare):
        raise UnsupportedPattern(f"{_BAD_PATTERN}: not supported by the sandbox: `{pattern}`")
    translated = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern).replace(r"\z", r"\Z")
    try:
        return re.compile(translated, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise LogQLError(f"{_BAD_PATTERN}: {error}: `{pattern}`") from error


def parse(text: str, max_length: int = 131_072) -> Query:
    """Parse a log query. Raises LogQLError with the text of Loki's 400."""
    if len(text) > max_length:
        raise LogQLError(f"parse error : input size too long ({len(text)} > {max_length})")
    return _Parser(text).query()


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Parse a bare stream selector (series, label values). Raises LogQLError."""
    query = parse(text)
    if query.stages:
        raise LogQLError("only label matchers are supported")
    return query.matchers


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # string, name, op, end, or bad
    text: str
    at: int


class _Parser:
    """Recursive descent over the token list of one query."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan(text)
        self._next = 0

    @staticmethod
    def _scan(text: str) -> list[_Token]:
        tokens, at = [], 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                tokens.append(_Token("bad", text[at], at))
                break
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup or "bad", match[0], at))
            at = match.end()
        tokens.append(_Token("end", "$end", len(text)))
        return tokens

    def query(self) -> Query:
        matchers = self._selector()
        stages: list[LineFilter | Matcher] = []
        while self._peek().kind != "end":
            token = self._take()
            if token.text in {"|=", "!=", "|~", "!~"} and token.kind == "op":
                stages.append(self._line_filter(token.text))
            elif token.kind == "op" and token.text == "|":
                stages.append(self._matcher())
            else:
                raise self._unexpected(token)
        self._check_patterns(stages)
        if not any(_needs_value(matcher) for matcher in matchers):
            raise LogQLError(_EMPTY_SELECTOR)
        return Query(tuple(matchers), tuple(stages), self._text)

    @staticmethod
    def _check_patterns(stages: list[LineFilter | Matcher]) -> None:
        for stage in stages:
            try:
                _stage(stage)
            except UnsupportedPattern:
                raise
            except LogQLError as error:
                if isinstance(stage, Matcher):
                    raise
                shown = f"{stage.op} " + " or ".join(f'"{needle}"' for needle in stage.needles)
                reason = str(error).removeprefix("parse error : ")
                raise StageError(f"parse error : stage '{shown}' : {reason}") from error

    def _selector(self) -> list[Matcher]:
        self._expect("{")
        matchers: list[Matcher] = []
        if self._peek_is("}"):
            self._take()
            return matchers
        if self._peek().kind != "name":
            raise self._unexpected(self._peek(), "IDENTIFIER or }")
        while True:
            matchers.append(self._matcher())
            matchers[-1].compiled()
            token = self._take()
            if token.kind == "op" and token.text == "}":
                return matchers
            if token.kind != "op" or token.text != ",":
                raise self._unexpected(token, "} or ,")

    def _matcher(self) -> Matcher:
        name = self._take()
        if name.kind != "name":
            raise self._unexpected(name, "IDENTIFIER")
        op = self._take()
        if op.kind != "op" or op.text not in {"=", "!=", "=~", "!~"}:
            raise self._unexpected(op)
        return Matcher(name.text, op.text, self._string())

    def _line_filter(self, op: str) -> LineFilter:
        needles = [self._string()]
        while self._peek().kind == "name" and self._peek().text == "or":
            self._take()
            needles.append(self._string())
        return LineFilter(op, tuple(needles))

    def _string(self) -> str:
        token = self._take()
        if token.kind != "string":
            raise self._unexpected(token, "STRING")
        if token.text[0] == "`":
            return token.text[1:-1].replace("\r", "")
        return _ESCAPE.sub(lambda m: self._escape(m, token), token.text[1:-1])

    def _escape(self, match: re.Match[str], token: _Token) -> str:
        body = match[1]
        if len(body) == 1:
            if body not in _SIMPLE_ESCAPES:
                raise self._error(token, "invalid char escape")
            return _SIMPLE_ESCAPES[body]
        code = int(body, 8) if body[0].isdigit() else int(body[1:], 16)
        if code > sys.maxunicode:
            raise self._error(token, "invalid char escape")
        return chr(code)

    def _expect(self, text: str) -> None:
        token = self._take()
        if token.kind != "op" or token.text != text:
            raise self._unexpected(token)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _peek_is(self, op: str) -> bool:
        return self._peek().kind == "op" and self._peek().text == op

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _unexpected(self, token: _Token, expecting: str = "") -> LogQLError:
        if token.kind == "end" and self._next == 0:
            return LogQLError("parse error : syntax error: unexpected $end")
        names = {"string": "STRING", "name": "IDENTIFIER", "end": "$end"}
        if token.kind == "bad" and token.text in {'"', "`"}:
            return self._error(token, "literal not terminated")
        what = names.get(token.kind, token.text)
        tail = f", expecting {expecting}" if expecting else ""
        return self._error(token, f"syntax error: unexpected {what}{tail}")

    def _error(self, token: _Token, text: str) -> LogQLError:
        before = self._text[: token.at]
        line = before.count("\n") + 1
        column = token.at - (before.rfind("\n") + 1) + 1
        return LogQLError(f"parse error at line {line}, col {column}: {text}")


def _needs_value(matcher: Matcher) -> bool:
    """True for a matcher that an absent label cannot satisfy and that narrows positively."""
    return matcher.op in {"=", "=~"} and not matcher.compiled()("")
