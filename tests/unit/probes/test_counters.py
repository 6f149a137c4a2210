"""Growth of counters between runs: rates, resets, boots."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.backends.fake import FakeBackend
from probes.check import Context
from probes.counters import UNSEEN_S, grown, lasts, recent
from tests.support.gpus import BOOT, no_tool

COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 2**63))


def context(before: dict[str, object] | None = None, boot_id: str = BOOT) -> Context:
    return Context(FakeBackend(), no_tool(), before=before or {}, boot_id=boot_id)


def kept(counts: dict[str, int], now_s: float = 100.0) -> dict[str, object]:
    first = context()
    assert grown(first, "dev", counts, now_s) is None
    again: dict[str, object] = json.loads(json.dumps(first.keep))
    return again


@given(COUNTS, COUNTS, st.floats(0.001, 1e6))
def test_growth_is_never_negative_and_a_lower_count_was_reset(
    one: dict[str, int], two: dict[str, int], seconds: float
) -> None:
    growth = grown(context(kept(one)), "dev", two, 100.0 + seconds)

    assert growth is not None
    assert set(growth.by) == set(one) & set(two)
    for name, by in growth.by.items():
        if two[name] >= one[name]:
            assert by == two[name] - one[name]
        else:
            assert name in growth.reset
            assert by == two[name]


def test_rates_are_by_the_time_between_the_runs() -> None:
    growth = grown(context(kept({"a": 10})), "dev", {"a": 70}, 130.0)

    assert growth is not None
    assert (growth.per_second("a"), growth.per_second("other")) == (2.0, 0.0)


def test_another_boot_another_device_or_no_time_between_is_nothing_to_compare() -> None:
    before = kept({"a": 10})

    assert grown(context(before, "f" * 32), "dev", {"a": 70}, 130.0) is None
    assert grown(context(before), "other", {"a": 70}, 130.0) is None
    assert grown(context(before), "dev", {"a": 70}, 100.0) is None
    assert grown(context(before), "dev", {"a": 70}, 50.0) is None


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_the_newest_runs_are_counted(runs: list[bool]) -> None:
    before: dict[str, object] = {}
    for index, bad in enumerate(runs):
        now = context(before)
        newest = runs[max(0, index - 9) : index + 1]
        assert recent(now, "dev", bad, 10) == (sum(newest), len(newest))
        before = json.loads(json.dumps(now.keep))


def test_runs_of_another_boot_are_not_counted() -> None:
    one = context()
    recent(one, "dev", True, 10)

    assert recent(context(dict(one.keep), "f" * 32), "dev", True, 10) == (1, 1)


def lasting(kept: object, now_s: float, boot_id: str = BOOT) -> tuple[float, object]:
    its = context({"lasts": kept}, boot_id)
    seconds = lasts(its, "away", now_s)
    return seconds, json.loads(json.dumps(its.keep))["lasts"]


def test_what_is_so_in_each_run_lasts_since_the_first() -> None:
    kept: object = None
    for now_s, expected in ((100.0, 0.0), (160.0, 60.0), (3000.0, 2900.0)):
        seconds, kept = lasting(kept, now_s)
        assert seconds == expected


def test_what_nobody_looked_at_begins_anew() -> None:
    _, kept = lasting(None, 100.0)
    assert lasting(kept, 100.0 + UNSEEN_S)[0] == UNSEEN_S
    assert lasting(kept, 101.0 + UNSEEN_S)[0] == 0.0
    assert lasting(kept, 160.0, boot_id="c" * 32)[0] == 0.0
    assert lasting({}, 160.0)[0] == 0.0


@pytest.mark.parametrize(
    "kept", [7, {"away": 3}, {"away": {"boot": BOOT, "at_s": "x", "seen_s": 1}},
             {"away": {"boot": BOOT, "at_s": 50.0, "seen_s": 9e9}}],
)  # fmt: skip
def test_what_was_kept_of_it_may_be_anything(kept: object) -> None:
    assert lasting(kept, 100.0)[0] == 0.0
