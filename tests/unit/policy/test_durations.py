"""Durations: what is read, and that what is written is read as the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.policy.durations import LONGEST_S, seconds, written


@pytest.mark.parametrize(
    ("value", "found"),
    [("90s", 90), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000), ("1h30m", 5400), (45, 45),
     (0, 0), (1.5, 1.5), ("1.5h", 5400), ("250ms", 0.25)],
)  # fmt: skip
def test_what_is_a_duration(value: object, found: float) -> None:
    assert seconds(value) == found


@pytest.mark.parametrize(
    "value",
    ["", "10", "m", "10 m", "-5m", "10x", "٣m", True, None, [], -1, 1e300, float("nan"),
     float("inf"), "9" * 30 + "d", 4000 * 86_400, 10**400],
)  # fmt: skip
def test_what_is_none(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words are the reader's matter
        seconds(value)


@given(st.one_of(st.integers(0, int(LONGEST_S)), st.floats(0, LONGEST_S)))
def test_what_is_written_is_read_again(value_s: float) -> None:
    assert seconds(written(float(value_s))) == value_s
