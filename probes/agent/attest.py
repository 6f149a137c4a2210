"""Is this line in the node's kernel log?

confirmed: a record of this text, and of this number and uptime stamp where the question has them.
denied: such a record would be known, and is not. unknown: it may have been there and is not known
any more, or is of another boot. A question without a boot id is one about this boot.

Invariants: the stamp has to agree to the last digit that was printed, so that a true line copied
under another time is no proof; a cut line has to be so long that its code and device are not cut
(``SHORTEST_CUT``); work is bounded by what is remembered plus what is asked, whatever it is.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from probes.agent.kernellog import KernelLog, Known, compared
from probes.report import KmsgAnswer, KmsgQuestion

#: A line that a shipper cut counts as the beginning of a record from this length on: the head of a
#: driver's message (name, device, code) is never so long.
SHORTEST_CUT = 100
#: Comparisons for one batch, after which the rest is unknown. Only texts made to look alike need
#: more than a few.
MOST_WORK = 300_000
_CATCH_UP_S = 0.5


def _confirmed(question: KmsgQuestion, *, injected: bool) -> KmsgAnswer:
    reason = "written by a program" if injected else ""
    if question.uptime_us is None and question.sequence is None:
        reason = reason or "some record has this text; the line has no uptime"
    return KmsgAnswer(answer="confirmed", injected=injected, reason=reason)


def _unknown(reason: str) -> KmsgAnswer:
    return KmsgAnswer(answer="unknown", reason=reason)


def _denied(reason: str) -> KmsgAnswer:
    return KmsgAnswer(answer="denied", reason=reason)


class Attestor:
    """Any thread."""

    def __init__(self, log: KernelLog, *, boot_id: str, monotonic: Callable[[], float]) -> None:
        self._log, self._boot_id, self._monotonic = log, boot_id, monotonic
        self._lock = threading.Lock()

    def follow(self) -> None:
        """Read what the kernel has logged meanwhile: some of it, a storm comes in turns."""
        end = self._monotonic() + _CATCH_UP_S / 5
        with self._lock:
            self._log.follow(most=2000, more=lambda: self._monotonic() < end)

    def trouble(self) -> str:
        """Why the kernel log cannot be read; "" when it can."""
        return self._log.trouble

    def known(self) -> int:
        """How many records are remembered."""
        return len(self._log)

    def answer(self, questions: Sequence[KmsgQuestion]) -> tuple[KmsgAnswer, ...]:
        """In the order of the questions."""
        end = self._monotonic() + _CATCH_UP_S
        with self._lock:
            whole = self._log.follow(more=lambda: self._monotonic() < end)
            found = _Search(questions).through(self._log)
            return tuple(
                self._judge(question, found[number], whole=whole)
                for number, question in enumerate(questions)
            )

    def _judge(self, question: KmsgQuestion, found: _Found, *, whole: bool) -> KmsgAnswer:
        if question.boot_id and question.boot_id != self._boot_id:
            return _unknown("of another boot")
        if found.kernel or found.injected:
            return _confirmed(question, injected=not found.kernel)
        if self._log.trouble:
            return _unknown("the kernel log cannot be read")
        if found.given_up:
            return _unknown("too many records are like it")
        if not whole:
            return _unknown("the kernel log is written faster than it is read")
        if question.sequence is not None and self._log.has_number(question.sequence):
            return _denied("the record of this number says something else")
        if question.uptime_us is None:
            return _unknown("not found, and the line has no uptime")
        if not self._log.reaches(question.uptime_us):
            return _unknown("the kernel log does not reach back so far")
        return _denied("no such record at this uptime")


class _Found:
    """What was found for a question."""

    __slots__ = ("given_up", "injected", "kernel")

    def __init__(self) -> None:
        self.kernel = self.injected = self.given_up = False


class _Wanted:
    """Questions of one text."""

    __slots__ = ("at", "loose")

    def __init__(self) -> None:
        self.at: dict[int, list[int]] = defaultdict(list)  # by uptime stamp
        self.loose: list[int] = []  # without a stamp, or with one of fewer digits

    def add(self, number: int, uptime_us: int | None) -> None:
        if uptime_us is None or uptime_us % 10 == 0:
            self.loose.append(number)
        else:
            self.at[uptime_us].append(number)


class _Search:
    """All questions in one pass over the records."""

    def __init__(self, questions: Sequence[KmsgQuestion]) -> None:
        self._questions = questions
        self._texts = [compared(question.text) for question in questions]
        self._whole: dict[str, _Wanted] = defaultdict(_Wanted)
        self._cut: dict[str, list[int]] = defaultdict(list)  # by head
        self._found = [_Found() for _ in questions]
        self._work = 0
        for number, text in enumerate(self._texts):
            if text:
                self._whole[text].add(number, questions[number].uptime_us)
            if len(text) >= SHORTEST_CUT:
                self._cut[text[:SHORTEST_CUT]].append(number)

    def through(self, log: KernelLog) -> Sequence[_Found]:
        for record in log:
            for text in record.texts:
                if wanted := self._whole.get(text):
                    for number in (*wanted.at.get(record.uptime_us, ()), *wanted.loose):
                        self._compare(number, record)
                if len(text) > SHORTEST_CUT and text[:SHORTEST_CUT] in self._cut:
                    self._compare_cut(text, record)
            if self._work > MOST_WORK:
                for found in self._found:
                    found.given_up = True
                break
        return self._found

    def _compare_cut(self, text: str, record: Known) -> None:
        for number in self._cut[text[:SHORTEST_CUT]]:
            self._work += 1
            if text.startswith(self._texts[number]):
                self._compare(number, record)

    def _compare(self, number: int, record: Known) -> None:
        self._work += 1
        question, found = self._questions[number], self._found[number]
        if question.sequence is not None and question.sequence != record.seq:
            return
        if question.uptime_us is not None and not same_stamp(question.uptime_us, record.uptime_us):
            return
        if record.injected:
            found.injected = True
        else:
            found.kernel = True


def same_stamp(printed_us: int, record_us: int) -> bool:
    """Whether a stamp is that of a record, to the last digit that was printed: some shippers print
    fewer than six. Zeros at the end may not have been printed."""
    if printed_us == record_us:
        return True
    unit = 1
    while unit < 1_000_000 and printed_us % (unit * 10) == 0:
        unit *= 10
    return printed_us // unit == record_us // unit
