"""What is said of a node, a pair or a switch that is at fault? Pure.

Invariant: names and texts come from nodes; the evidence and the names in a message are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from konduktor_health.core.blame_domains import Domain, Label
from konduktor_health.core.pair_tests import PairOutcome, PairResult, worst

MOST_EVIDENCE = 8  # results with an accusation
MOST_NAMED = 5  # nodes in a message


class Blamed(Enum):
    """What is at fault."""

    NODE = "node"
    PAIR = "pair"  # what lies between two nodes; neither is accused
    DOMAIN = "domain"  # what the nodes of a domain share: a switch
    APART = "apart"  # what lies between two domains


@dataclass(frozen=True, slots=True)
class Accusation:
    """What is at fault, and why we say so."""

    blamed: Blamed
    nodes: tuple[str, ...]  # the node; both ends of a pair; the failing nodes of a domain
    interfaces: tuple[str, ...]
    outcome: PairOutcome  # the worst of the evidence
    message: str
    domains: tuple[Label, ...] = ()
    evidence: tuple[PairResult, ...] = ()


def of_node(node: str, evidence: Iterable[PairResult], interface: str) -> Accusation:
    """A node that fails with partners that work with others."""
    results = sorted(evidence, key=lambda r: (r.client, r.server))
    outcome = worst(each.outcome for each in results)
    partners = [each.server if each.client == node else each.client for each in results]
    message = (
        f"{node}: {outcome.value} with {_named(partners)}, which work with others{_told(results)}"
    )
    return Accusation(
        Blamed.NODE,
        (node,),
        (interface,),
        outcome,
        message,
        evidence=tuple(results[:MOST_EVIDENCE]),
    )


def of_pair(result: PairResult, interface: str) -> Accusation:
    """What lies between two nodes that both work with others."""
    ends = tuple(sorted((result.client, result.server)))
    message = (
        f"between {ends[0]} and {ends[1]}: {result.outcome.value}; both work with others"
        f"{_told([result])}"
    )
    return Accusation(Blamed.PAIR, ends, (interface,), result.outcome, message, evidence=(result,))


def of_domain(
    domain: Domain, bad: Mapping[str, Mapping[str, PairResult]], interface: str
) -> Accusation:
    """What the nodes of a domain share. ``bad``: all bad pairs by node."""
    results = [
        result
        for node in sorted(domain.failing)
        for partner, result in sorted(bad.get(node, {}).items())
        if partner not in domain.members
    ]
    outcome = worst(each.outcome for each in results)
    label, value = domain.label
    message = (
        f"{len(domain.failing)} of {len(domain.members)} nodes of {label}={value} are "
        f"{outcome.value} with all others: suspect the switch they share"
        f" ({_named(sorted(domain.failing))})"
    )
    return Accusation(
        Blamed.DOMAIN,
        tuple(sorted(domain.failing)),
        (interface,),
        outcome,
        message,
        (domain.label,),
        tuple(results[:MOST_EVIDENCE]),
    )


def of_two_domains(
    one: Domain, other: Domain, bad: Mapping[str, Mapping[str, PairResult]], interface: str
) -> Accusation:
    """What lies between two domains that both work inside. ``bad``: all bad pairs by node."""
    results = [
        result
        for node in sorted(one.members)
        for partner, result in sorted(bad.get(node, {}).items())
        if partner in other.members
    ]
    outcome = worst(each.outcome for each in results)
    labels = tuple(sorted((one.label, other.label)))
    first, second = (f"{label}={value}" for label, value in labels)
    message = (
        f"between {first} and {second}: {outcome.value}, and both work inside: "
        "suspect what connects them"
    )
    return Accusation(
        Blamed.APART,
        tuple(sorted({n for r in results for n in (r.client, r.server)})),
        (interface,),
        outcome,
        message,
        labels,
        tuple(results[:MOST_EVIDENCE]),
    )


def merged(same: Sequence[Accusation]) -> Accusation:
    """What is said of the same on several interfaces, in one."""
    if len(same) == 1:
        return same[0]
    first = same[0]
    interfaces = tuple(name for each in same for name in each.interfaces)
    return Accusation(
        first.blamed,
        first.nodes,
        interfaces,
        worst(each.outcome for each in same),
        f"{first.message} (on {_named(interfaces)})",
        first.domains,
        tuple(result for each in same for result in each.evidence)[:MOST_EVIDENCE],
    )


def _told(results: Sequence[PairResult]) -> str:
    text = next((each.text for each in results if each.text), "")
    return f" ({text})" if text else ""


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return shown + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")
