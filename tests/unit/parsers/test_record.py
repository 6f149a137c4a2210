from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parsers.record import LINE_LIMIT, LogRecord, unwrap
from parsers.wallclock import rfc3339_ns
from tests.support.wrapped_lines import BOOT, UPTIME_US, WRAPPERS, journald, kmsg_json

MESSAGE = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen \"off\""
TIME_NS = 1_795_323_600_123_456_000


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_comes_off_and_leaves_the_message(name: str) -> None:
    assert unwrap(WRAPPERS[name](MESSAGE)).text == MESSAGE


@pytest.mark.parametrize(
    "name",
    [
        "dmesg", "dmesg caller", "dmesg delta", "two stamps", "decode stamp", "kmsg",
        "kmsg caller", "priority", "syslog", "syslog iso", "kernel tag", "repeated", "cri",
        "docker", "kmsg json", "cri kmsg json", "docker kmsg json", "journald", "otlp dmesg",
        "otlp journald", "dmesg colours", "journal monotonic", "journal delta",
    ],
)  # fmt: skip
def test_uptime_is_the_same_from_every_shipper(name: str) -> None:
    record = unwrap(WRAPPERS[name](MESSAGE))

    assert (record.uptime_us, record.uptime_stamp) == (UPTIME_US, "538441.007373")


def test_padding_is_no_part_of_the_stamp() -> None:
    padded = unwrap("[    5.000001] x")
    plain = unwrap(f"6,1,{5_000_001},-;x")

    assert padded.uptime_stamp == plain.uptime_stamp == "5.000001"
    assert padded.uptime_us == plain.uptime_us == 5_000_001


def test_a_human_stamp_tells_neither_uptime_nor_a_time_without_zone() -> None:
    record = unwrap("[Sun Jun 29 19:20:26 2025] x")

    assert (record.text, record.uptime_us, record.time_ns) == ("x", None, None)


@pytest.mark.parametrize(
    ("line", "facility", "priority"),
    [
        ("4,1,2,-;x", 0, 4),
        ("12,1,2,-;x", 1, 4),
        ("<3>[1.5] x", 0, 3),
        ("<30>[1.5] x", 3, 6),
        ("kern  :err   : [1.5] x", 0, 3),
        ("user  :notice: [1.5] x", 1, 5),
        (kmsg_json("x", facility=1, priority=2), 1, 2),
        (journald("x"), 0, 4),
        (journald("x", SYSLOG_FACILITY="1"), 1, 4),
        ("[1.5] x", None, None),
        ("[1.5] <0>x", None, None),
    ],
)
def test_facility_and_level_are_what_the_outer_wrapper_says(
    line: str, facility: int | None, priority: int | None
) -> None:
    record = unwrap(line)

    assert (record.facility, record.priority) == (facility, priority)


@pytest.mark.parametrize(
    "line",
    [
        journald("NVRM: x", _TRANSPORT="syslog"),
        journald("NVRM: x", _TRANSPORT="stdout"),
        journald("NVRM: x", _TRANSPORT=None, _PID="7"),
        journald("NVRM: x", _TRANSPORT=None, SYSLOG_IDENTIFIER="logger"),
    ],
)
def test_a_journal_record_of_a_program_never_passes_for_the_kernel(line: str) -> None:
    record = unwrap(line)

    assert record.foreign
    assert record.facility != 0


def test_what_a_kernel_message_contains_is_no_wrapper_of_ours() -> None:
    forged = kmsg_json("NVRM: x", boot_id="f" * 32, node="other")

    record = unwrap(f"[1.5] {forged}")

    assert (record.boot_id, record.hostname, record.text) == ("", "", forged)


@pytest.mark.parametrize("name", ["journal precise", "journal full", "journal unix"])
def test_the_short_forms_of_journalctl_name_the_host(name: str) -> None:
    record = unwrap(WRAPPERS[name](MESSAGE))

    assert record.hostname == "gpu-7"
    assert (record.time_ns or TIME_NS) // 10**9 == TIME_NS // 10**9


def test_a_stamp_in_an_unknown_zone_tells_no_time() -> None:
    assert unwrap(WRAPPERS["journal full, local"](MESSAGE)).time_ns is None


def test_a_host_behind_the_kernels_stamp_is_no_node() -> None:
    """A program may have written it there, to accuse another node."""
    assert unwrap(f"[1.5] other kernel: {MESSAGE}").hostname == ""
    for sealed in (kmsg_json(f"[1.5] other kernel: {MESSAGE}"), f"4,1,2,-;x kernel: {MESSAGE}"):
        record = unwrap(sealed)
        assert record.hostname in ("gpu-7", "")
        assert record.text.startswith(("other kernel:", "x kernel:"))


@pytest.mark.parametrize(
    "line",
    ["12.5 h kernel: x", "Sun 2026-11-22 05:00:00 h kernel: x", "1795323600.123456 h app[1]: x",
     "Sun 2026-11-22 05:00:00 UTC h app: x", "Jun 29 19:20:26.5 h app[7]: x"],
)  # fmt: skip
def test_what_only_looks_like_journalctl_stays_as_it_is(line: str) -> None:
    assert unwrap(line) == LogRecord(line)


def test_an_inner_priority_does_not_replace_the_outer_one() -> None:
    record = unwrap(kmsg_json("[9.9] <0>NVRM: x", facility=1))

    assert (record.facility, record.text, record.uptime_us) == (1, "<0>NVRM: x", UPTIME_US)


def test_a_line_of_our_forwarder_tells_everything() -> None:
    assert unwrap(kmsg_json("hello")) == LogRecord(
        text="hello", uptime_us=UPTIME_US, uptime_stamp="538441.007373", boot_id=BOOT,
        sequence=123, facility=0, priority=4, time_ns=TIME_NS, hostname="gpu-7",
    )  # fmt: skip


def test_heartbeat_and_missed_lines_are_no_kernel_records() -> None:
    beat = json.loads(kmsg_json("konduktor-health heartbeat", kind="heartbeat"))
    del beat["facility"], beat["priority"]
    heartbeat = unwrap(json.dumps(beat))
    missed = unwrap(kmsg_json("", kind="missed", missed=17))

    assert (heartbeat.heartbeat, heartbeat.missed, heartbeat.facility) == (True, 0, None)
    assert (missed.heartbeat, missed.missed, missed.boot_id) == (False, 17, BOOT)


def test_a_journal_message_may_be_an_array_of_bytes() -> None:
    hostile = b"NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=\xff\xfe, Ch 00000008"

    assert unwrap(journald(list(hostile))).text.startswith("NVRM: Xid (PCI:0000:3b:00): 31, pid=1")


def test_repetition_is_counted_and_taken_off() -> None:
    record = unwrap("Jun 29 19:20:26 h kernel: message repeated 12 times: [ [1.5] NVRM: x [y]]")

    assert (record.repeated, record.text, record.uptime_us) == (12, "NVRM: x [y]", 1_500_000)


def test_the_innermost_time_is_the_events() -> None:
    line = f"2026-11-22T07:00:00.5Z stdout F {kmsg_json('x')}"

    assert unwrap(line).time_ns == TIME_NS


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-22T05:00:00.123456Z", TIME_NS),
        ("2026-11-22T06:30:00,123456+01:30", TIME_NS),
        ("2026-11-22T00:00:00.123456-0500", TIME_NS),
        ("2026-11-22T05:00:00.123456", None),
        ("2026-02-30T05:00:00Z", None),
    ],
)
def test_only_a_time_with_a_zone_counts(stamp: str, expected: int | None) -> None:
    assert unwrap(f"kern  :warn  : {stamp} x").time_ns == expected


@given(
    st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds")),
    st.sampled_from(["Z", "+00:00", "-23:59", "+14:00", "+01:30", "-05:45"]),
)
@example("9999-12-31T23:59:59.999999", "+00:00")
@example("9999-12-31T23:59:59.999999", "-00:01")
@example("2000-02-29T00:00:00.000000", "-23:59")
def test_a_time_is_what_the_calendar_says(moment: str, zone: str) -> None:
    text = moment + zone
    try:
        told = datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        assert rfc3339_ns(text) is None
    else:
        whole = told.days * 86_400 + told.seconds
        assert rfc3339_ns(text) == whole * 1_000_000_000 + told.microseconds * 1000


@pytest.mark.parametrize(
    "text",
    ["0000-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z",
     "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "0001-01-01T00:00:00+00:01",
     "9999-12-31T23:59:59-00:01"],
)  # fmt: skip
def test_what_no_calendar_has_is_no_time(text: str) -> None:
    assert rfc3339_ns(text) is None


def test_a_leap_second_is_the_second_before_it() -> None:
    assert rfc3339_ns("2016-12-31T23:59:60Z") == rfc3339_ns("2016-12-31T23:59:59Z")


def test_another_programs_syslog_line_stays_as_it_is() -> None:
    line = "Jun 29 19:20:26 gpu-7 logger: NVRM: Xid (PCI:0000:3b:00): 79"

    assert unwrap(line).text == line


def test_control_characters_never_join_what_they_separated() -> None:
    assert "Xid (" not in unwrap("NVRM: X\x00id (PCI:0000:3b:00): 79").text
    assert "Xid (" not in unwrap("NVRM: X\x1b[0mid (PCI:0000:3b:00): 79").text
    assert unwrap("NVRM: a\x07b\u202ec\ud800d").text == "NVRM: a\ufffdb\ufffdc\ufffdd"


def test_the_kernels_escapes_are_decoded_except_where_they_could_hide_a_word() -> None:
    record = unwrap(r"4,1,2,-;name=caf\xc3\xa9\x5c \x58id (")

    assert record.text == "name=café\\ \\x58id ("


def test_a_json_line_that_hides_words_is_not_read() -> None:
    hidden = kmsg_json("NVRM: Xid (x").replace("Xid", r"\u0058id")
    named = kmsg_json(r"NVRM: Xid (x): 79, name=\u0058id")

    assert unwrap(hidden).text == hidden
    assert unwrap(named).text == r"NVRM: Xid (x): 79, name=\u0058id"


def test_a_long_line_is_cut() -> None:
    assert len(unwrap("x" * (LINE_LIMIT + 5)).text) == LINE_LIMIT


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "{}", "[", "[]", "<>", "<4>", "4,", "4,1,2,-;", '{"MESSAGE":[300]}',
        "[" * 70_000,
        "{" + '"a":{' * 30_000, '{"body":' * 500 + "1" + "}" * 500, '{"a":' + "9" * 9000 + "}",
        '{"konduktor":"kmsg","uptime_us":-5,"text":7,"boot_id":[],"facility":"x","time":3}',
        '{"resourceLogs":[1,{"scopeLogs":3},{"scopeLogs":[{"logRecords":[2]}]}]}',
        "2026-99-99T99:99:99Z x", "9999-12-31T23:59:59-23:59 x", "\ud800",
        "message repeated 0 times: [ ",
    ],
)  # fmt: skip
def test_odd_lines_do_no_harm(line: str) -> None:
    assert isinstance(unwrap(line).text, str)


@pytest.mark.parametrize("host", ["a\x1b[31mb\x07", "a\u202eb", "a\ud800", "a\nb"])
def test_a_host_name_is_printable_text(host: str) -> None:
    line = json.dumps({"MESSAGE": MESSAGE, "_TRANSPORT": "kernel", "_HOSTNAME": host})

    assert unwrap(line).hostname.isprintable()


def test_an_escape_of_the_kernel_inside_json_does_not_hide_the_message() -> None:
    said = r"NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=a\x0ab, GPU has fallen off the bus."
    for line in (json.dumps({"MESSAGE": said, "_TRANSPORT": "kernel"}), json.dumps({"log": said})):
        text = unwrap(line).text

        assert text.startswith("NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=a")
        assert "\n" not in text
        assert r"\x0a" not in text
