"""Whose fault is it that pairs fail? Pure. (docs/design/rounds.md)

A pair that fails says that one of two nodes, or what lies between them, is broken. Who is to blame
follows from what else they do:

- A node is accused when it fails with two different partners that work with others, and fails with
  more of those than it works with.
- A pair whose ends both work with others, and that nothing else explains, is named. It accuses no
  node.
- Where what nodes share fails (``core.blame_domains``), that is named and none of the nodes.
- All else is open: ``core.rounds`` pairs the suspects with nodes that are known to work.

Invariants: nobody is accused by one pair, and nobody by partners that may be at fault themselves;
what was not measured accuses nobody. The order in which results came in does not matter. The work
grows with the number of results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from konduktor_health.core.accusation import (
    Accusation,
    Blamed,
    merged,
    of_domain,
    of_node,
    of_pair,
    of_two_domains,
)
from konduktor_health.core.blame_domains import Domain, DomainBlame, Label, blame_domains
from konduktor_health.core.pair_tests import (
    Graph,
    Member,
    PairKey,
    PairResult,
    Seen,
)

#: So many different partners have to fail before a node is accused (rule 3 of the design).
LEAST_PARTNERS = 2
MOST_ASKED = 4  # members of a domain that nothing is known of, at a time
MOST_IN_VAIN = 2  # so often a node that is not measured is asked again


@dataclass(frozen=True, slots=True)
class Question:
    """What has to be known before somebody is accused: does this node work with one that does?"""

    node: str
    interface: str
    outside: frozenset[str] = frozenset()  # the partner must not be one of these
    inside: frozenset[str] = frozenset()  # if any: the partner has to be one of these


@dataclass(frozen=True, slots=True)
class Blame:
    """What all results come to."""

    accusations: tuple[Accusation, ...] = ()
    questions: tuple[Question, ...] = ()
    undecided: tuple[PairResult, ...] = ()  # bad pairs that accuse nobody yet

    def accused(self) -> frozenset[str]:
        """The nodes that are accused themselves."""
        return frozenset(
            name for each in self.accusations if each.blamed is Blamed.NODE for name in each.nodes
        )


def blame(seen: Mapping[PairKey, Seen], members: Sequence[Member]) -> Blame:
    """Judge each interface by itself; what is the same on several is told once."""
    found: dict[tuple[Blamed, tuple[str, ...], tuple[Label, ...]], list[Accusation]] = {}
    questions: list[Question] = []
    undecided: list[PairResult] = []
    for interface in sorted({key[2] for key in seen}):
        graph = Graph.of(seen, interface)
        accusations, asked = _of_interface(graph, interface, members)
        for each in accusations:
            found.setdefault((each.blamed, each.nodes, each.domains), []).append(each)
        questions.extend(asked)
        undecided.extend(graph.bad_pairs())
    return Blame(tuple(merged(same) for same in found.values()), tuple(questions), tuple(undecided))


def _of_interface(
    graph: Graph, interface: str, members: Sequence[Member]
) -> tuple[list[Accusation], list[Question]]:
    before = {node: dict(partners) for node, partners in graph.bad.items()}
    missing = sorted(n for n, times in graph.unmeasured.items() if _to_ask_again(graph, n, times))
    domains = blame_domains(graph, members)
    found = [of_domain(d, before, interface) for d in domains.named]
    found += [of_two_domains(one, other, before, interface) for one, other in domains.apart]
    while accused := [n for n in graph.suspects() if _to_blame(graph, domains, n)]:
        found += [of_node(node, graph.bad[node].values(), interface) for node in accused]
        graph.drop(accused)
    pairs = [
        each
        for each in graph.bad_pairs()
        if not any(domains.holds(n) or _unsure(graph, n) for n in (each.client, each.server))
    ]
    for result in pairs:
        found.append(of_pair(result, interface))
        graph.drop_pair(result.client, result.server)
    questions = _about_domains(graph, domains, interface)
    asked = {each.node for each in questions}
    questions += [
        Question(node, interface)
        for node in (*graph.suspects(), *missing)
        if node not in asked and _unsure(graph, node)
    ]
    for domain in _to_ask_out(graph, domains):
        known = sorted(n for n in domain.members if graph.cleared(n))
        questions += [Question(n, interface, outside=domain.members) for n in known[:MOST_ASKED]]
    return found, questions


def _to_blame(graph: Graph, domains: DomainBlame, node: str) -> bool:
    partners = [p for p in graph.bad[node] if graph.credible(p) and domains.vouches(p, node)]
    return (
        not domains.holds(node)
        and len(partners) >= LEAST_PARTNERS
        and graph.against(node) > len(graph.good.get(node, ()))
    )


def _unsure(graph: Graph, node: str) -> bool:
    """More partners have to tell: it works with nobody, or fails about as often as it works."""
    against = graph.against(node)
    return not graph.cleared(node) or (
        against >= LEAST_PARTNERS and against >= len(graph.good[node])
    )


def _to_ask_again(graph: Graph, node: str, times: int) -> bool:
    """Nothing of it was measured: the agent may be what does not answer, or the node."""
    return times <= MOST_IN_VAIN and node not in graph.good and node not in graph.bad


def _about_domains(graph: Graph, domains: DomainBlame, interface: str) -> list[Question]:
    questions = []
    for domain in domains.open:
        suspected = {node for node in domain.unknown if graph.bad.get(node)}
        others = sorted(domain.unknown - suspected)[:MOST_ASKED]
        questions += [
            Question(node, interface, outside=domain.members)
            for node in (*sorted(suspected), *others)
        ]
    for domain in domains.ask_inside:
        node = min(domain.failing)
        questions.append(Question(node, interface, inside=domain.members - {node}))
    for domain, known in domains.ask_beyond:
        nodes = sorted(domain.failing)[:MOST_ASKED]
        questions += [Question(node, interface, outside=known) for node in nodes]
    return questions


def _to_ask_out(graph: Graph, domains: DomainBlame) -> list[Domain]:
    """Domains whose members speak against others while nobody of them is known to get out."""
    found: dict[Label, Domain] = {}
    for node in graph.suspects():
        for partner in graph.bad[node]:
            for domain in domains.shut.get(partner, ()) if graph.cleared(partner) else ():
                if node not in domain.members:
                    found[domain.label] = domain
    return list(found.values())
