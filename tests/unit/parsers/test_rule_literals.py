"""Every match of a pattern contains one of the texts that are found for it."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsers.rule_literals import LONGEST, literals_of
from parsers.rule_pattern import problems_of
from parsers.rules import kernel_rules, pod_rules

RULES = [*kernel_rules().rules, *pod_rules().rules]


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        (r"acme_fan (?P<device>[a-z0-9]{1,9}) stopped", ["acme_fan"]),
        (r"fan (?:one|two) stopped", ["stopped"]),
        (r"(?:fan a|fan b)", ["fan a", "fan b"]),
        (r"(?:fan a|f)", []),
        (r"one two|three", ["one two", "three"]),
        (r"one two|[a-z]", []),
        (r"abcd+ efg", ["abc"]),
        (r"abcd? efgh", ["efgh"]),
        (r"foo\.bar(?: baz)?", ["foo.bar"]),
        (r"(?:(?:long text)+ x)? yes|other", ["yes", "other"]),
        (r"x{0,2}rail: gone now", ["gone now"]),
        (r"(?:quite long ){2}a", ["quite long"]),
        (r"(?:quite long ){0,2}abc", ["abc"]),
        (r"^begin$", ["begin"]),
        (r"[|)]abc[\]]def", ["abc"]),
        (r"\dabc\wde", ["abc"]),
        (r"[a-z]{2,9} [0-9]{1,9}", []),
        ("a" * 100, ["a" * LONGEST]),
        ("(?:" * 61 + "abc" + ")" * 61, []),
    ],
)
def test_the_longest_text_of_each_alternative_is_found(pattern: str, literals: list[str]) -> None:
    assert problems_of(pattern, bounded=False) == []
    assert literals_of([pattern]) == [[literal] for literal in literals]


def test_several_patterns_have_a_group_each_and_one_without_text_leaves_none() -> None:
    assert literals_of(["abc", "def", "abc"]) == [["abc"], ["def"]]
    assert literals_of(["abc", "[a-z]"]) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.fault_id)
def test_examples_of_shipped_rules_contain_what_their_patterns_need(rule: object) -> None:
    patterns, examples = getattr(rule, "patterns", ()), getattr(rule, "examples", ())
    literals = literals_of(patterns)
    for example in examples:
        assert not literals or any(group[0] in example.text for group in literals)


def quantified(inner: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", "?", "*", "+", "{2}", "{0,3}", "{1,}", "+?"]).map(
        lambda quantifier: f"(?:{inner}){quantifier}"
    )


ATOMS = st.sampled_from(
    ["abc", "fan ", "x", r"\.", "[a-c]", "[^a]", r"\d", "y?", "zz+", "-", r"\(", r"\[", ":", " "]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: f"(?:{'|'.join(each)})"),
        inner.flatmap(quantified),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pattern=st.one_of(PATTERNS, st.tuples(PATTERNS, PATTERNS).map("|".join)), data=st.data())
def test_what_matches_contains_one_of_the_texts(pattern: str, data: st.DataObject) -> None:
    if problems_of(pattern, bounded=False):
        return
    text = data.draw(st.from_regex(re.compile(pattern), fullmatch=True))
    literals = literals_of([pattern])
    assert not literals or any(group[0] in text for group in literals), (pattern, literals, text)


@given(st.text(alphabet="ab(){}[]|?*+\\:P<>=!1,^$.-", max_size=16))
def test_no_pattern_without_problems_breaks_the_walk(pattern: str) -> None:
    if not problems_of(pattern, bounded=False):
        for group in literals_of([pattern]):
            assert len(group[0]) >= 3
