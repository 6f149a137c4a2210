"""Is it what nodes share that failed, rather than the nodes? Pure.

Nodes with one value of a label of ``policy.domains`` hang on one switch. When (almost) all of them
fail with everybody outside, the switch is named and none of its nodes: that their links inside work
or not says whether the switch is dead or cut off.

Rules, for a domain of at least two members:
- A member is *failing* when it fails with a node outside that works with somebody, and works with
  nobody outside. It is *fine* when it works with a node outside.
- 80 % of its members failing, two at least: the domain fails. Where two members of two are dead,
  the switch is named, not the nodes: that costs a look at a switch, the other way costs two nodes.
- While enough members are failing or not measured towards the outside, the domain is *open*: no
  member of it is accused, and those that are not measured are asked next.
- Two domains that fail only with each other, and have met a third where there is one, are cut
  apart: what lies between them is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from konduktor_health.core.pair_tests import Graph, Member

#: Share of a domain's members that have to fail, percent, rounded up; and how many at least.
SHARE_PERCENT = 80
LEAST_MEMBERS = 2
ENOUGH_FINE = 3
LEAST_MET = 2  # other domains, before what lies between two is named

Label = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a domain's members stand towards the outside."""

    label: Label
    members: frozenset[str]
    failing: frozenset[str]
    fine: frozenset[str]

    @property
    def unknown(self) -> frozenset[str]:
        """Members whose way out is not measured."""
        return self.members - self.failing - self.fine

    @property
    def needed(self) -> int:
        """So many have to fail."""
        return max(LEAST_MEMBERS, math.ceil(len(self.members) * SHARE_PERCENT / 100))

    @property
    def failed(self) -> bool:
        """Enough of them fail."""
        return len(self.failing) >= self.needed

    @property
    def possible(self) -> bool:
        """Enough of them may yet turn out to fail. A few that are fine say no, unless more fail:
        not all of a zone of 500 have to be asked."""
        if len(self.fine) >= ENOUGH_FINE and len(self.fine) >= len(self.failing):
            return False
        return len(self.failing) + len(self.unknown) >= self.needed


@dataclass(slots=True)
class DomainBlame:
    """What the domains of one interface come to."""

    named: list[Domain] = field(default_factory=list)
    apart: list[tuple[Domain, Domain]] = field(default_factory=list)  # work inside, not together
    open: list[Domain] = field(default_factory=list)  # not known yet: nobody of it is accused
    ask_inside: list[Domain] = field(default_factory=list)  # not known whether it works inside
    #: Met too few other domains; with the nodes that it has met or that are its own.
    ask_beyond: list[tuple[Domain, frozenset[str]]] = field(default_factory=list)
    shut: dict[str, list[Domain]] = field(
        default_factory=dict
    )  # by member: nobody known to get out

    @property
    def covered(self) -> frozenset[str]:
        """Nodes whose failures are explained by their domain."""
        return frozenset(node for each in self.named for node in each.members - each.fine)

    def holds(self, node: str) -> bool:
        """The node is not to be accused yet."""
        beyond = (domain for domain, _ in self.ask_beyond)
        return any(node in each.members for each in (*self.open, *self.ask_inside, *beyond))

    def vouches(self, partner: str, node: str) -> bool:
        """What the partner says of the node counts: they share a switch, or the partner's is known
        to let somebody out."""
        return all(node in each.members for each in self.shut.get(partner, ()))


def blame_domains(graph: Graph, members: Sequence[Member]) -> DomainBlame:
    """Judge the domains that have failing members. Takes their bad pairs out of the graph where a
    domain explains them."""
    blame = DomainBlame()
    domains = _domains(graph, members)
    for domain in domains:
        if not domain.fine:
            for node in domain.members:
                blame.shut.setdefault(node, []).append(domain)
    # The largest that fails whole explains most: a leaf before each of its racks.
    failed = sorted(
        (each for each in domains if each.failing and each.failed),
        key=lambda d: (-len(d.failing) / len(d.members), -len(d.members), d.label),
    )
    waiting = [d for d in domains if d.failing and not d.failed and d.possible]
    waiting = [d for d in waiting if _undecided(d, graph)]
    left = _name(graph, failed, waiting, blame)
    for domain in left:
        met = _met(graph, domain, domains)
        if len(met) < LEAST_MET and len(met) < sum(_other(each, domain) for each in domains):
            known = frozenset(node for each in met for node in each.members)
            blame.ask_beyond.append((domain, known | domain.members))
    for domain in left if not blame.ask_beyond else ():
        rivals = [d for d in left if d.members & _partners_outside(graph, domain, blame.covered)]
        blame.apart.extend((domain, each) for each in rivals if domain.label < each.label)
    blame.open.extend(d for d in waiting if not d.failing <= blame.covered)
    graph.drop(blame.covered)
    for one, other in blame.apart:
        for node in one.members:
            for partner in [p for p in graph.bad.get(node, {}) if p in other.members]:
                graph.drop_pair(node, partner)
    return blame


def _name(
    graph: Graph, failed: Sequence[Domain], waiting: Sequence[Domain], blame: DomainBlame
) -> list[Domain]:
    """Name those that fail with more than each other; what is left fails only with its like."""
    left: list[Domain] = []
    for domain in failed:
        if domain.failing <= blame.covered:
            continue
        rivals = [
            each
            for each in (*failed, *waiting)
            if not each.members & domain.members and not each.fine
        ]
        outside = _partners_outside(graph, domain, frozenset())
        if any(larger.members > domain.members for larger in waiting):
            blame.open.append(domain)  # a rack of a leaf that may fail whole
        elif not _measured_inside(graph, domain):
            blame.ask_inside.append(domain)
        elif outside - {node for each in rivals for node in each.members}:
            blame.named.append(domain)
        elif any(each.members & outside for each in rivals if each in waiting):
            blame.open.append(domain)
        else:
            left.append(domain)
    return [d for d in left if _partners_outside(graph, d, blame.covered)]


def _other(one: Domain, domain: Domain) -> bool:
    """Another domain of the same label."""
    return one.label[0] == domain.label[0] and one.label != domain.label


def _met(graph: Graph, domain: Domain, domains: Sequence[Domain]) -> list[Domain]:
    """Other domains of its label with which something was measured."""
    partners = {
        partner
        for node in domain.members
        for partner in (*graph.good.get(node, ()), *graph.bad.get(node, ()))
    }
    return [each for each in domains if _other(each, domain) and each.members & partners]


def _domains(graph: Graph, members: Sequence[Member]) -> list[Domain]:
    by_label: dict[Label, set[str]] = {}
    for member in members:
        for label in member.domains:
            by_label.setdefault(label, set()).add(member.name)
    found = []
    for label, names in sorted(by_label.items()):
        if not LEAST_MEMBERS <= len(names) < len(members):
            continue
        fine = {name for name in names if graph.good.get(name, set()) - names}
        failing = {name for name in names - fine if _fails_outside(graph, name, names)}
        found.append(Domain(label, frozenset(names), frozenset(failing), frozenset(fine)))
    return found


def _fails_outside(graph: Graph, node: str, inside: Iterable[str]) -> bool:
    return any(p not in inside and graph.cleared(p) for p in graph.bad.get(node, {}))


def _undecided(domain: Domain, graph: Graph) -> bool:
    """Nobody of it is known to get out, or more than one member is under suspicion: the switch may
    be what is broken."""
    suspected = {n for n in domain.unknown if graph.bad.get(n) and not graph.cleared(n)}
    return not domain.fine or len(domain.failing | suspected) >= LEAST_MEMBERS


def _measured_inside(graph: Graph, domain: Domain) -> bool:
    return any(
        partner in domain.members
        for node in domain.members
        for partner in (*graph.good.get(node, ()), *graph.bad.get(node, ()))
    )


def _partners_outside(graph: Graph, domain: Domain, without: frozenset[str]) -> set[str]:
    return {
        partner
        for node in domain.failing
        for partner in graph.bad.get(node, {})
        if partner not in domain.members and partner not in without and graph.cleared(partner)
    }
