"""Who is told what tests in pairs have found? Faults of nodes, Events about switches, proofs.

A node that is accused has a fault, with its partners as evidence. What lies between nodes is told
once when it begins (log, metric; an Event where it is a switch), stands beside the faults of its
nodes as a remark, and accuses nobody.

Thread-safe: rounds tell, the loop takes.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.accusation import Accusation, Blamed
from konduktor_health.core.blame import Blame
from konduktor_health.core.pair_tests import Kind, PairOutcome
from konduktor_health.model import (
    Fault,
    ProbeResult,
    ProbeStatus,
    PublishEvent,
    Remedy,
    Severity,
    Trust,
)
from konduktor_health.runtime.domains import REASON
from konduktor_health.runtime.pair_course import Confirmed, Learned, Proof
from konduktor_health.runtime.pair_members import NCCL_WAY, Taker
from konduktor_health.treatment import PROBE_FAULT
from parsers.fault import TEXT_LIMIT
from parsers.printable import printable

SOURCE = "probes"
MOST_FAULTS = 10_000  # that wait for the loop
MOST_PROOFS = 32  # of one node
MOST_PROVING = 2_000  # nodes whose proofs are kept
_SHARED = frozenset({Blamed.DOMAIN, Blamed.APART})
_STATUS = {PairOutcome.OK: ProbeStatus.PASS}

_Key = tuple[Kind, Blamed, tuple[str, ...], tuple[tuple[str, str], ...]]


class PairFindings:
    """What is found now, and what waits to be taken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tell: Callable[[Collection[str]], None] = lambda _names: None
        self._lock = threading.Lock()
        self._known: dict[_Key, Accusation] = {}
        self._faults: deque[Fault] = deque(maxlen=MOST_FAULTS)
        self._events: list[PublishEvent] = []
        self._proofs: dict[str, deque[ProbeResult]] = {}
        self._told = 0

    def on_news(self, tell: Callable[[Collection[str]], None]) -> None:
        """Register tell(nodes): there is something new of these."""
        self._tell = tell

    # ------------------------------------------------------------ rounds tell

    def take_up(self, kind: Kind, found: Learned, takers: Mapping[str, Taker]) -> None:
        """What some tests came to."""
        for each in found.confirmed:
            if each.node in takers:
                self._accuse(kind, each, takers[each.node])
        for proof in found.proofs:
            if proof.node in takers:
                self._prove(kind, proof, takers[proof.node])
        names = {each.node for each in found.confirmed} | {each.node for each in found.proofs}
        if names:
            self._tell(names)

    def _accuse(self, kind: Kind, found: Confirmed, taker: Taker) -> None:
        now_ns, said = self._clock.now_ns(), found.accusation
        device = "" if found.interface in NCCL_WAY else found.interface
        failed = said.outcome is PairOutcome.FAILED
        where = f" on {device}" if device else ""
        with self._lock:
            self._told += 1
            named = f"{taker.uid}\0{kind.value}\0{device}\0{now_ns}\0{self._told}"
            self._faults.append(
                Fault(
                    fault_id=PROBE_FAULT + kind.check,
                    severity=Severity.FATAL if failed else Severity.DEGRADED,
                    remedy=Remedy.INSPECT,
                    device=device,
                    node=found.node,
                    time_ns=now_ns,
                    event_ns=now_ns,
                    boot_id=taker.boot_id,
                    identity=hashlib.sha256(named.encode()).hexdigest()[:32],
                    source=SOURCE,
                    trust=Trust.PROBE,
                    text=printable(f"{kind.value}{where}: {said.message}", TEXT_LIMIT),
                )
            )
        logger.bind(node=found.node, interface=device, kind=kind.value).warning(said.message)

    def _prove(self, kind: Kind, proof: Proof, taker: Taker) -> None:
        """A failure with one partner is no pass, and accuses nobody either."""
        now_ns = self._clock.now_ns()
        with self._lock:
            self._told += 1
            kept = self._proofs.pop(proof.node, None) or deque(maxlen=MOST_PROOFS)
            self._proofs[proof.node] = kept  # the newest last
            kept.append(
                ProbeResult(
                    check=kind.check,
                    tier="",
                    status=_STATUS.get(proof.outcome, ProbeStatus.WARN),
                    time_ns=now_ns,
                    device="" if proof.interface in NCCL_WAY else proof.interface,
                    under_load=kind is not Kind.PING,
                    boot_id=taker.boot_id,
                    run_id=f"pair-{now_ns}-{self._told}",
                )
            )
            while len(self._proofs) > MOST_PROVING:
                del self._proofs[next(iter(self._proofs))]

    def settled(self, kind: Kind, found: Blame, takers: Mapping[str, Taker]) -> None:
        """What is known once all follow-ups were made."""
        now = {(kind, each.blamed, each.nodes, each.domains): each for each in found.accusations}
        with self._lock:
            before = {key: each for key, each in self._known.items() if key[0] is kind}
            self._known = {
                **{key: each for key, each in self._known.items() if key[0] is not kind},
                **now,
            }
        for key, each in now.items():
            if not any(_same(key, other) for other in before) and each.blamed is not Blamed.NODE:
                self._begin(kind, each, takers)
        for key, each in before.items():
            if not any(_same(key, other) for other in now) and each.blamed is not Blamed.NODE:
                logger.bind(kind=kind.value, what=each.blamed.value).info(
                    f"not any more: {each.message}"
                )

    def _begin(self, kind: Kind, found: Accusation, takers: Mapping[str, Taker]) -> None:
        message = printable(f"{kind.value}: {found.message}", 900)
        logger.bind(nodes=list(found.nodes[:20]), kind=kind.value, what=found.blamed.value).warning(
            message
        )
        first = next((name for name in found.nodes if name in takers), None)
        if found.blamed in _SHARED and first is not None:
            domains = ",".join(f"{key}={value}" for key, value in found.domains)
            dedupe = f"pairs|{kind.value}|{found.blamed.value}|{domains}|{self._clock.now_ns()}"
            event = PublishEvent(first, takers[first].uid, "Warning", REASON, message, dedupe)
            with self._lock:
                self._events.append(event)

    # ------------------------------------------------------------ the loop takes

    def faults(self) -> tuple[Fault, ...]:
        """Faults since the last call."""
        with self._lock:
            found = tuple(self._faults)
            self._faults.clear()
        return found

    def events(self) -> tuple[PublishEvent, ...]:
        """Events since the last call."""
        with self._lock:
            found, self._events = tuple(self._events), []
        return found

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        """What nodes came to that have to prove themselves, oldest first."""
        with self._lock:
            return {name: tuple(self._proofs[name]) for name in names if name in self._proofs}

    def remarks(self, node: str) -> tuple[str, ...]:
        """What is between this node and others, beside its own faults."""
        with self._lock:
            return tuple(
                f"{key[0].value}: {each.message}"
                for key, each in self._known.items()
                if each.blamed is not Blamed.NODE and node in each.nodes
            )

    def counts(self) -> Counter[str]:
        """How many are suspected now, by what they are (``Blamed``)."""
        with self._lock:
            return Counter(each.blamed.value for each in self._known.values())


def _same(one: _Key, other: _Key) -> bool:
    """The same thing is suspected: a domain stays one while the nodes that show it change."""
    if one[1] is not other[1] or one[3] != other[3]:
        return False
    return one[1] in _SHARED or one[2] == other[2]
