"""Answers that Loki loses are got in smaller pieces; an outage leaves no trace in the sizes."""

from __future__ import annotations

import pytest

from konduktor_health.adapters.loki.answers import Page
from konduktor_health.adapters.loki.portion import FIRST_LINES, TARGET_BYTES, Portion
from konduktor_health.adapters.loki.refusals import AnswerLost, Unreachable
from konduktor_health.clock import NS
from konduktor_health.errors import HealthError, LokiUnavailable
from konduktor_health.ports import Poll
from tests.support.loki_world import World
from tests.support.memory_loki import line

MESSAGE = 4 * 1024 * 1024
Sized = list[tuple[int, int]]  # (how many, characters)


def world_of(sizes: Sized) -> tuple[World, list[str]]:
    """A source with lines of these lengths in the last minutes, in this order."""
    world = World(page_lines=5000)
    world.loki.most_answer_bytes = MESSAGE
    lengths = [length for count, length in sizes for _ in range(count)]
    texts = [f"{number:06d}".ljust(length, "x") for number, length in enumerate(lengths)]
    step = 600 / len(texts)
    world.loki.put(*(line(world.ago(700 - i * step), text) for i, text in enumerate(texts)))
    return world, texts


def read_all(world: World, wanted: int, within_s: float) -> tuple[list[str], list[Poll]]:
    """Poll until so many lines came; the seconds are those of the source's clock."""
    began_s = world.clock.monotonic()
    found: list[str] = []
    polls: list[Poll] = []
    while len(found) < wanted:
        poll = world.source.poll()
        if not polls or poll.status is not polls[-1].status:  # else it was not due
            polls.append(poll)
        found += [entry.record.text for entry in poll.entries]
        world.clock.advance(0.0 if poll.more else 1.0)
        assert world.clock.monotonic() - began_s <= within_s, f"{len(found)} of {wanted}"
    return found, polls


@pytest.mark.parametrize(
    ("sizes", "within_s", "lost"),
    [
        ([(12_000, 1000)], 1, 0),  # journald's JSON: a page of 5,000 would be lost
        ([(1_100, 12_000)], 20, 1),  # the first page already
        ([(70, 200_000)], 60, 3),
        ([(7_500, 150), (1_200, 6_000), (500, 150)], 60, 3),  # a page of short ones, then long
    ],
)
def test_lines_of_any_length_are_read_soon_and_completely(
    sizes: Sized, within_s: float, lost: int
) -> None:
    world, texts = world_of(sizes)
    found, polls = read_all(world, len(texts), within_s)
    assert sorted(text[:6] for text in found) == [text[:6] for text in texts]
    assert sum(not poll.status.ok for poll in polls) <= lost


def test_a_lost_answer_is_a_gap_and_a_status_until_it_was_got() -> None:
    world, texts = world_of([(1100, 12_000)])
    world.clock.advance(1)
    poll = world.source.poll()
    assert poll.entries == ()
    assert not poll.status.ok
    assert [gap.reason for gap in poll.status.gaps] == ["unavailable"]
    _, polls = read_all(world, len(texts), 30)
    assert polls[-1].status.ok
    assert polls[-1].status.gaps == ()


def test_a_poll_of_a_loki_that_hangs_ends_after_its_budget_one_wait_and_a_probe() -> None:
    world, texts = world_of([(10, 100)])
    world.loki.slow_s = 1000.0
    for _ in range(20):
        began_s = world.clock.monotonic()
        world.source.poll()
        assert world.clock.monotonic() - began_s <= 10 + 65 + 10
        world.clock.advance(60)
    world.loki.slow_s = 0.0
    assert read_all(world, 10, 70)[0] == texts


def test_a_slow_loki_is_waited_for_longer_and_longer() -> None:
    world, texts = world_of([(5000, 100)])
    world.loki.slow_s = 25.0
    found, _ = read_all(world, len(texts), 600)
    assert sorted(found) == texts


@pytest.mark.parametrize(
    "error", [Unreachable("refused"), LokiUnavailable("503"), AnswerLost("hung")]
)
def test_after_an_outage_pages_are_soon_as_large_as_before(error: HealthError) -> None:
    world, _ = world_of([(10, 100)])
    read_all(world, 10, 5)
    world.loki.fail = error
    world.polls(3600, 60)
    world.loki.fail = None
    world.polls(60, 60)
    world.loki.put(*(line(world.ago(10) + i, f"{i}") for i in range(6_000)))
    asked = len(world.loki.queries)
    assert len(read_all(world, 6_000, 5)[0]) == 6_000
    assert len(world.loki.queries) - asked <= 20


def test_a_line_that_cannot_be_got_at_all_is_a_gap_and_blocks_nothing() -> None:
    world, texts = world_of([(50, 1000), (1, MESSAGE + 1), (50, 1000)])
    found, polls = read_all(world, 100, 900)
    assert sorted(found) == [text for text in texts if len(text) == 1000]
    assert any("limit_saturated" in [g.reason for g in p.status.gaps] for p in polls)


def test_a_window_that_always_fails_is_a_gap_and_blocks_nothing() -> None:
    world, texts = world_of([(600, 10)])
    world.loki.broken_ns = (world.ago(400), world.ago(350))
    found, polls = read_all(world, 450, 1800)
    assert len(found) >= 450, "what is outside of the window and less than its length behind it"
    (gap,) = [g for g in polls[-1].status.gaps if g.reason == "limit_saturated"]
    assert gap.start_ns <= world.loki.broken_ns[0]
    assert gap.end_ns >= world.loki.broken_ns[1]
    world.loki.broken_ns = None
    world.loki.lost_after_s = 0.0
    rest: list[str] = []
    while len(found) + len(rest) < len(texts):
        rest += world.polls(600, 60)
    assert sorted([*found, *rest]) == texts, "found by the bands once it can be read"
    world.polls(3700, 60)
    assert world.source.poll().status.gaps == ()


def test_a_past_that_cannot_be_read_does_not_delay_the_present() -> None:
    world = World(first_lookback_s=20_000)
    world.loki.broken_ns = (world.ago(9000), world.ago(8900))
    world.source.restore(
        {"v": 1, "cursor": world.ago(60), "floor": world.ago(20_000), "deep": world.ago(3590)}
    )
    world.polls(60, 1.0)
    for number in range(600):
        world.loki.put(line(world.ago(0), f"new {number}"))
        world.clock.advance(1.0)
        poll = world.source.poll()
        assert [entry.record.text for entry in poll.entries] == [f"new {number}"]
        assert poll.status.ok
    assert any("!=" in query for query, _, _ in world.loki.queries), "the past was tried"


def test_a_page_is_sized_by_what_lines_took_and_never_leaps() -> None:
    portion = Portion()
    assert portion.lines(5000) == FIRST_LINES
    small = [line(i, "x") for i in range(1000)]
    portion.answered(Page(tuple(small), 1000, answer_bytes=100_000))
    assert portion.lines(5000) == 2000
    portion.answered(Page(tuple(small[:100]), 2000, answer_bytes=1_000_000))
    assert portion.lines(5000) == TARGET_BYTES // 10_000
    for _ in range(50):
        portion.answered(Page(tuple(small), 1000, answer_bytes=100_000))
    assert portion.lines(5000) > 1500, "short lines count again, by and by"


def test_a_window_shrinks_to_a_second_and_the_page_to_two_lines() -> None:
    portion = Portion()
    tries = 0
    while portion.lines(5000) and portion.shrink(AnswerLost("x"), portion.window_ns):
        tries += 1
    assert (portion.lines(5000), portion.window_ns, tries) == (2, NS, 10)
