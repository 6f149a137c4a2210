"""What is new in a log source? Cursor, re-reading bands and gaps over one Loki selector.

Each poll reads [cursor - overlap, now + 10 min); each minute from 10 minutes back; each hour
the last 6 hours (counted from the scan before), a window per poll; after an outage, what was
not readable and the hour before it. Invariants:
- The cursor moves only over what was read completely, and never past now.
- A failed read is a status that is not ok and a gap; poll() does not raise for it. Only what
  cannot be read while Loki answers otherwise is left out, with a gap (``paging``).
- A poll takes its budget, one page's time-out and a few short ones at most; reading the past
  again never fails the present, and delays it by its own short time-out at most.
- Nothing from before the floor (first start minus look-back) is read.
- An identity is handed out once per process, within the bounds of ``Seen``.
- A poll hands out a bounded number of entries; the rest is due at once.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

from konduktor_health.adapters.loki import gaps, progress
from konduktor_health.adapters.loki.answers import Page
from konduktor_health.adapters.loki.entries import Unwrap
from konduktor_health.adapters.loki.memory import Harvest, Memory
from konduktor_health.adapters.loki.pace import MAX_OVERLAP_S, Lag, Pace
from konduktor_health.adapters.loki.paging import Batch, Pager, RangeReader
from konduktor_health.adapters.loki.portion import HOUR_NS, PageSize, Portion
from konduktor_health.adapters.loki.presets import SourceSpec, for_cluster
from konduktor_health.adapters.loki.query import Query, containing, uncached
from konduktor_health.adapters.loki.verify import SelectorCheck, StreamFinder
from konduktor_health.clock import NS, Clock, rfc3339
from konduktor_health.errors import ConfigError, HealthError, LokiBusy, LokiRefused, excerpt
from konduktor_health.ports import Poll, SourceStatus
from konduktor_health.settings import ReadingSettings

if TYPE_CHECKING:
    from loguru import Logger  # a name of its type stubs only

AHEAD_NS = 600 * NS  # Loki takes lines up to 10 min in the future: nodes with fast clocks
_MINUTE_S = 60.0
_PAST_PATIENCE_S = 20.0  # the present waits meanwhile
_LATE_POLL_NS = 60 * NS  # a cursor further behind is catching up: ages of lines say nothing
_REMEMBER_GAPS_NS = 7 * 24 * HOUR_NS


class ReaderClient(RangeReader, StreamFinder, Protocol):
    """What a source asks of Loki; LokiClient is one."""


class LokiSource:
    """A LogSource over one selector. Not thread-safe."""

    def __init__(
        self,
        client: ReaderClient,
        spec: SourceSpec,
        reading: ReadingSettings,
        *,
        clock: Clock,
        literals: Sequence[str],
        unwrap: Unwrap,
        jitter: Callable[[], float] = random.random,
        most_entries: int = 10_000,
        budget_s: float = 10.0,
        tie_pages: int = 64,
    ) -> None:
        """``literals``: a line without any of them (and of spec.tidings) is not read.
        ``most_entries``, ``budget_s``: after so many entries or seconds a poll ends.
        Raises ConfigError for a cluster label that is no label name."""
        self.spec = for_cluster(spec, reading)
        self._reading = reading
        self._deep_ns = int(reading.deep_band_s * NS)
        self._clock = clock
        self._most_entries, self._budget_s = most_entries, budget_s
        self.ask_for(literals)
        self._memory = Memory(self.spec, unwrap)
        self._lag = Lag(reading.overlap_s)
        self._pace = Pace(reading.poll_interval_s, reading.bytes_per_minute, jitter=jitter)
        size = PageSize()
        self._pager = Pager(
            client,
            tie_pages=tie_pages,
            on_page=lambda page: self._count(page, again=False),
            portion=Portion(size),
        )
        self._past_pager = Pager(
            client,
            tie_pages=tie_pages,
            on_page=lambda page: self._count(page, again=True),
            portion=Portion(size, most_patience_s=_PAST_PATIENCE_S),
        )
        self._selector = SelectorCheck(client, self.spec, reading)
        self._progress: progress.Progress | None = None
        self._resume_ns: int | None = None  # a forward read stopped early: go on here
        self._minute_due_s: float | None = None
        self._charges: deque[int] = deque()
        self._notes = Notes(logger.bind(source=self.spec.name))
        self._status = SourceStatus(self.spec.name, ok=False, message="not read yet")

    @property
    def name(self) -> str:
        """The source's name."""
        return self.spec.name

    def ask_for(self, literals: Sequence[str]) -> None:
        """Read lines with these literals from the next read on. From any thread: a read takes one
        of the two queries, and each is replaced as a whole."""
        selector = Query(self.spec.selector)
        self._past = selector.then(containing(literals))
        self._recent = selector.then(containing((*literals, *self.spec.tidings)))

    def charge(self, scanned: int) -> None:
        """Loki scanned so many bytes for this source elsewhere. From any thread: they count from
        the next poll on, as bytes of the past, which waits while the bound is used up."""
        self._charges.append(scanned)

    def checkpoint(self) -> Mapping[str, Any]:
        """State for restore(); empty before the first poll."""
        return self._progress.to_json() if self._progress else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint before the first poll; a damaged one counts as none."""
        try:
            self._progress = progress.restored(state)
        except ValueError as error:
            if state:
                logger.bind(source=self.name).warning(f"stored cursor is damaged ({error}): lost")
            self._progress = None
            return
        now_ns = self._clock.now_ns()
        self._progress.cursor_ns = min(self._progress.cursor_ns, now_ns)
        self._progress.not_read(now_ns, gaps.UNAVAILABLE)  # nobody did while we were down

    def poll(self) -> Poll:
        """Read what is due. Before the next due time: nothing, and the status as it was."""
        now_s = self._clock.monotonic()
        if not self._pace.due(now_s):
            return Poll((), self._status)
        now_ns = self._clock.now_ns()
        state = self._take_up(now_ns)
        self._pace.start(now_s)
        while self._charges:
            self._pace.scanned(now_s, self._charges.popleft(), again=True)
        self._notes.begin(now_s)
        harvest = Harvest(
            self._memory, self._clock, most=self._most_entries, budget_s=self._budget_s
        )
        problem: HealthError | None = None
        more = False
        try:
            if self._selector.refresh(now_s, now_ns):
                self._cut_at_lookback(state, now_ns)
            more = self._forward(state, harvest, now_ns)
            self._again(state, harvest, now_ns)
            self._pace.succeed(more=more)
        except HealthError as error:
            problem = error
            self._fail(state, error, now_ns)
        self._status = self._describe(state, problem)
        more = more and self._pace.due(self._clock.monotonic())
        return Poll(harvest.in_order(), self._status, more=more)

    def _take_up(self, now_ns: int) -> progress.Progress:
        state = self._progress
        if state is None:
            state = progress.first(now_ns, int(self._reading.first_lookback_s * NS))
            self._progress = state
        # the wall clock may have been set back
        state.cursor_ns = min(state.cursor_ns, now_ns)
        look_back_ns = int(self._reading.first_lookback_s * NS)
        state.floor_ns = min(state.floor_ns, max(0, now_ns - look_back_ns))
        # behind the cursor, gaps are what was left out; past the bands nothing reads them again
        state.gaps.give_up(min(state.cursor_ns, now_ns - self._deep_ns - HOUR_NS))
        state.gaps.forget(now_ns - _REMEMBER_GAPS_NS)
        self._memory.forget_before(state.horizon_ns(self._deep_ns), now_ns)
        return state

    def _cut_at_lookback(self, state: progress.Progress, now_ns: int) -> None:
        """Loki silently leaves out what is older than the tenant's look-back: a gap for good."""
        lookback_ns = self._selector.lookback_ns
        oldest_ns = now_ns - lookback_ns
        if lookback_ns <= 0 or oldest_ns <= 0:
            return
        state.gaps.give_up(oldest_ns, gaps.LOOKBACK_CUT)
        if state.cursor_ns < oldest_ns:
            state.gaps.open(state.cursor_ns, oldest_ns, gaps.LOOKBACK_CUT, permanent=True)
            state.cursor_ns = oldest_ns

    def _forward(self, state: progress.Progress, harvest: Harvest, now_ns: int) -> bool:
        """Read up to now, oldest first; True when it stopped early."""
        now_s = self._clock.monotonic()
        minute = self._minute_due_s is None or now_s >= self._minute_due_s
        start_ns = state.cursor_ns - int(self._lag.overlap_s(now_s) * NS)
        if minute:
            band_s = min(self._reading.minute_band_s, MAX_OVERLAP_S)
            start_ns = min(start_ns, now_ns - int(band_s * NS))
        if self._resume_ns is not None:
            minute, start_ns = False, self._resume_ns
        start_ns = at_ns = max(start_ns, state.floor_ns)
        end_ns = now_ns + AHEAD_NS
        query = self._recent
        if start_ns < now_ns - int(MAX_OVERLAP_S * NS):
            query = query.then(uncached(uuid.uuid4().hex))
        steady = self._minute_due_s is not None and state.outage is None
        current = steady and now_ns - state.cursor_ns < _LATE_POLL_NS
        try:
            for batch in _within(harvest, self._pager.read(query, start_ns, end_ns)):
                harvest.take(batch.lines, self._lag if current else None, now_ns)
                self._covered(state, batch, at_ns, now_ns)
                at_ns = batch.upto_ns
                state.cursor_ns = max(state.cursor_ns, min(now_ns, at_ns))
                if harvest.full:
                    break
        finally:
            self._resume_ns = at_ns if start_ns < at_ns < end_ns else self._resume_ns
        if at_ns < end_ns:
            return True
        self._resume_ns = None
        if minute:
            self._minute_due_s = now_s + _MINUTE_S
        state.caught_up()
        return False

    def _again(self, state: progress.Progress, harvest: Harvest, now_ns: int) -> None:
        """Read one window of the past again, if one is due and the byte bound allows it."""
        if self._deep_ns and abs(now_ns - state.deep_ns) >= HOUR_NS:
            # from the last scan's band on: what arrived since, however long ago that was
            start_ns = min(now_ns, state.deep_ns) - self._deep_ns
            state.backlog.push_deep(max(state.floor_ns, start_ns), now_ns)
        if not state.backlog.tasks or harvest.full or self._resume_ns is not None:
            return
        if not self._pace.may_read_again(self._clock.monotonic()):
            return
        tasks = state.backlog.tasks
        try:
            self._read_again(state, tasks[0], harvest, now_ns)
        except HealthError as error:
            when = rfc3339(tasks[0].position_ns)
            self._notes.add("again", f"reading what is after {when} again failed: {error}")
            tasks.append(tasks.pop(0))  # another one may be readable
            self._pace.read_again(self._clock.monotonic(), ok=False)
            return
        self._pace.read_again(self._clock.monotonic(), ok=True)
        if tasks[0].position_ns >= tasks[0].end_ns:
            state.deep_ns = max(state.deep_ns, tasks.pop(0).deep_ns)

    def _read_again(
        self, state: progress.Progress, task: progress.Task, harvest: Harvest, now_ns: int
    ) -> None:
        query = self._past.then(uncached(uuid.uuid4().hex))
        batches = self._past_pager.read(query, task.position_ns, task.end_ns)
        for batch in _within(harvest, batches):
            harvest.take(batch.lines, None, now_ns)
            self._covered(state, batch, task.position_ns, now_ns)
            task.position_ns = batch.upto_ns
            if batch.window_done or harvest.full:
                break

    def _covered(self, state: progress.Progress, batch: Batch, at_ns: int, now_ns: int) -> None:
        state.gaps.cover(at_ns, min(now_ns, batch.upto_ns))
        if batch.unread is None:
            return
        state.gaps.open(*batch.unread, gaps.LIMIT_SATURATED)
        why = batch.trouble or "more lines in one nanosecond than Loki can hand out"
        self._notes.add("unread", f"not all was read at {rfc3339(batch.unread[0])}: {why}")

    def _fail(self, state: progress.Progress, error: HealthError, now_ns: int) -> None:
        config = isinstance(error, (ConfigError, LokiRefused))
        state.not_read(now_ns, gaps.CONFIG if config else gaps.UNAVAILABLE)
        retry_after = error.retry_after if isinstance(error, LokiBusy) else None
        self._pace.fail(self._clock.monotonic(), retry_after)

    def _count(self, page: Page, *, again: bool) -> None:
        self._pace.scanned(self._clock.monotonic(), page.bytes_processed, again=again)
        if page.skipped:
            self._notes.add("skipped", f"{page.skipped} entries could not be understood")
        for warning in page.warnings:
            self._notes.add("warning", f"Loki warns: {warning}")

    def _describe(self, state: progress.Progress, problem: HealthError | None) -> SourceStatus:
        newest_ns = self._memory.newest_ns
        verdict = self._selector.verdict
        absent = verdict.absent and not newest_ns
        if problem is not None:
            ok, message, hint = False, str(problem), problem.hint
        elif absent:
            ok, message, hint = self.spec.may_be_absent, verdict.message, verdict.hint
        else:
            ok, message, hint = True, str(self._notes), ""
        return SourceStatus(
            name=self.name,
            ok=ok,
            message=excerpt(message),
            hint=excerpt(hint),
            newest_ns=newest_ns,
            cursor_ns=state.cursor_ns,
            gaps=state.gaps.gaps,
            bytes_per_minute=float(self._pace.bytes_per_minute(self._clock.monotonic())),
            poll_interval_s=self._pace.interval_s,
            lag_s=self._lag.common_s(self._clock.monotonic()),
            clusters=verdict.clusters,
        )


class Notes:
    """What is odd about a poll that went well: in its status, and logged now and then."""

    _MOST = 10
    _SAY_AGAIN_S = 3600.0

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._now_s = 0.0
        self._texts: list[str] = []
        self._said_s: dict[str, float] = {}  # per kind, of which there are few

    def begin(self, now_s: float) -> None:
        """A poll begins."""
        self._now_s, self._texts = now_s, []

    def add(self, kind: str, text: str) -> None:
        """Something is odd; logged unless the same kind was within the hour."""
        if text not in self._texts and len(self._texts) < self._MOST:
            self._texts.append(text)
        if self._now_s - self._said_s.get(kind, -self._SAY_AGAIN_S) >= self._SAY_AGAIN_S:
            self._said_s[kind] = self._now_s
            self._log.warning(excerpt(text))

    def __str__(self) -> str:
        return "; ".join(self._texts)


def _within(harvest: Harvest, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches; raises the trouble with a page when the poll has no time left to try less."""
    for batch in batches:
        if batch.trouble is not None and batch.unread is None and harvest.full:
            raise batch.trouble
        yield batch
