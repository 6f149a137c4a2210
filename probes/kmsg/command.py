"""What does ``konduktor-probe kmsg`` do with its options?

Wires ring, follower, stdout and push together, and unties them on SIGTERM: flush for up to
two seconds, save the position of the last delivered record, end.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from probes.kmsg.follow import Follower
from probes.kmsg.hostclock import HostClocks, PrintkClock
from probes.kmsg.outbox import Outbox
from probes.kmsg.output import BothSinks, LineFormat, OutputClosed, Sink, StdoutSink
from probes.kmsg.position import Position, PositionFile
from probes.kmsg.ring import KmsgDevice, RingCursor, RingError
from probes.kmsg.waiting import Waker

BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"
FLUSH_S = 2.0  # after SIGTERM
FLUSH_ONCE_S = 10.0  # with --once


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Where to push. Empty strings mean: not given."""

    url: str
    tenant: str = ""
    token_file: str = ""
    ca_file: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    buffer_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KmsgOptions:
    """All options of the command."""

    node: str
    device: str = "/dev/kmsg"
    state: str = ""  # position file; empty: none
    from_start: bool = False
    once: bool = False
    stdout: bool = True
    heartbeat_s: float = 60.0
    push: PushOptions | None = None
    boot_id_path: str = BOOT_ID_PATH


class StderrLog:
    """Single lines on stderr; the same complaint at most once a minute."""

    def __init__(self, interval_s: float = 60.0) -> None:
        self._interval_s = interval_s
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        """Write one line. What stands before the first colon, numbers aside, is the topic."""
        topic = re.sub(r"\d+", "#", text.split(":", 1)[0])[:80]
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(topic, -self._interval_s) < self._interval_s:
                return
            if len(self._last) > 100:
                self._last.clear()
            self._last[topic] = now
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"konduktor-probe kmsg: {text}\n")
                sys.stderr.flush()


def run(options: KmsgOptions) -> int:
    """Run the command; returns its exit code (0 done or stopped, 1 cannot work)."""
    log = StderrLog()
    waker = Waker()
    try:
        with _stop_on_signals(waker):
            return _follow(options, waker, log)
    except (RingError, OSError) as error:
        log(str(error))
        return 1


def _follow(options: KmsgOptions, waker: Waker, log: StderrLog) -> int:
    boot_id = read_boot_id(options.boot_id_path)
    positions = PositionFile(options.state) if options.state and not options.once else None
    resume = None if positions is None else positions.start_after(boot_id)
    from_ring_start = options.once or options.from_start
    cursor = RingCursor(lambda: KmsgDevice(options.device), None if from_ring_start else resume)
    clock = PrintkClock(HostClocks())

    def save(seq: int) -> None:
        if positions is None:
            return
        try:
            positions.save(Position(boot_id, seq))
        except OSError as error:
            log(f"cannot save the position: {error}")

    with _sinks(options, waker, log) as sink:
        follower = Follower(
            cursor,
            LineFormat(boot_id, options.node, clock),
            sink,
            clock=clock,
            waker=waker,
            save=save,
            log=log,
            heartbeat_s=options.heartbeat_s,
        )
        if cursor.last is None and not from_ring_start:
            follower.skip_to_now()
        closed = _run_until_closed(follower, once=options.once)
    follower.save_position()
    cursor.close()
    if closed is not None and not isinstance(closed.__cause__, BrokenPipeError):
        log(str(closed))  # a full disk; a reader that has gone (head) is no failure
        return 1
    if options.once and options.push is not None and sink.delivered() != cursor.last:
        log("not everything could be pushed")
        return 1
    return 0


def _run_until_closed(follower: Follower, *, once: bool) -> OutputClosed | None:
    try:
        follower.run(once=once)
    except OutputClosed as closed:
        return closed
    return None


@contextlib.contextmanager
def _sinks(options: KmsgOptions, waker: Waker, log: StderrLog) -> Iterator[Sink]:
    """Stdout, the push, or both; the push is flushed at the end."""
    if options.push is None:
        yield _stdout(waker)
        return
    # A node that does not push need not load an HTTP client.
    from probes.kmsg.loki import LokiConnection, PushTarget
    from probes.kmsg.push import Pusher

    push = options.push
    outbox = Outbox(push.buffer_bytes, on_room=waker.wake)
    target = PushTarget(push.url, push.tenant, push.token_file, push.ca_file)
    labels = {"job": "konduktor-kmsg", "node": options.node, **push.labels}
    pusher = Pusher(outbox, LokiConnection(target), labels, log=log)
    thread = threading.Thread(target=pusher.run, name="push", daemon=True)
    thread.start()
    try:
        yield BothSinks(_stdout(waker), outbox, log) if options.stdout else outbox
    finally:
        flush_s = FLUSH_ONCE_S if options.once and not waker.stopping else FLUSH_S
        outbox.close(flush_s)
        thread.join(flush_s)


def _stdout(waker: Waker) -> StdoutSink:
    if sys.stdout is None:  # closed by whoever started us; its number may be another file now
        raise OSError("standard output is closed")
    return StdoutSink(sys.stdout.fileno(), waker)


@contextlib.contextmanager
def _stop_on_signals(waker: Waker) -> Iterator[None]:
    """SIGTERM and SIGINT stop the waker; a vanished reader is an error of write, no signal."""
    stops = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in (*stops, signal.SIGPIPE)}
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in stops:
        signal.signal(number, lambda *_: waker.stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_boot_id(path: str = BOOT_ID_PATH) -> str:
    """Lower-case hex without dashes. Raises OSError: there is none."""
    with open(path, encoding="ascii", errors="replace") as file:
        value = file.read(100).strip().replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise OSError(f"{path} holds no boot id")
    return value


def node_name() -> str:
    """NODE_NAME (the downward API sets it in a pod), else the host name."""
    return os.environ.get("NODE_NAME") or os.uname().nodename
