"""How is a past played? The controller's own loop, turned whenever something would have turned it.

A cycle comes with each poll that found lines, whenever the agenda has something due, and once more
after those of our own writes that leave something to decide. Between those nothing can happen, so
time jumps. A replay decides exactly what a controller would have decided that read these lines at
these polls, on Nodes that nobody but it has changed.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from konduktor_health.core.ledger import Ledger, LedgerText, fitted
from konduktor_health.core.reset import condition_after_reset, plan_reset
from konduktor_health.core.roots import EVENT_NS
from konduktor_health.frozen import replace
from konduktor_health.model import Policy, Snapshot
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.agenda import Agenda
from konduktor_health.runtime.loop import Loop
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.replay.heard import LATEST_NS, DecodedBefore
from konduktor_health.runtime.replay.passage import Chain, Passage
from konduktor_health.runtime.replay.past_boots import PastBoots
from konduktor_health.runtime.replay.past_clock import PastClock
from konduktor_health.runtime.replay.past_nodes import Inventory, PastNodes
from konduktor_health.runtime.replay.timeline import Tell, Timeline
from konduktor_health.runtime.situation import Situation
from konduktor_health.runtime.sources import Sources
from konduktor_health.runtime.surges import SurgeWatch
from konduktor_health.timestamps import NS
from parsers.tables import Tables

MOST_ROUNDS = 50  # cycles at one time; more is a loop that does not come to rest


@dataclass(frozen=True, slots=True)
class Assumed:
    """What no line tells and is taken for granted."""

    reset_after_ns: int | None = None  # an operator resets a tainted node after so long


@dataclass(slots=True)
class Player:
    """One policy over one past. ``hear`` for each poll, ``end`` once."""

    policy: Policy
    inventory: Inventory
    start_ns: int
    tell: Tell
    assumed: Assumed = field(default_factory=Assumed)
    read: Tables | None = None  # that the lines were decoded with; default: the shipped ones
    nodes: PastNodes = field(init=False)
    timeline: Timeline = field(init=False)
    boots: PastBoots = field(init=False, default_factory=PastBoots)
    _clock: PastClock = field(init=False)
    _agenda: Agenda = field(init=False)
    _loop: Loop = field(init=False)
    _resets: list[tuple[int, str]] = field(init=False, default_factory=list)
    _tainted: dict[str, int] = field(init=False, default_factory=dict)
    _ledgers: int = field(init=False, default=0)  # that were written
    _idle_until_ns: int = field(init=False, default=0)  # nothing is due before; 0: not known

    def __post_init__(self) -> None:
        clock = self._clock = PastClock(self.start_ns)
        self.nodes = PastNodes(self.policy.keys, clock, self.inventory, policy=self.policy)
        fleet = self.nodes.fleet
        self.timeline = Timeline(self.nodes, self.policy, clock, self.tell)
        observer = Observer(
            self.nodes,
            clock=clock,
            opted_out=fleet.is_opted_out,
            decoder=DecodedBefore,
            read=self.read,
            observed=self.policy.observe.keys(),
            surge_window_s=self.policy.surge_window_s,
        )
        self._agenda = Agenda(clock, longest_s=float("inf"))
        wake = threading.Event()
        situation = Situation(
            self.nodes,
            fleet,
            observer,
            self.policy,
            clock,
            SurgeWatch(clock),
            complete=self._observed,
            writes=self._written,
        )
        self._loop = Loop(
            sources=Sources([], clock=clock, poll_interval_s=1.0, wake=wake),
            situation=situation,
            fleet=fleet,
            observer=observer,
            applier=self.nodes,
            checkpoint=None,
            report=self.timeline,
            clock=clock,
            wake=wake,
            agenda=self._agenda,
        )

    def hear(self, poll_ns: int, entries: Sequence[LogEntry]) -> None:
        """A poll found these lines at this time."""
        self._until(poll_ns)
        self._clock.go_to(poll_ns)
        for entry in entries:
            self._at_home(entry)
        observer = self._loop.observer
        if self.nodes.restless:
            self._turn()  # new nodes and boots are there before what they log
        if news := observer.take(entries):
            self._agenda.add(news)
            self._turn()

    def end(self, end_ns: int) -> None:
        """Nothing more is heard; what is due until then is done, and the sums are closed."""
        self._until(end_ns)
        self._clock.go_to(end_ns)
        self._turn()
        self.timeline.totals.close(self._clock.now_ns())

    def pass_by(self, passage: Passage, at: int) -> int:
        """Polls from this one on, as far as their lines only count and nothing else is due: count
        them, which is all that ``hear`` would do. Returns the first that has to be heard."""
        observer = self._loop.observer
        if self.nodes.restless or observer.waits_since_ns() is not None:
            return at
        if not self._idle_until_ns:
            next_ns = self._next_ns()
            self._idle_until_ns = LATEST_NS if next_ns is None else next_ns
        end = passage.quiet_until(at, self._idle_until_ns)
        if end > at:
            end = min([end, *(self._does_more(passage, each) for each in passage.chains(at, end))])
        if end <= at:
            return at
        # in the order of their last lines: who was heard of longest ago is forgotten first
        for chain in sorted(passage.chains(at, end), key=lambda chain: chain.lines[-1]):
            first, last = passage.entry(chain.lines[0]), passage.entry(chain.lines[-1])
            self._clock.go_to(passage.times_ns[chain.polls[-1]])
            self._at_home(last)
            observer.repeats.count(first, last, len(chain.lines), passage.count(chain))
        return end

    def _does_more(self, passage: Passage, chain: Chain) -> int:
        """The poll of the chain's first line that may do more than count, or one after all."""
        first = passage.entry(chain.lines[0])
        name = self.nodes.resolve(first.node_name)
        until_ns = self._loop.observer.repeats.until_ns(first)
        if name is None or until_ns is None or not self.boots.is_in(name, first):
            return chain.polls[0]
        return passage.poll_beyond(chain, until_ns)

    @property
    def unknown_lines(self) -> int:
        """Lines of names that are no Node of the list."""
        return self._loop.observer.unknown_lines

    def _at_home(self, entry: LogEntry) -> None:
        """Make the node of a line known, with the boot that the line shows."""
        name = self.nodes.meet(entry.node_name)
        if name is not None and (boot := self.boots.note(name, entry)) is not None:
            self.nodes.boot(name, boot.boot_id, boot.before_seen_ns)
            if boot.before_seen_ns:
                self.timeline.booted(name)

    def _until(self, time_ns: int) -> None:
        """Do what is due before this time, when it is due."""
        if self._idle_until_ns >= time_ns and self._loop.observer.waits_since_ns() is None:
            return  # nothing has turned since, and only what waits depends on the time
        while (next_ns := self._next_ns()) is not None and next_ns < time_ns:
            self._clock.go_to(next_ns)
            self._reset_due()
            self._turn()
        self._idle_until_ns = LATEST_NS if next_ns is None else next_ns

    def _next_ns(self) -> int | None:
        clock, loop = self._clock, self._loop
        times = [self._resets[0][0]] if self._resets else []
        next_s = self._agenda.next_s()
        if next_s < math.inf:
            times.append(clock.ns_of(max(next_s, clock.monotonic())))
        if surges := loop.situation.surges.now:
            quiet_ns = int(self.policy.surge_quiet_s * NS)
            times += [each.last_ns + quiet_ns for each in surges]
        waiting_ns = loop.observer.waits_since_ns()
        if waiting_ns is not None:  # let go once its time is over, at the latest a second later
            times.append(max(waiting_ns + EVENT_NS + NS, clock.now_ns() + NS))
        return min(times, default=None)

    def _turn(self) -> None:
        """Cycles until nothing changes any more at this time."""
        self._idle_until_ns = 0
        for _ in range(MOST_ROUNDS):
            self.nodes.restless = False
            plan = self._loop.cycle(())
            if self.assumed.reset_after_ns is not None:
                self._watch_taints(plan.settled)
            if not (self.nodes.restless or (self.nodes.wrote and self._agenda.calls)):
                return
        raise AssertionError("bug: the loop does not come to rest")

    def _watch_taints(self, decided: Iterable[str]) -> None:
        """Plan the reset of nodes that have been tainted, forget that of others."""
        now_ns, after_ns = self._clock.now_ns(), self.assumed.reset_after_ns or 0
        totals = self.timeline.totals.nodes
        for name in sorted(decided):
            tainted = name in totals and bool(totals[name].effect)
            if tainted and name not in self._tainted:
                self._tainted[name] = now_ns + after_ns
                heapq.heappush(self._resets, (now_ns + after_ns, name))
            elif not tainted:
                self._tainted.pop(name, None)

    def _reset_due(self) -> None:
        """The operator that is assumed resets what has been tainted for so long."""
        now_ns = self._clock.now_ns()
        while self._resets and self._resets[0][0] <= now_ns:
            due_ns, name = heapq.heappop(self._resets)
            view = self.nodes.nodes().get(name)
            if view is None or self._tainted.get(name) != due_ns:
                continue
            del self._tainted[name]
            action = plan_reset(view, self.policy.keys, now_ns)
            if action is None:
                continue
            self.nodes.edit(name, action.edit)
            self.nodes.say(name, condition_after_reset(now_ns))
            self.timeline.edited(replace(action, message=f"assumed: {action.message}"))

    def _written(self, ledger: Ledger) -> LedgerText:
        """The text of a ledger on a Node that is made up: nobody reads it but the controller, so
        that a number will do, another one for each."""
        self._ledgers += 1
        return LedgerText.of(f"ledger {self._ledgers}", fitted(ledger))

    def _observed(self, snapshot: Snapshot) -> Snapshot:
        """The log counts as read without a gap since the start of the past."""
        return replace(snapshot, observed_from_ns=dict.fromkeys(snapshot.nodes, self.start_ns))


def play(passages: Iterable[Passage], players: list[Player]) -> Iterator[int]:
    """Play a past that is decoded once to all policies. Yields the time of each poll that any of
    them has to hear, and of the last."""
    for passage in passages:
        yield from play_one(passage, players)


def play_one(passage: Passage, players: Sequence[Player]) -> Iterator[int]:
    """Play a passage to all policies, as ``play``."""
    heard = [0] * len(players)  # polls
    at = 0
    while at < len(passage):
        for number, player in enumerate(players):
            if heard[number] <= at:
                player.hear(passage.times_ns[at], passage.entries(at))
                heard[number] = player.pass_by(passage, at + 1)
        yield passage.times_ns[at]
        at = min(heard)
    yield from passage.times_ns[-1:]
