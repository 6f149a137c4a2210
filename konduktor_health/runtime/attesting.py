"""What do the nodes' own agents say of the kernel lines that were read? Asked aside, in time.

A line that may act is asked about once it is read: in a thread, one request for all questions of a
node. The decision waits for the answer for ``wait_s`` at most (``core.corroboration``); what comes
later counts for lines that are read then, and a late confirmation of a line that was held meanwhile
is handed in once more.

Invariants:
- An agent is asked about its own node's lines only, and only while it is believed; an answer of
  another boot is none. No answer is ``unknown``, which changes nothing unless the policy asks for
  more.
- Of several lines of one fault the best answer counts, for as long as it is remembered: one that a
  forger repeats outweighs no line that the kernel has.
- Memory is bounded. Where there are more lines than can be asked about at once, each fault keeps
  one of its own: many lines of one fault, forged or not, leave no other unasked. Where there are
  more faults than are remembered, the newest count.

``ask``, ``of`` and ``take`` are called on the loop's thread.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from loguru import logger

from konduktor_health.clock import NS, Clock
from konduktor_health.core.corroboration import is_asked, question_of
from konduktor_health.errors import HealthError
from konduktor_health.evidence import Attested
from konduktor_health.model import Attestation, Fault, Trust
from parsers.layer import LogRecord
from probes.report import KmsgAnswer, KmsgAnswers, KmsgQuestion

WAIT_S = 2.0
KEPT_S = 900.0  # an answer is remembered for so long after the last line that it was for
MOST_QUESTIONS = 256  # at once to one node (``probes.report.KmsgQuestions``)
MOST_NODES = 20_000  # whose answers are remembered
MOST_KEYS = 256  # faults of one node
WORKERS = 4
_TEXT = 2048  # characters of a question
_RANK = {Attested.CONFIRMED: 3, Attested.DENIED: 2, Attested.UNKNOWN: 1, Attested.PENDING: 0}

_Key = tuple[str, str, str]


class AsksKernel(Protocol):
    """How an agent is asked (``adapters.probes.orders``)."""

    def kernel_log(
        self, node: str, questions: Sequence[KmsgQuestion], *, timeout_s: float
    ) -> KmsgAnswers:
        """Are these in the node's kernel log? Raises HealthError."""
        ...


@dataclass(slots=True)
class _Line:
    """One line that is asked about."""

    key: _Key
    fault: Fault
    question: KmsgQuestion


@dataclass(slots=True)
class _Node:
    """Questions and answers of one node."""

    boot_id: str
    told: dict[_Key, Attestation] = field(default_factory=dict)
    waiting: list[_Line] = field(default_factory=list)
    used_s: float = 0.0  # monotonic
    asking: bool = False

    def remember(self, key: _Key, pending: Attestation) -> None:
        """This fault was heard of just now: what is known of it stays, or ``pending``. The one that
        was heard of longest ago is forgotten where there is no room."""
        self.told[key] = self.told.pop(key, pending)
        if len(self.told) > MOST_KEYS:
            del self.told[next(iter(self.told))]

    def queue(self, line: _Line) -> None:
        """Have it asked about. Where there is no room, a fault without a line takes the place of
        one of the fault that has most."""
        if len(self.waiting) >= MOST_QUESTIONS:
            lines = Counter(each.key for each in self.waiting)
            crowded, many = lines.most_common(1)[0]
            if line.key in lines or many == 1:
                return
            del self.waiting[[each.key for each in self.waiting].index(crowded)]
        self.waiting.append(line)


class Attesting:
    """Questions to the agents about kernel lines."""

    def __init__(
        self,
        orders: AsksKernel,
        *,
        clock: Clock,
        believed: Callable[[str], bool],
        wake: Callable[[], None] = lambda: None,
        wait_s: float = WAIT_S,
    ) -> None:
        """``believed``: the agent of this node is (``Collector.believed``)."""
        self._orders = orders
        self._clock = clock
        self._believed = believed
        self._wake = wake
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._nodes: OrderedDict[str, _Node] = OrderedDict()
        self._tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._answered: set[str] = set()
        self._late: list[Fault] = []
        self._counts: Counter[str] = Counter()

    def start(self, stop: threading.Event) -> None:
        """Ask in threads until ``stop`` is set."""
        for number in range(WORKERS):
            threading.Thread(
                target=self._work, args=(stop,), name=f"attesting-{number}", daemon=True
            ).start()

    def ask(self, name: str, boot_id: str, fault: Fault, record: LogRecord) -> None:
        """A line of this node was read. ``boot_id``: the Node's."""
        if not (is_asked(fault) and record.text and self._believed(name)):
            return
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        key = question_of(fault)
        question = KmsgQuestion(
            boot_id=record.boot_id,
            uptime_us=record.uptime_us,
            sequence=record.sequence,
            text=record.text[:_TEXT],
        )
        with self._lock:
            node = self._node(name, boot_id, now_s)
            until_ns = now_ns + int(self._wait_s * NS)
            node.remember(key, Attestation(Attested.PENDING, until_ns=until_ns))
            node.queue(_Line(key, fault, question))
            if node.asking:
                return
            node.asking = True
        self._tasks.put(name)

    def of(self, names: Iterable[str]) -> Mapping[str, Mapping[_Key, Attestation]]:
        """What is known of the lines of these nodes."""
        with self._lock:
            return {name: dict(self._nodes[name].told) for name in names if name in self._nodes}

    def take(self) -> tuple[set[str], list[Fault]]:
        """Nodes with answers since the last call, and lines that were confirmed: attested, to be
        taken up where they were held before the answer came."""
        with self._lock:
            answered, self._answered = self._answered, set()
            late, self._late = self._late, []
        return answered, late

    def drain_counts(self) -> Counter[str]:
        """Answers since the last call, by what was said."""
        with self._lock:
            drained, self._counts = self._counts, Counter()
        return drained

    def forget(self, name: str) -> None:
        """The node is gone, or is another one."""
        with self._lock:
            self._nodes.pop(name, None)

    def answer(self, name: str) -> None:
        """Ask one node all that waits, and take up what it says."""
        with self._lock:
            node = self._nodes.get(name)
            lines = node.waiting[:MOST_QUESTIONS] if node else []
            if node is None or not lines:
                return
            node.waiting = node.waiting[MOST_QUESTIONS:]
            boot_id = node.boot_id
        answers = self._answers(name, boot_id, [line.question for line in lines])
        with self._lock:
            for line, said in zip(lines, answers, strict=True):
                self._take_up(name, node, line, said)
            node.asking = bool(node.waiting)
            self._answered.add(name)
        if node.asking:
            self._tasks.put(name)
        self._wake()

    def _answers(
        self, name: str, boot_id: str, questions: Sequence[KmsgQuestion]
    ) -> Sequence[KmsgAnswer]:
        unknown = [KmsgAnswer(answer="unknown")] * len(questions)
        try:
            found = self._orders.kernel_log(name, questions, timeout_s=self._wait_s)
        except HealthError as error:
            logger.bind(node=name).info(f"kernel lines are not attested: {error}")
            return unknown
        if found.boot_id != boot_id or not self._believed(name):
            return unknown
        return found.answers

    def _take_up(self, name: str, node: _Node, line: _Line, said: KmsgAnswer) -> None:
        self._counts["injected" if said.injected else said.answer] += 1
        found = Attestation(Attested(said.answer), said.injected, reason=said.reason[:100])
        before = node.told.get(line.key)
        if before is None or _weight(found) > _weight(before):
            node.told[line.key] = found
        if found.said is Attested.CONFIRMED:
            attested = replace(line.fault, trust=Trust.ATTESTED, injected=found.injected)
            self._late.append(attested)
        if found.said is Attested.DENIED and (before is None or before.said is not found.said):
            logger.bind(node=name, fault_id=line.fault.fault_id, device=line.fault.device).warning(
                f"the agent denies a kernel line that was read from the log: {found.reason}"
            )

    def _node(self, name: str, boot_id: str, now_s: float) -> _Node:
        node = self._nodes.get(name)
        over = node is not None and (node.boot_id != boot_id or now_s - node.used_s > KEPT_S)
        if node is not None and over and not node.asking:
            node = None
        if node is None:
            node = self._nodes[name] = _Node(boot_id)
        node.used_s = now_s
        self._nodes.move_to_end(name)
        while len(self._nodes) > MOST_NODES:
            self._nodes.popitem(last=False)
        return node

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                name = self._tasks.get(timeout=1.0)
            except queue.Empty:
                continue
            try:
                self.answer(name)
            except Exception as error:  # a bug costs its answers: nothing is attested by them
                logger.bind(node=name).opt(exception=error).error(f"bug: not attested: {error!r}")
                self.forget(name)


def _weight(told: Attestation) -> tuple[int, bool]:
    """The kernel's own word outweighs that of a program that wrote the same."""
    return (_RANK[told.said], not told.injected)
