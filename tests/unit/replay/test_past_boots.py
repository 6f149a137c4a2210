"""A line of the boot that a node is in begins none, and those like it neither."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.past_boots import PastBoots
from konduktor_health.timestamps import NS
from parsers.layer import LogRecord
from tests.support.builders import BOOT, NOW, OTHER_BOOT

lines = st.tuples(
    st.integers(0, 2000),  # log time, s
    st.sampled_from([None, 10, 500, 5000]),  # uptime, s
    st.sampled_from([BOOT, OTHER_BOOT, "c" * 32, ""]),
    st.sampled_from([Trust.KERNEL, Trust.KERNEL, Trust.POD]),
)


def entry(at_s: int, uptime_s: int | None, boot_id: str, trust: Trust) -> LogEntry:
    uptime_us = None if uptime_s is None else uptime_s * 10**6
    record = LogRecord("text", uptime_us=uptime_us, boot_id=boot_id)
    return LogEntry("a", NOW + at_s * NS, record, "", "files", trust)


@given(st.lists(lines, max_size=12), lines, st.lists(st.integers(0, 3000), max_size=4))
def test_a_line_of_its_boot_begins_none_and_neither_do_those_like_it(
    past: list[tuple[int, int | None, str, Trust]],
    line: tuple[int, int | None, str, Trust],
    later_s: list[int],
) -> None:
    boots = PastBoots()
    for each in past:
        boots.note("a", entry(*each))
    at_s, uptime_s, boot_id, trust = line

    if boots.is_in("a", entry(*line)):
        for after_s in [0, *sorted(later_s)]:
            uptime = None if uptime_s is None else uptime_s + after_s
            again = entry(at_s + after_s, uptime, boot_id, trust)
            assert boots.note("a", again) is None
            assert again.record.boot_id == boot_id
            assert boots.is_in("a", again)


def test_only_what_names_the_boot_of_the_node_is_of_it() -> None:
    boots = PastBoots()
    assert not boots.is_in("a", entry(10, 10, BOOT, Trust.KERNEL))
    boots.note("a", entry(10, 10, BOOT, Trust.KERNEL))

    assert boots.is_in("a", entry(20, 20, BOOT, Trust.KERNEL))
    assert not boots.is_in("a", entry(20, 20, OTHER_BOOT, Trust.KERNEL))
    assert not boots.is_in("a", entry(20, 20, "", Trust.KERNEL))
    assert not boots.is_in("a", entry(20, 20, BOOT, Trust.POD))
    assert not boots.is_in("b", entry(20, 20, BOOT, Trust.KERNEL))
