from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from probes.kmsg.output import BothSinks, Line, OutputClosed, StdoutSink
from probes.kmsg.waiting import Waker
from tests.support.kmsg import CollectingSink

BIG = Line("x" * 200_000, 0, 7)  # more than a pipe holds


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_line_is_written_at_once_and_whole(waker: Waker, pipe: tuple[int, int]) -> None:
    sink = StdoutSink(pipe[1], waker)
    sink.put(Line('{"a":"é"}', 0, 3))

    assert os.read(pipe[0], 100) == '{"a":"é"}\n'.encode()
    assert sink.delivered() == 3


def test_a_slow_reader_gets_everything(waker: Waker, pipe: tuple[int, int]) -> None:
    received = bytearray()

    def read_all() -> None:
        while len(received) < len(BIG.text) + 1:
            received.extend(os.read(pipe[0], 5000))

    reader = threading.Thread(target=read_all)
    reader.start()
    sink = StdoutSink(pipe[1], waker)
    sink.put(BIG)
    reader.join(5)

    assert received == BIG.text.encode() + b"\n"
    assert sink.delivered() == BIG.seq


def test_a_reader_that_does_not_read_cannot_hold_up_the_end(
    waker: Waker, pipe: tuple[int, int]
) -> None:
    sink = StdoutSink(pipe[1], waker)
    sink.put(Line("first", 0, 1))
    threading.Timer(0.05, waker.stop).start()

    sink.put(BIG)
    os.read(pipe[0], 1 << 20)
    sink.put(Line("after the cut line", 0, 8))

    assert sink.delivered() == 1


def test_a_reader_that_has_gone_is_told_from_one_that_waits(
    waker: Waker, pipe: tuple[int, int]
) -> None:
    os.close(pipe[0])

    with pytest.raises(OutputClosed):
        StdoutSink(pipe[1], waker).put(BIG)


def test_the_push_goes_on_when_stdout_has_gone(waker: Waker, pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    outbox = CollectingSink()
    log: list[str] = []
    both = BothSinks(StdoutSink(pipe[1], waker), outbox, log.append)

    both.put(Line("one", 0, 1))
    both.put(Line("two", 0, 2))

    assert [line.text for line in outbox.lines] == ["one", "two"]
    assert both.delivered() == 2
    assert len(log) == 1
