"""Does a node reach the nodes that somebody names (``pingnodes``)? Pings asked for, and their text.

The node's agent pings each of them by a signed request, as in tests in pairs; one that does not
answer accuses nobody. Texts are those of the agents' own (``probes.autopilot.texts``).

Invariants: a pair is measured at most once in ``AGAIN_S``: meanwhile all are told what was found,
with its age. A peer that was not pinged is never one that answers: the verdict is ABORT then.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from konduktor_health.adapters.autopilot.words import plain
from konduktor_health.adapters.pair_results import told_peers
from konduktor_health.adapters.probes.pair_measuring import PING_TAKES_S, ping_job
from konduktor_health.adapters.probes.pair_runs import Asked, Orders, PairRuns
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import Clock
from konduktor_health.core.pair_tests import PairOutcome, PairTest
from konduktor_health.errors import HealthError
from konduktor_health.timestamps import rfc3339
from probes.report import Result

MOST_PAIRS = 64  # of one question
_AT_ONCE = 8
AGAIN_S = 300.0
_MOST_KEPT = 10_000
_BEGUN = "[PING] Running ping tests for every interface"
_NONE = "[PING] No nodes found. ABORT"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the pings of one pair came to. ``rows``: address, interface, outcome of each address."""

    peer: str
    asked_s: float = 0.0  # monotonic
    ended_ns: int = 0  # 0: it is being measured
    rows: tuple[tuple[str, str, PairOutcome], ...] = ()
    own: tuple[str, ...] = ()  # what is wrong with the node's own interfaces
    why: str = ""  # why nothing was measured


class PingNodes:
    """Pings for whoever asks. Thread-safe; a call waits for all of its pings."""

    def __init__(
        self,
        orders: Orders,
        asked: Asked,
        clock: Clock,
        *,
        agent_of: Callable[[str], AgentPod | None],
        takes_s: float = PING_TAKES_S,
    ) -> None:
        """``takes_s``: before it nobody looks for an answer."""
        self._orders, self._asked, self._clock = orders, asked, clock
        self._agent_of, self._takes_s = agent_of, takes_s
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def __call__(self, node: str, peers: Sequence[str]) -> str:
        """The text for a node, without a line feed at its end. The node itself is left out."""
        others = [peer for peer in peers if peer != node]
        if not others:
            return _NONE
        return "\n".join(self._text(self._pinged(node, others)))

    def _pinged(self, node: str, peers: Sequence[str]) -> list[_Seen]:
        now_s = self._clock.monotonic()
        found: dict[str, _Seen] = {}
        with self._lock:
            for peer in peers:
                known = self._seen.get((node, peer))
                if known is not None and now_s - known.asked_s < AGAIN_S:
                    found[peer] = known
                else:
                    self._keep(node, _Seen(peer, now_s, why="it is being pinged: ask again"))
        new = [peer for peer in peers if peer not in found]
        measured = self._measure(node, new, now_s) if new else []
        with self._lock:
            for each in measured:
                if each.why:
                    self._seen.pop((node, each.peer), None)  # it may be asked for again
                else:
                    self._keep(node, each)
        found |= {each.peer: each for each in measured}
        return [found[peer] for peer in peers]

    def _keep(self, node: str, seen: _Seen) -> None:
        self._seen[node, seen.peer] = seen
        self._seen.move_to_end((node, seen.peer))
        while len(self._seen) > _MOST_KEPT:
            self._seen.popitem(last=False)

    def _measure(self, node: str, peers: Sequence[str], now_s: float) -> list[_Seen]:
        """Ping these now. What was not measured says why."""
        pods = {peer: self._agent_of(peer) for peer in peers}
        there = [(peer, pod) for peer, pod in pods.items() if pod is not None]
        jobs = [
            ping_job(
                PairTest(node, peer, tuple(dict(pod.interfaces))),
                pod,
                self._takes_s,
            )
            for peer, pod in there
        ]
        runs = PairRuns(self._orders, self._asked, self._clock, workers=_AT_ONCE)
        try:
            said = runs.run(jobs, at_once=_AT_ONCE, stop=threading.Event())
        except HealthError as error:  # another replica leads
            return [_Seen(peer, why=str(error)) for peer in peers]
        found = {
            peer: _Seen(peer, why=its.why)
            if its.why
            else _seen(peer, dict(pod.interfaces), its.results)
            for (peer, pod), its in zip(there, said, strict=True)
        }
        for peer, pod in pods.items():
            if pod is None:
                found[peer] = _Seen(peer, why="no agent runs there")
            elif self._agent_of(peer) != pod:
                found[peer] = _Seen(peer, why="its agent's pod was replaced meanwhile")
        ended_ns = self._clock.now_ns()
        return [replace(found[peer], asked_s=now_s, ended_ns=ended_ns) for peer in peers]

    def _text(self, seen: Sequence[_Seen]) -> list[str]:
        lines = [_BEGUN]
        now_ns, old = self._clock.now_ns(), set[int]()
        for each in seen:
            lines += [
                f"Node {each.peer} {address} {interface or 'default'} {int(outcome.bad)}"
                for address, interface, outcome in _named(each.rows)
                if outcome is not PairOutcome.NOT_MEASURED
            ]
            if each.ended_ns and now_ns - each.ended_ns >= 10**9 and not each.why:
                old.add(each.ended_ns)
        for ended_ns in sorted(old):
            age_s = (now_ns - ended_ns) / 1e9
            lines.append(f"measured at {rfc3339(ended_ns)}, {age_s:.0f} s ago")
        lines += [f"{plain(each.peer)}: {plain(each.why)}" for each in seen if each.why]
        own = dict.fromkeys(text for each in seen for text in each.own)
        lines += [plain(text) for text in own]
        return [*lines, _verdict(seen, own)]


def _seen(peer: str, interfaces: Iterable[str], results: Iterable[Result]) -> _Seen:
    """What a run says of a peer on each of its interfaces; none of them is passed over."""
    rows: list[tuple[str, str, PairOutcome]] = []
    own: list[str] = []
    for each in results:
        if each.check == "ping":
            own += [each.message] if each.outcome == "fail" else []
            rows += [
                (address, each.device, outcome)
                for name, address, outcome in told_peers(each)
                if name == peer
            ]
    told = {interface for _, interface, _ in rows}
    rows += [("", name, PairOutcome.NOT_MEASURED) for name in interfaces if name not in told]
    return _Seen(peer, rows=tuple(rows), own=tuple(own))


def _named(
    rows: Sequence[tuple[str, str, PairOutcome]],
) -> Iterable[tuple[str, str, PairOutcome]]:
    """Of several addresses on one interface each has a number, as Autopilot has it."""
    counts = Counter(interface for _, interface, _ in rows)
    numbers: Counter[str] = Counter()
    for address, interface, outcome in rows:
        name = f"{interface}-{numbers[interface]}" if counts[interface] > 1 else interface
        numbers[interface] += 1
        yield address, name, outcome


def _verdict(seen: Sequence[_Seen], own: Iterable[str]) -> str:
    if any(own):
        return "[PING] Interfaces of this node are not as they should be. FAIL"
    outcomes = {outcome for each in seen for _, _, outcome in each.rows}
    if any(outcome.bad for outcome in outcomes):
        return "[PING] At least one node unreachable. FAIL"
    if PairOutcome.NOT_MEASURED in outcomes or any(each.why for each in seen):
        return "[PING] Not all nodes could be pinged. ABORT"
    return "[PING] all nodes reachable. success"
