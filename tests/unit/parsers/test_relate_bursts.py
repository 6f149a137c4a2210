"""A burst of one line is looked at once and says what its lines would have said one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import relate
from parsers.fault import Fault, Remedy, Severity
from parsers.finding import Finding

T0 = 1_800_000_000 * 10**9
CODES = (13, 31, 45, 48, 63, 74, 79, 94, 154)
FATAL = {48, 79, 94}

Line = tuple[int, int, str, str, int]


def faults(lines: list[Line]) -> list[Fault]:
    made = []
    time_ns = T0
    for code, milliseconds, pid, boot_id, ahead_s in lines:
        time_ns += milliseconds * 10**6
        made.append(
            Fault(
                f"xid/{code}",
                Severity.FATAL if code in FATAL else Severity.APPLICATION,
                Remedy.RESET_GPU,
                "0000:3b:00",
                "gpu-1",
                time_ns=time_ns,
                uptime_us=(time_ns - T0) // 1000 + (500 + ahead_s) * 10**6,
                boot_id=boot_id,
                detail={"pid": pid, "to": "0"},
            )
        )
    return made


def said(stream: list[Fault]) -> list[list[Finding]]:
    relations = relate.Relations()
    found = [relations.feed(fault) for fault in stream]
    return [*found, relations.settle()]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CODES),
            st.sampled_from((0, 500, 3000, 12_000, 40_000, -1000)),
            st.sampled_from(("7", "8")),
            st.sampled_from(("a", "a", "a", "b")),
            st.sampled_from((0, 0, 0, 20, -200)),
        ),
        max_size=25,
    )
)
def test_what_is_put_off_is_not_lost(lines: list[Line]) -> None:
    doubled = [line for line in lines for line in (line, (line[0], 200, *line[2:]))]
    stream = faults(doubled)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relate, "_BURST_NS", -1)
        one_by_one = said(stream)

    assert said(stream) == one_by_one


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((31, 31, 48, 63)),
            st.sampled_from((3000, 40_000, 100_000, 170_000)),
            st.sampled_from(("", "", "8")),
            st.sampled_from(("a", "a", "a", "b")),
            st.sampled_from((0, 0, 0, 20, -200)),
        ),
        max_size=25,
    )
)
def test_a_long_burst_says_what_its_lines_would_have_said(lines: list[Line]) -> None:
    """In the order of time: as long as a burst of one job lasts, and longer."""
    stream = faults([line for line in lines for line in (line, (line[0], 200, *line[2:]))])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relate, "_BURST_NS", -1)
        one_by_one = said(stream)

    assert said(stream) == one_by_one
