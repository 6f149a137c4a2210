"""LogQL text means what was meant, whatever characters are in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.loki.query import (
    Query,
    containing,
    escape_pattern,
    labelled,
    matchers,
    matching,
    narrowed,
    quote,
    uncached,
)
from konduktor_health.errors import ConfigError

text = st.text(st.characters(exclude_categories=["Cs"]))
_GO = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}


def go_unquote(quoted: str) -> str:
    """Go's rules for interpreted string literals, read from the language's specification."""
    assert quoted[0] == quoted[-1] == '"'
    inner, found, position = quoted[1:-1], "", 0
    while position < len(inner):
        character = inner[position]
        assert character not in '"\n'
        if character != "\\":
            found, position = found + character, position + 1
        elif inner[position + 1] == "u":
            code = int(inner[position + 2 : position + 6], 16)
            assert not 0xD800 <= code < 0xE000, "Go has no surrogates"
            found, position = found + chr(code), position + 6
        else:
            found, position = found + chr(_GO[inner[position + 1]]), position + 2
    return found


@given(text)
def test_quoting_round_trips(value: str) -> None:
    assert go_unquote(quote(value)) == value


@given(text)
def test_an_escaped_pattern_matches_just_its_text(value: str) -> None:
    assert re.fullmatch(escape_pattern(value), value)
    assert not re.fullmatch(escape_pattern(value), value + "x")


@given(st.lists(text, min_size=1, max_size=4))
def test_a_selector_with_any_values_is_taken_and_kept(values: list[str]) -> None:
    selector = "{" + ", ".join(f"l{i}={quote(v)}" for i, v in enumerate([*values, "x"])) + "}"
    found = matchers(selector)
    assert [go_unquote(value) for _, _, value in found] == [*values, "x"]


def test_stages_follow_the_selector() -> None:
    query = (
        Query('{a="b"}')
        .then(containing(["NVRM: Xid", 'say "x"']))
        .then(uncached("n1"))
        .then(matching("x$", wanted=False))
        .then(labelled("node", "n"))
    )
    assert str(query) == ('{a="b"} |= "NVRM: Xid" or "say \\"x\\"" != "n1" !~ "x$" | node="n"')


def test_no_literals_is_no_filter() -> None:
    assert str(Query('{a="b"}').then(containing([]))) == '{a="b"}'


def test_a_cluster_is_added_to_the_selector() -> None:
    assert narrowed('{a="b", c=~`d|e`}', "cluster", 'x"y') == ('{a="b", c=~`d|e`, cluster="x\\"y"}')
    with pytest.raises(ConfigError):
        narrowed('{a="b"}', "not-a-name", "x")


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "job",
        "{}",
        '{job=""}',
        '{job!="a"}',
        '{job="a"} |= "x"',
        '{job="a"',
        '{job="a" foo}',
        '{job="a"x="b"}',
        "{job=a}",
        '{job-x="a"}',
    ],
)
def test_what_loki_would_not_take_is_refused_with_a_hint(selector: str) -> None:
    with pytest.raises(ConfigError) as caught:
        matchers(selector)
    assert caught.value.hint
