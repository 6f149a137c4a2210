"""What does the core get to see of these nodes, and what if it cannot decide about one?

A node that makes the decision fail (a bug) is left out and tried again later, so that it
costs its own node and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.budget import Budgets
from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import Writes, written
from konduktor_health.core.reset import our_taints
from konduktor_health.core.surge import may_begin
from konduktor_health.frozen import replace
from konduktor_health.model import NodeView, Plan, Policy, PublishEvent, Snapshot
from konduktor_health.ports import NodeFeed
from konduktor_health.runtime.aside import Aside
from konduktor_health.runtime.attesting import Attesting
from konduktor_health.runtime.coverage import Observation
from konduktor_health.runtime.diagnoses import DiagnosisWatch
from konduktor_health.runtime.domains import DomainWatch
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.probes import ProbeWatch
from konduktor_health.runtime.surges import Key, SurgeWatch
from konduktor_health.runtime.tombstones import Tombstones
from konduktor_health.runtime.turns import Places


def _as_it_is(snapshot: Snapshot) -> Snapshot:
    return snapshot


@dataclass(frozen=True, slots=True)
class Situation:
    """Node views, sightings and the fleet's counts, put together for a decision. ``complete`` adds
    what is known from elsewhere, ``writes`` makes the text of a ledger (where history is played:
    what is taken for granted, and a text that nobody else reads)."""

    feed: NodeFeed
    fleet: Fleet
    observer: Observer
    policy: Policy
    clock: Clock
    surges: SurgeWatch
    domains: DomainWatch | None = None  # None: domains are not looked at
    observation: Observation | None = None
    tombstones: Tombstones | None = None
    probes: ProbeWatch | None = None  # None: there are no agents
    diagnoses: DiagnosisWatch | None = None
    attesting: Attesting | None = None  # None: no agent is asked about kernel lines
    pairs: PairFindings | None = None  # None: nodes do not test each other
    complete: Callable[[Snapshot], Snapshot] = _as_it_is
    writes: Writes = written
    aside: Aside = field(default_factory=Aside)

    def surges_now(self) -> frozenset[Key]:
        """The surges that hold, brought up to date. Raises LeadershipLost."""
        now_ns = self.clock.now_ns()
        fatal = self.observer.fatal_sightings(now_ns)
        if self.surges.is_quiet and not may_begin(fatal, self.policy):
            return frozenset()
        return self.surges.follow(self.fleet.view(now_ns, fatal), self.policy)

    def places(self, name: str) -> Places:
        """What the budget has to give in the pool that this node is in."""
        view = self.feed.nodes().get(name)
        if view is None:
            return Places(0)
        now_ns = self.clock.now_ns()
        budgets = Budgets(self.fleet.view(now_ns, {}), self.policy, now_ns)
        soft = sum(len(names) for names in self.fleet.displaceable().values())
        return Places(budgets.of(view).room, soft)

    def recorded(self) -> set[str]:
        """Nodes that carry a ledger or our taint: what is done about them is decided again when
        the policy changes."""
        keys = self.policy.keys
        return {
            name
            for name, view in self.feed.nodes().items()
            if view.ledger is not None or our_taints(view, keys)
        }

    def decide(self, names: Iterable[str]) -> tuple[Plan, set[str]]:
        """The Plan for these nodes, and those that no decision could be made about."""
        known = self.feed.nodes()
        begun = (*self._look_at_domains(known), *(self.pairs.events() if self.pairs else ()))
        plan, failing = self._decide_known(names, known)
        return (replace(plan, actions=(*plan.actions, *begun)) if begun else plan), failing

    def _look_at_domains(self, known: Mapping[str, NodeView]) -> tuple[PublishEvent, ...]:
        if self.domains is None:
            return ()
        domains, labels = self.domains, self.policy.domains
        seen = self.observer.kinds.now(self.clock.now_ns())
        return self.aside.ask("domains", lambda: domains.look(seen, known, labels), ())

    def _remarks(self, name: str) -> tuple[str, ...]:
        domains = self.domains.remarks(name) if self.domains else ()
        pairs = self.pairs.remarks(name) if self.pairs else ()
        return (*domains, *pairs, *self.observer.remarks(name))

    def _decide_known(
        self, names: Iterable[str], known: Mapping[str, NodeView]
    ) -> tuple[Plan, set[str]]:
        nodes = {name: known[name] for name in names if name in known}
        if not nodes:
            return Plan(), set()
        try:
            return self._decide(nodes), set()
        except Exception as error:
            failing = {name for name, view in nodes.items() if not self._can_decide(view)}
            if not failing:
                raise
            logger.bind(nodes=sorted(failing)[:10]).opt(exception=error).error(
                "bug: no decision about these nodes"
            )
            rest = {name: view for name, view in nodes.items() if name not in failing}
            return (self._decide(rest) if rest else Plan()), failing

    def _decide(self, nodes: dict[str, NodeView]) -> Plan:
        now_ns = self.clock.now_ns()
        boots = self.fleet.boots(nodes)
        fatal = self.observer.fatal_sightings(now_ns)
        if not self.surges.now and not may_begin(fatal, self.policy):
            fatal = {}  # too few to be looked at
        snapshot = Snapshot(
            nodes=nodes,
            sightings=self.observer.sightings(nodes),
            fleet=self.fleet.view(now_ns, fatal, self.surges.now),
            boot_changed_ns={name: changed_ns for name, (changed_ns, _) in boots.items()},
            boot_noticed_ns={name: noticed_ns for name, (_, noticed_ns) in boots.items()},
            observed_from_ns=self.observation.for_decision(nodes) if self.observation else {},
            unobserved=(
                self.observation.unobserved(nodes.values()) if self.observation else frozenset()
            ),
            tombstones=self.tombstones.of(nodes.values()) if self.tombstones else {},
            displaceable=self._displaceable(),
            repairs=self.observer.repairs(nodes),
            probes=self.probes.results(nodes) if self.probes else {},
            attestations=self.attesting.of(nodes) if self.attesting else {},
            agents=self.probes.agents(nodes) if self.probes else frozenset(),
            diagnoses=self.diagnoses.of(nodes) if self.diagnoses else {},
            remarks={name: told for name in nodes if (told := self._remarks(name))},
        )
        return decide(self.complete(snapshot), self.policy, now_ns, writes=self.writes)

    def _displaceable(self) -> Mapping[str, tuple[NodeView, ...]]:
        by_pool = self.fleet.displaceable()
        known = self.feed.nodes() if by_pool else {}
        return {
            pool: tuple(known[name] for name in names if name in known)
            for pool, names in by_pool.items()
        }

    def _can_decide(self, view: NodeView) -> bool:
        try:
            self._decide({view.name: view})
        except Exception:
            return False
        return True
