"""Who asks too often is refused; what is told is one printable line."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.agent.limits import Rate, RateLimits
from probes.agent.log import JsonLog, LibraryLog
from probes.agent.refusals import CODES, Refusal
from tests.support.agent import FakeClock, LogLines


def admitted(limits: RateLimits, client: str, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            limits.admit("/x", client)
        except Refusal:
            continue
        count += 1
    return count


def limits_of(clock: FakeClock) -> RateLimits:
    return RateLimits(clock.monotonic, {"/x": Rate(5, 0.5)})


def test_one_that_asks_without_end_is_refused_and_others_are_not() -> None:
    limits = limits_of(FakeClock())
    assert admitted(limits, "10.0.0.1", 50) == 5
    assert admitted(limits, "10.0.0.2", 1) == 1


def test_it_is_told_when_to_come_again_and_is_admitted_then() -> None:
    clock = FakeClock()
    limits = limits_of(clock)
    admitted(limits, "a", 5)
    with pytest.raises(Refusal) as refused:
        limits.admit("/x", "a")
    assert refused.value.status == 429
    clock.seconds += int(refused.value.headers["Retry-After"])
    limits.admit("/x", "a")


@given(st.lists(st.floats(0, 10), max_size=200))
def test_no_more_than_the_rate_is_admitted(pauses: list[float]) -> None:
    clock = FakeClock()
    limits, count = limits_of(clock), 0
    for pause in pauses:
        clock.seconds += pause
        count += admitted(limits, "a", 1)
    assert count <= 5 + 0.5 * sum(pauses) + 1e-6


def test_a_path_without_a_rate_is_always_admitted() -> None:
    limits = limits_of(FakeClock())
    for _ in range(1000):
        limits.admit("/healthz", "a")


def test_very_many_addresses_take_bounded_memory() -> None:
    limits = limits_of(FakeClock())
    for number in range(5000):
        limits.admit("/x", str(number))
    assert len(limits._buckets) <= 1024


# ---------------------------------------------------------------- log


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_message() -> None:
    stream = io.StringIO()
    JsonLog(stream, FakeClock()).info("run ended", run="r1", seconds=1.5, bad=None, ok=True)
    assert lines(stream) == [
        {
            "time": "2027-01-15T08:16:40.000000Z", "level": "info", "message": "run ended",
            "run": "r1", "seconds": 1.5, "bad": None, "ok": True,
        }
    ]  # fmt: skip


@given(st.text(max_size=2000))
def test_hostile_text_is_one_bounded_printable_line(text: str) -> None:
    stream = io.StringIO()
    JsonLog(stream, FakeClock()).info("x", why=text, number=text)
    assert stream.getvalue().count("\n") == 1
    told = str(lines(stream)[0]["why"])
    assert len(told) <= 512
    assert told.isprintable()


def test_the_same_trouble_is_told_once_a_minute_with_its_count() -> None:
    stream, clock = io.StringIO(), FakeClock()
    log = JsonLog(stream, clock)
    for _ in range(10):
        log.warning("trouble", why="x")
    clock.seconds += 61
    log.warning("trouble", why="y")
    assert [(line["why"], line.get("repeated")) for line in lines(stream)] == [
        ("x", None),
        ("y", 9),
    ]


def test_a_level_leaves_out_what_is_below_it() -> None:
    stream = io.StringIO()
    log = JsonLog(stream, FakeClock(), level="warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.failed("d")
    assert [line["message"] for line in lines(stream)] == ["c", "d"]


def test_a_stream_that_is_closed_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    JsonLog(stream, FakeClock()).info("x")


def test_what_the_http_server_says_is_told_without_a_traceback() -> None:
    log = LogLines()
    logger = logging.Logger("x")
    logger.addHandler(LibraryLog(log))
    logger.error("Exception in ASGI application", exc_info=ValueError("bad"))
    logger.warning("Invalid HTTP request received.")
    logger.info("nothing")
    assert [(level, more) for level, _, more in log.lines] == [
        ("error", {"said": "Exception in ASGI application", "why": "ValueError: bad"}),
        ("warning", {"said": "Invalid HTTP request received."}),
    ]


@given(st.sampled_from(sorted(CODES)), st.text(max_size=900), st.text(max_size=900))
def test_a_refusal_is_bounded_json(code: str, message: str, hint: str) -> None:
    refusal = Refusal(code, message, hint)
    told = json.loads(refusal.body())["error"]
    assert told["code"] == code
    assert refusal.status == CODES[code][0]
    assert all(len(told[name]) <= 512 and told[name].isprintable() for name in ("message", "hint"))
