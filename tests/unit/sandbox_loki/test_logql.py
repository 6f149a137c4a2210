"""Which patterns does the embedded Loki's LogQL take?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.sandbox.loki import logql
from konduktor_health.sandbox.loki.times import parse_duration, parse_time


def _keeps(stages: str, line: str) -> bool:
    keeps = logql.parse('{a="b"} ' + stages).keeps()
    return keeps is None or keeps(line, {"a": "b"}, ())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.text(max_size=20))
def test_a_chain_keeps_lines_with_any_of_its_literals(needles: list[str], line: str) -> None:
    chain = " or ".join(map(_quoted, needles))

    assert _keeps(f"|= {chain}", line) == any(needle in line for needle in needles)
    assert _keeps(f"!= {chain}", line) == all(needle not in line for needle in needles)


@given(st.text(max_size=8), st.text(max_size=20))
def test_an_escaped_literal_is_a_pattern_for_itself(needle: str, line: str) -> None:
    pattern = "".join(f"\\x{{{ord(c):x}}}" if ord(c) > 127 else re.escape(c) for c in needle)
    if "\\x{" in pattern or "\n" in needle or "\0" in needle:
        return  # Python has no \x{...}
    assert _keeps(f"|~ {_quoted(pattern)}", line) == (needle in line)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (r"\[ *[0-9]+\.[0-9]{6}\] ", "[   12.345678] x"),
        (r"(?P<code>\d+), (?<pid>pid)=", "79, pid=1"),
        (r"a[*+]b", "a+b"),
        (r"a\++b", "a++b"),
        (r"79|74|94\z", "x 94"),
        ("(?i)nvrm", "NVRM"),
    ],
)
def test_patterns_that_both_know_are_taken(pattern: str, line: str) -> None:
    assert _keeps(f"|~ {_quoted(pattern)}", line)


@pytest.mark.parametrize("pattern", [r"\pL", "[[:alpha:]]", r"\Qa.b\E", "[a&&b]"])
def test_patterns_that_only_re2_knows_are_refused_not_misread(pattern: str) -> None:
    with pytest.raises(logql.LogQLError, match="not supported by the sandbox"):
        logql.parse(f'{{a="b"}} |~ {_quoted(pattern)}')


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_a_parse_error(text: str) -> None:
    try:
        logql.parse(text)
    except logql.LogQLError as error:
        assert str(error).startswith("parse error")  # noqa: PT017 - most texts raise


@given(st.text(alphabet='{}a="`|~!or\\,x( \n', max_size=40))
def test_any_broken_query_is_a_parse_error(text: str) -> None:
    try:
        logql.parse('{a="b"} ' + text)
    except logql.LogQLError as error:
        assert str(error).startswith("parse error")  # noqa: PT017


@given(st.integers(10**10, 2**63 - 1))
def test_long_integers_are_nanoseconds(ns: int) -> None:
    assert parse_time(str(ns)) == ns


@pytest.mark.parametrize("text", ["", "x", "1e400.", "nan.", "9" * 25, "2026-02-30T00:00:00Z"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's
        parse_time(text)


def test_durations_add_up() -> None:
    assert parse_duration("1h30m") == 5400 * 10**9
    assert parse_duration("7d") == 7 * 86_400 * 10**9
