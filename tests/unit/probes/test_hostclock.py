from __future__ import annotations

from probes.kmsg.hostclock import PrintkClock, rfc3339_micro
from tests.support.kmsg import BOOT_NS, FakeClocks


def test_event_time_is_boot_time_plus_uptime() -> None:
    clocks = FakeClocks()
    clocks.uptime_s = 500.0

    assert PrintkClock(clocks).event_ns(100_000_000) == BOOT_NS + 100 * 10**9


def test_a_printk_clock_that_fell_behind_is_noticed_on_two_live_records() -> None:
    clocks = FakeClocks()
    clock = PrintkClock(clocks)
    clocks.uptime_s = 1000.0
    clock.seen_live(970_000_000)
    assert clock.boot_ns() == BOOT_NS
    clocks.uptime_s = 1010.0
    clock.seen_live(980_000_000)

    assert clock.event_ns(980_000_000) == BOOT_NS + 1010 * 10**9
    assert clock.uptime_us() == 980_000_000


def test_one_late_wake_up_is_no_skew() -> None:
    clocks = FakeClocks()
    clock = PrintkClock(clocks)
    clocks.uptime_s = 1000.0
    clock.seen_live(970_000_000)
    clock.seen_live(999_999_000)
    clock.seen_live(970_000_000)

    assert clock.boot_ns() == BOOT_NS


def test_a_printk_clock_that_runs_ahead_is_followed_at_once() -> None:
    clocks = FakeClocks()
    clock = PrintkClock(clocks)
    clocks.uptime_s = 1000.0
    clock.seen_live(1_005_000_000)

    assert clock.event_ns(1_005_000_000) == BOOT_NS + 1000 * 10**9


def test_a_time_that_cannot_be_printed_is_the_epoch() -> None:
    assert rfc3339_micro(10**30) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339_micro(1_800_000_000_123_456_789) == "2027-01-15T08:00:00.123456Z"
