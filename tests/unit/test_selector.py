"""Label selectors: Kubernetes' grammar, all of it."""

from __future__ import annotations

import pytest

from konduktor_health.selector import SelectorError, parse_selector

LABELS = {"pool": "a", "zone": "eu-1", "gpu": "", "example.com/tier": "gold"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("pool=a", True),
        ("pool == a", True),
        ("pool=b", False),
        ("pool!=b", True),
        ("missing!=b", True),
        ("pool in (a, b)", True),
        ("pool in (b,c)", False),
        ("pool notin (b)", True),
        ("missing notin (b)", True),
        ("gpu", True),
        ("gpu=", True),
        ("missing", False),
        ("!missing", True),
        ("! gpu", False),
        ("pool=a,zone in (eu-1, eu-2),!missing", True),
        ("pool=a,zone=us", False),
        ("example.com/tier=gold", True),
    ],
)
def test_a_selector_matches_as_kubernetes_does(text: str, matches: bool) -> None:
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["=a", "a=b c", "a in", "a in (b", "a=b,,c=d", "a=b,", "a in ($)", "a>1", ",", "a==-b"]
)
def test_what_is_no_selector_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(SelectorError, match=r"label"):
        parse_selector(text)
