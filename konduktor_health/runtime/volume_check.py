"""Does storage still give volumes, and take them back? Claimed, bound and deleted once in a while.

The controller does it itself, since agents have no rights. It says something about the storage, not
about a node: a result is a metric and, when it changes, an Event on our namespace; no Node is
written. A thread aside, while this replica leads; whoever asks may have it done in between.

Invariants: one test at a time; each wait has an end; a claim that was left behind is deleted before
another is made; what cannot be measured (no such class, no right, a class that binds only for a
pod) neither passes nor fails.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.errors import Conflict, HealthError, LeadershipLost, NotFound
from konduktor_health.job_ports import VolumeClaim, VolumeClaims
from konduktor_health.model import ProbeStatus, PublishEvent

POLL_S = 2.0
FIRST_S = 30.0  # after this replica has begun to lead


@dataclass(frozen=True, slots=True)
class VolumeResult:
    """What a test of storage came to. ``ended_ns``: Unix ns."""

    status: ProbeStatus
    message: str
    ended_ns: int = 0


class _Stopped(Exception):
    """The controller ends."""


class VolumeCheck:
    """``once`` is of its own thread; ``last`` and ``fresh`` are for any."""

    def __init__(
        self,
        claims: VolumeClaims,
        *,
        clock: Clock,
        interval_s: float,
        timeout_s: float,
        assert_leader: Callable[[], None],
        publish: Callable[[PublishEvent], None],
        counted: Callable[[ProbeStatus], None] = lambda _status: None,
    ) -> None:
        """``timeout_s``: of each wait. ``counted``: told of each result."""
        self._claims = claims
        self._clock = clock
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._assert_leader = assert_leader
        self._publish = publish
        self._counted = counted
        self._lock = threading.Lock()  # held for a whole test
        self._stop: threading.Event | None = None
        self._ended_s = -math.inf  # monotonic
        self.last: VolumeResult | None = None

    def start(self, stop: threading.Event) -> None:
        """Test in a thread until ``stop`` is set."""
        self._stop = stop
        threading.Thread(target=self._run, args=(stop,), name="volumes", daemon=True).start()

    def fresh(self, oldest_s: float) -> VolumeResult | None:
        """A result that is not older, seconds: of a test now where there is none, which all who
        ask meanwhile wait for. None: nothing is tested here now. Raises LeadershipLost."""
        stop = self._stop
        if stop is None or stop.is_set():
            return None
        with self._lock:
            if self.last is not None and self._clock.monotonic() - self._ended_s <= oldest_s:
                return self.last
            return self._one(stop)

    def once(self, stop: threading.Event) -> VolumeResult | None:
        """Test now; None: stopped before it was over. Raises LeadershipLost."""
        with self._lock:
            return self._one(stop)

    # ------------------------------------------------------------ the test

    def _one(self, stop: threading.Event) -> VolumeResult | None:
        try:
            status, message = self._tested(stop)
        except _Stopped:
            return None
        except LeadershipLost:
            raise
        except HealthError as error:
            status, message = ProbeStatus.ERROR, str(error)
        result = VolumeResult(status, message, self._clock.now_ns())
        self._ended_s = self._clock.monotonic()
        self._tell(result)
        return result

    def _tested(self, stop: threading.Event) -> tuple[ProbeStatus, str]:
        try:
            wanted = self._claims.storage_class()
        except NotFound:
            return ProbeStatus.ERROR, "there is no such storage class"
        if wanted.keeps_volumes:
            why = f"class {wanted.name} keeps volumes (Retain): each test would leave one behind"
            return ProbeStatus.ERROR, why
        if not self._all_gone(stop):
            return ProbeStatus.FAIL, f"a claim is not deleted within {self._timeout_s:g} s"
        began_s = self._clock.monotonic()
        self._assert_leader()
        try:
            claim = self._claims.make()
        except Conflict:
            return ProbeStatus.ERROR, "a claim of this name is there, and not ours"
        why = "" if wanted.waits_for_a_pod else self._not_bound(claim, stop)
        bound_s = self._clock.monotonic() - began_s
        gone = self._all_gone(stop)
        if why:
            return ProbeStatus.FAIL, why
        if not gone:
            return ProbeStatus.FAIL, f"the claim is not deleted within {self._timeout_s:g} s"
        if wanted.waits_for_a_pod:
            why = f"class {wanted.name} binds for a pod only (WaitForFirstConsumer)"
            return ProbeStatus.SKIP, f"{why}: made and deleted, not bound"
        return ProbeStatus.PASS, f"bound within {bound_s:.0f} s, and deleted"

    def _not_bound(self, claim: VolumeClaim, stop: threading.Event) -> str:
        """Wait until it is bound; why it is not, or "" """
        ends_s = self._clock.monotonic() + self._timeout_s
        while True:
            try:
                claim = self._claims.look(claim.name)
            except NotFound:
                return "the claim was deleted by somebody else"
            if claim.phase == "Bound":
                return ""
            if claim.phase == "Lost":
                return "the claim has lost its volume"
            if self._clock.monotonic() >= ends_s:
                phase = claim.phase or "without a phase"
                return f"the claim is not bound within {self._timeout_s:g} s ({phase})"
            self._pause(stop)

    def _all_gone(self, stop: threading.Event) -> bool:
        """Delete all claims of ours, and wait until they are gone."""
        ends_s = self._clock.monotonic() + self._timeout_s
        while claims := self._claims.claims():
            for claim in claims:
                if not claim.going:
                    self._assert_leader()
                    self._claims.remove(claim)
            if self._clock.monotonic() >= ends_s:
                return False
            self._pause(stop)
        return True

    def _pause(self, stop: threading.Event) -> None:
        if self._clock.wait(stop, POLL_S):
            raise _Stopped

    # ------------------------------------------------------------ what is told

    def _tell(self, result: VolumeResult) -> None:
        before, self.last = self.last, result
        self._counted(result.status)
        log = logger.bind(outcome=result.status.value)
        same = before is not None and before.status is result.status
        (log.debug if same else log.info)(f"volumes: {result.message}")
        failed = result.status is ProbeStatus.FAIL
        recovered = result.status is ProbeStatus.PASS and before is not None and not same
        if not (failed and not same) and not recovered:
            return
        dedupe = f"volumes {result.status.value} {result.ended_ns}"
        event = (
            PublishEvent("", "", "Warning", "VolumeCheckFailed", result.message, dedupe)
            if failed
            else PublishEvent("", "", "Normal", "VolumeCheckPassed", result.message, dedupe)
        )
        try:
            self._publish(event)
        except HealthError as error:
            if isinstance(error, LeadershipLost):
                raise
            logger.bind(hint=error.hint).warning(f"volumes: Event not published: {error}")

    def _run(self, stop: threading.Event) -> None:
        pause_s = FIRST_S
        while not self._clock.wait(stop, pause_s):
            pause_s = self._interval_s
            try:
                self.once(stop)
            except LeadershipLost:
                return
            except Exception as error:  # a bug must not end the testing unseen
                logger.opt(exception=error).error(f"bug: volumes are not tested: {error!r}")
