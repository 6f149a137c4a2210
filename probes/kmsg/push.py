"""How do queued lines get into Loki, whatever Loki does?

One batch at a time, sent until Loki takes it, so order holds and nothing is lost:

=======================  ====================================================================
no answer, 429, 5xx      again after exponential back-off with jitter, or ``Retry-After``
400 too old, too far     the lines are stamped anew with the present (their event time stays
behind, too new          in the JSON), and sent again
413, message too large   half as much at a time, from then on
other 3xx, 4xx           logged once a minute, tried again: the configuration may be mended
=======================  ====================================================================
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from probes.kmsg.loki import Answer
from probes.kmsg.outbox import Entry, Outbox

#: Loki's gateways commonly refuse bodies over 1 MiB.
MAX_BATCH_BYTES = 1_000_000
#: Least time between pushes, seconds: what collects meanwhile goes together.
PUSH_INTERVAL_S = 0.2
#: Loki takes entries up to ten minutes in the future; this is well within.
_CLOCKS_AGREE_NS = 60 * 1_000_000_000

_WRONG_TIME = re.compile(r"too far behind|timestamp too old|timestamp too new", re.I)
_OLDEST = re.compile(
    r"oldest acceptable timestamp is: (\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))"
)
_TOO_LARGE = re.compile(r"ResourceExhausted|larger than max|too large", re.I)


class Transport(Protocol):
    """Sends one body."""

    def post(self, body: bytes) -> Answer:
        """Never raises; status 0 when there was no answer."""
        ...

    def close(self) -> None:
        """Close what is open; a later post opens it again."""
        ...


class Backoff:
    """Seconds until the next try: doubling from ``first`` to ``cap``, with jitter."""

    def __init__(self, first: float = 0.25, cap: float = 15.0, rng: random.Random | None = None):
        self._first = first
        self._cap = cap
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._failures = 0

    def reset(self) -> None:
        """It worked: start from the beginning next time."""
        self._failures = 0

    def next(self, retry_after: float | None) -> float:
        """At least ``retry_after`` (at most 5 minutes of it), plus jitter."""
        ceiling = min(self._cap, self._first * 2 ** min(self._failures, 16))
        self._failures += 1
        if retry_after is not None:
            return min(retry_after, 300.0) + self._rng.uniform(0, self._first)
        return self._rng.uniform(ceiling / 2, ceiling)


class Pusher:
    """Empties an outbox into Loki. ``run`` belongs on a thread of its own."""

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        labels: Mapping[str, str],
        *,
        log: Callable[[str], None],
        backoff: Backoff | None = None,
        interval_s: float = PUSH_INTERVAL_S,
        now_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._head = b'{"streams":[{"stream":' + json.dumps(dict(labels)).encode() + b',"values":['
        self._log = log
        self._backoff = backoff or Backoff()
        self._interval_s = interval_s
        self._now_ns = now_ns
        self._monotonic = monotonic
        self._max_bytes = MAX_BATCH_BYTES

    def run(self) -> None:
        """Push until the outbox is closed and empty, or its time to close is over."""
        try:
            self._run()
        finally:
            self._transport.close()

    def _run(self) -> None:
        while True:
            try:
                return self._empty()
            except Exception as error:  # a thread that died would stop the node's log silently
                self._log(f"push broke, trying again: {type(error).__name__}: {error}")
                self._outbox.pause(self._backoff.next(None))
                if self._outbox.given_up():
                    return None

    def _empty(self) -> None:
        while batch := self._outbox.batch(self._max_bytes):
            began = self._monotonic()
            if not self._deliver(batch):
                if self._outbox.given_up():
                    return
                continue
            self._outbox.pause(began + self._interval_s - self._monotonic())

    def _deliver(self, batch: list[Entry]) -> bool:
        """Send one batch until Loki has it; False to take another (smaller), or to give up."""
        restamped = False
        while not self._outbox.given_up():
            answer = self._transport.post(self._body(batch))
            if 200 <= answer.status < 300:
                self._outbox.acknowledge(len(batch))
                self._backoff.reset()
                return True
            if answer.status == 400 and _WRONG_TIME.search(answer.text) and not restamped:
                batch = self._restamp(batch, answer)
                restamped = True
                continue
            self._log(f"push failed, trying again: {_describe(answer)}")
            self._outbox.pause(self._backoff.next(answer.retry_after_s))
            if len(batch) > 1 and _is_too_large(answer):
                self._max_bytes = sum(entry.cost for entry in batch) // 2
                return False
            restamped = False
        return False

    def _body(self, batch: list[Entry]) -> bytes:
        values = b",".join(b'["%d",%b]' % (entry.time_ns, entry.quoted) for entry in batch)
        return self._head + values + b"]}]}"

    def _restamp(self, batch: list[Entry], answer: Answer) -> list[Entry]:
        """Give the entries that Loki refuses the present time; it has the others already.

        Loki stores the good entries of a refused push; sent again unchanged they are dropped
        as duplicates. The server's clock is the one that judges, so ours counts only while
        they agree (the server's is told in whole seconds).
        """
        now = self._now_ns()
        if answer.date_ns is not None and abs(answer.date_ns - now) > _CLOCKS_AGREE_NS:
            now = answer.date_ns
        oldest = max((_unix_ns(stamp) for stamp in _OLDEST.findall(answer.text)), default=None)
        self._log(f"old records are pushed with the present time: {_describe(answer)}")
        return [
            entry
            if oldest is not None and oldest < entry.time_ns <= now + _CLOCKS_AGREE_NS
            else entry._replace(time_ns=now + index)
            for index, entry in enumerate(batch)
        ]


def _is_too_large(answer: Answer) -> bool:
    return answer.status == 413 or (answer.status >= 500 and bool(_TOO_LARGE.search(answer.text)))


def _describe(answer: Answer) -> str:
    text = answer.text[:300]
    return text if answer.status == 0 else f"Loki answered {answer.status}: {text}"


def _unix_ns(stamp: str) -> int:
    """The next full second after an RFC 3339 stamp: Loki prints seconds only.

    A stamp that cannot be read counts as the far future: then all entries are old.
    """
    try:
        seconds = datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 1 << 63
    return (int(seconds) + 1) * 1_000_000_000
