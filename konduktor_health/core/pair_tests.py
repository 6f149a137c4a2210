"""What do nodes that test each other say? The vocabulary of pair tests. Pure.

Two nodes test what lies between them: the client of a test pings the server, or sends to it. What
comes of it says something of the pair; ``core.blame`` says what that means for a node or a switch.

Invariant: a pair that was not measured says nothing. An agent that the controller could not reach,
a tool that is missing, a server that had not started: all of them are ``NOT_MEASURED``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What two nodes measure with each other. Values are metric labels."""

    PING = "ping"  # does anything come through
    BANDWIDTH = "bandwidth"  # how much comes through (iperf3)
    NCCL = "nccl"  # an all-reduce over the GPUs of both

    @property
    def check(self) -> str:
        """Name of what an accused node has to pass: its fault is ``probe/<this>``. No agent has a
        check of that name: only rounds answer for it."""
        return _CHECKS[self]


_CHECKS = {
    Kind.PING: "network-pair",
    Kind.BANDWIDTH: "network-pair-bandwidth",
    Kind.NCCL: "network-pair-nccl",
}


class PairOutcome(Enum):
    """What came of one pair on one interface."""

    OK = "ok"
    SLOW = "slow"  # below what is asked, or far below the other pairs
    LOSSY = "lossy"  # packets are lost
    FAILED = "failed"  # nothing comes through
    NOT_MEASURED = "not measured"

    @property
    def bad(self) -> bool:
        """Measured, and not as it should be."""
        return self in _BADNESS

    @property
    def label(self) -> str:
        """As the value of a metric label."""
        return self.value.replace(" ", "_")


_BADNESS = {PairOutcome.SLOW: 1, PairOutcome.LOSSY: 2, PairOutcome.FAILED: 3}


@dataclass(frozen=True, slots=True)
class Member:
    """A node that can take part in a round: it has an agent."""

    name: str
    interfaces: tuple[str, ...] = ("eth0",)
    #: (label, value) of the labels whose nodes share something (``policy.domains``), in the
    #: order of the policy: the first is what a switch is most likely to be.
    domains: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PairTest:
    """What one node is asked to do with another."""

    client: str
    server: str
    interfaces: tuple[str, ...]
    follow_up: bool = False  # asked to tell whose fault another pair was


@dataclass(frozen=True, slots=True)
class PairResult:
    """What came of a test on one interface."""

    client: str
    server: str
    interface: str
    outcome: PairOutcome
    text: str = ""  # for people: "loss 100 %", "0.1 Gb/s of 9.4"


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest result of a pair on an interface, and when it was learned."""

    result: PairResult
    at_ns: int


#: (node, node, interface); the names in order, so that a pair has one key.
PairKey = tuple[str, str, str]


def pair_key(one: str, other: str, interface: str) -> PairKey:
    """The key of a pair, whoever is the client."""
    return (one, other, interface) if one < other else (other, one, interface)


def worst(outcomes: Iterable[PairOutcome]) -> PairOutcome:
    """The worst of bad outcomes; OK where there is none."""
    return max(outcomes, key=lambda each: _BADNESS.get(each, 0), default=PairOutcome.OK)


@dataclass(slots=True)
class Graph:
    """The pairs of one interface that were measured, by node."""

    good: dict[str, set[str]] = field(default_factory=dict)
    bad: dict[str, dict[str, PairResult]] = field(default_factory=dict)
    unmeasured: Counter[str] = field(default_factory=Counter)  # how often asked in vain

    @classmethod
    def of(cls, seen: Mapping[PairKey, Seen], interface: str) -> Graph:
        """The graph of an interface."""
        graph = cls()
        for (one, other, its), each in seen.items():
            if its != interface:
                continue
            if each.result.outcome is PairOutcome.OK:
                graph.good.setdefault(one, set()).add(other)
                graph.good.setdefault(other, set()).add(one)
            elif each.result.outcome.bad:
                graph.bad.setdefault(one, {})[other] = each.result
                graph.bad.setdefault(other, {})[one] = each.result
            else:
                graph.unmeasured.update((one, other))
        return graph

    def cleared(self, node: str) -> bool:
        """It works with somebody: a node that is dead, or that has a dead switch, works with
        nobody."""
        return bool(self.good.get(node))

    def against(self, node: str) -> int:
        """With how many nodes that work with somebody it fails. Failures with nodes that work with
        nobody say nothing of it."""
        return sum(self.cleared(partner) for partner in self.bad.get(node, {}))

    def credible(self, node: str) -> bool:
        """It works, and at least as often as it fails: its failures say something of others."""
        good = len(self.good.get(node, ()))
        return good > 0 and good >= self.against(node)

    def drop(self, nodes: Iterable[str]) -> None:
        """Forget the bad pairs of these nodes: they are explained."""
        for node in nodes:
            for other in self.bad.pop(node, {}):
                self.bad.get(other, {}).pop(node, None)

    def drop_pair(self, one: str, other: str) -> None:
        """Forget a bad pair: it is explained."""
        self.bad.get(one, {}).pop(other, None)
        self.bad.get(other, {}).pop(one, None)

    def suspects(self) -> list[str]:
        """Nodes with bad pairs that nothing explains yet, in order of name."""
        return sorted(node for node, partners in self.bad.items() if partners)

    def bad_pairs(self) -> list[PairResult]:
        """Bad pairs that nothing explains yet, each once, in order of names."""
        return [
            result
            for node in self.suspects()
            for other, result in sorted(self.bad[node].items())
            if node < other
        ]
