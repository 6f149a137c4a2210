"""Patterns on RE2 say what they say on ``re``, and nothing that a log holds makes them fail."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.rules_file.engine import compile_pattern
from parsers.rules import Found, Rule, RuleSet, kernel_rules, pod_rules

ON_RE = (kernel_rules(), pod_rules())
ON_RE2 = tuple(
    RuleSet(table.rules, source=table.source, compile_pattern=compile_pattern) for table in ON_RE
)
TEXTS = [
    text
    for table in ON_RE
    for rule in table.rules
    for text in (*(example.text for example in rule.examples), *rule.counter_examples)
]


def groups(found: Found | None) -> Mapping[str, str | None] | None:
    return None if found is None else found.groupdict()


@pytest.mark.parametrize("rule", [r for t in ON_RE for r in t.rules], ids=lambda r: r.fault_id)
def test_every_shipped_pattern_finds_the_same_in_its_examples(rule: Rule) -> None:
    texts = [*(example.text for example in rule.examples), *rule.counter_examples]
    for pattern in rule.patterns:
        slow, fast = re.compile(pattern), compile_pattern(pattern)
        for text in texts:
            assert groups(fast.match(text)) == groups(slow.match(text))
            assert groups(fast.search(text)) == groups(slow.search(text))


@pytest.mark.parametrize("text", TEXTS)
def test_the_tables_say_the_same_on_both_engines(text: str) -> None:
    for on_re, on_re2 in zip(ON_RE, ON_RE2, strict=True):
        assert on_re2.match(text) == on_re.match(text)


@given(st.sampled_from(TEXTS), st.data())
def test_mutated_examples_are_the_same_on_both_engines(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 6))
    more = data.draw(
        st.text(alphabet=st.sampled_from("09afxX .:()[]-_/é\t\n\u00a0\u0660\udc80"), max_size=4)
    )
    mutated = text[:at] + more + text[at + cut :]
    for on_re, on_re2 in zip(ON_RE, ON_RE2, strict=True):
        assert on_re2.match(mutated) == on_re.match(mutated)


def test_captures_are_of_the_text_as_it_was() -> None:
    found = compile_pattern("fan (?P<name>.{1,3})(?P<more>!)?").search("é fan \udc80é")
    assert groups(found) == {"name": "\udc80é", "more": None}


@given(st.text(max_size=40))
def test_no_text_makes_a_match_fail(text: str) -> None:
    compile_pattern("(?P<a>.*)x+").search(text)
    compile_pattern("a(?P<a>[^ ]{1,9})").match(text)


@pytest.mark.parametrize("pattern", ["(", "a{1001}", "(?:(?:a{200}){200}){200}", "(?=a)", r"(a)\1"])
def test_what_re2_refuses_is_a_value_error_with_its_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        compile_pattern(pattern)
