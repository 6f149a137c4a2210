"""Patterns that may begin with any text, in whichever alternative."""

from __future__ import annotations

import pytest

from konduktor_health.adapters.rules_file.opening import begins_open


@pytest.mark.parametrize(
    "pattern",
    [
        ".*fan",
        "^.{0,80}fan",
        "[^a]+fan",
        "(?:acme|.{0,80}) fan",
        "(?:acme |(?P<what>[^:]*)): fan",
        "a?.*fan",
        "(?:a?){2}.fan",
        "a{0}.fan",
        "a{0,3}[ -~]*fan",
        "[a-z ]*fan",
        "[]a ]fan",
        r"\S+ fan",
        r"(?:a|)(?:b|\D) fan",
    ],
)
def test_a_pattern_that_may_begin_with_any_text_is_seen(pattern: str) -> None:
    assert begins_open(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "acme .*fan",
        "^acme",
        "(?:acme|emca) .*",
        "[a-z0-9_]{1,15}: fan",
        "(?P<device>[0-9a-f:.]{7,12}) fan",
        r"\w+ .*fan",
        r"\[.*\] fan",
        "a+.*fan",
    ],
)
def test_a_pattern_with_a_beginning_of_its_own_is_not(pattern: str) -> None:
    assert not begins_open(pattern)
