"""Is no text that a pattern fits shorter than we say?"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsers.rule_length import shortest
from parsers.rules import kernel_rules, pod_rules

PATTERNS = [
    pattern for rule in (*kernel_rules().rules, *pod_rules().rules) for pattern in rule.patterns
]


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("abc", 3), ("", 0), ("a?b", 1), ("a{3,5}b{2}", 5), ("a{0,4}", 0), ("a*b+", 1), ("a+?b", 2),
        ("(?:abc|d)e", 2), ("(?:abc)?d", 1), ("(?P<n>ab|c{4})", 2), (r"\[#[0-9]{1,5}\]", 4),
        (r"[^\]x]{2}", 2), ("[]a]b", 2), (r"\bab$", 2), ("a|", 0), ("((a)(b))", 2), (r"\(\)", 2),
    ],
)  # fmt: skip
def test_the_shortest_text_of_a_pattern(pattern: str, length: int) -> None:
    assert shortest(pattern) == length


@pytest.mark.parametrize("pattern", ["(a", "a)", "(?:a|b"])
def test_an_open_group_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="group"):
        shortest(pattern)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_text_that_a_shipped_pattern_fits_is_shorter(data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(PATTERNS))

    text = data.draw(st.from_regex(pattern, fullmatch=True))

    assert len(text) >= shortest(pattern)
