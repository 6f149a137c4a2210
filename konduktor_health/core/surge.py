"""Is this a mass event, and is it over? (docs/concepts/safety.md 4, docs/design/budgets.md)

A surge is one fault id on max(``surge_min_nodes``, ``surge_percent`` of the nodes) within the
window, among all managed nodes, those of one pool, or those with one version of the driver. It
holds the fault id on these nodes until ``surge_quiet_s`` have passed without another node, or an
operator lets it act. A surge of the whole fleet makes the narrower ones of its fault id needless.

Invariants: ``follow`` is idempotent, so that the decision and the runtime see the same surges; a
released surge is kept until it is over, so that its next node does not begin it anew; a clock that
was set back makes no surge last longer than its quiet time from now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from konduktor_health.core.ledger import Ledger, Record
from konduktor_health.core.pools import driver_of, pool_of, share
from konduktor_health.frozen import replace
from konduktor_health.model import FleetView, NodeView, Policy, Scope, Surge
from konduktor_health.timestamps import NS
from parsers.printable import printable

MAX_SURGES = 200  # kept at a time; the newest are


@dataclass(frozen=True, slots=True)
class Surging:
    """The surges that hold."""

    holding: tuple[Surge, ...]
    policy: Policy

    def of(self, view: NodeView) -> frozenset[str]:
        """The fault ids that are held on this node."""
        if not self.holding:
            return frozenset()
        here = {
            Scope.FLEET: "",
            Scope.POOL: pool_of(view, self.policy).name,
            Scope.DRIVER: driver_of(view, self.policy),
        }
        return frozenset(each.fault_id for each in self.holding if each.name == here[each.scope])


def surging(fleet: FleetView, policy: Policy, now_ns: int) -> Surging:
    """What holds now."""
    return Surging(tuple(s for s in follow(fleet, policy, now_ns) if not s.released_ns), policy)


def surges(fleet: FleetView, policy: Policy, now_ns: int) -> frozenset[str]:
    """Fault ids that are held somewhere as a mass event."""
    return frozenset(each.fault_id for each in surging(fleet, policy, now_ns).holding)


def follow(fleet: FleetView, policy: Policy, now_ns: int) -> tuple[Surge, ...]:
    """The surges there are now: those known before that are not over, and new ones."""
    if not policy.surge_enabled:
        return ()
    if not fleet.surges and not may_begin(fleet.fatal_sightings, policy):
        return ()
    quiet_since_ns = now_ns - int(policy.surge_quiet_s * NS)
    known = {
        each.key: replace(each, last_ns=min(each.last_ns, now_ns))
        for each in fleet.surges
        if min(each.last_ns, now_ns) > quiet_since_ns
    }
    oldest_ns = now_ns - int(policy.surge_window_s * NS)
    found: dict[tuple[str, Scope, str], Surge] = {}
    followed = {fault_id for fault_id, _, _ in known}
    for fault_id, nodes in fleet.fatal_sightings.items():
        if len(nodes) < policy.surge_min_nodes and fault_id not in followed:
            continue  # no group of them can be enough
        recent = {name: at_ns for name, at_ns in nodes.items() if at_ns >= oldest_ns}
        for scope, name, times_ns, size in _scopes(fleet, recent):
            key = (fault_id, scope, name)
            before = known.get(key)
            # a time to come is of a clock that was set back since: a node, but no news
            newest_ns = max((at_ns for at_ns in times_ns if at_ns <= now_ns), default=0)
            if before is not None:
                last_ns = max(before.last_ns, newest_ns)
                most = max(before.nodes, len(times_ns))
                found[key] = replace(before, last_ns=last_ns, nodes=most)
                continue
            enough = max(policy.surge_min_nodes, share(size, policy.surge_percent))
            wider = scope is not Scope.FLEET and (fault_id, Scope.FLEET, "") in found
            if len(times_ns) >= enough and not wider:
                since_ns = newest_ns or now_ns
                found[key] = Surge(fault_id, scope, name, since_ns, since_ns, len(times_ns))
    kept = [each for each in (known | found).values() if each.last_ns > quiet_since_ns]
    newest = sorted(kept, key=lambda each: (each.since_ns, each.fault_id))[-MAX_SURGES:]
    return tuple(sorted(newest, key=lambda each: (each.fault_id, each.scope.value, each.name)))


def may_begin(fatal: Mapping[str, Mapping[str, int]], policy: Policy) -> bool:
    """Whether there are nodes enough for a surge at all: no group has more than all of them."""
    return any(len(nodes) >= policy.surge_min_nodes for nodes in fatal.values())


def only_in_surge(before: Ledger, after: Ledger, held: frozenset[str]) -> bool:
    """All that is new in the ledger is part of a mass event: it is not written, so that an
    outage writes no Node; its sightings are kept for when the surge is over."""
    known = {record.key: _essence(record) for record in before.records}
    news = [r for r in after.records if known.get(r.key) != _essence(r)]
    return bool(news) and all(record.fault_id in held for record in news)


def told(surge: Surge) -> str:
    """A surge in a few words; names come from Nodes' labels."""
    name = printable(surge.name, 63)
    where = {
        Scope.FLEET: "",
        Scope.POOL: f" of pool {name}",
        Scope.DRIVER: f" with driver {name}",
    }[surge.scope]
    return f"{printable(surge.fault_id, 80)} on {surge.nodes} nodes{where}"


def _essence(record: Record) -> tuple[object, ...]:
    return (record.severity, record.remedy, record.acting, record.boot_id)


def _scopes(
    fleet: FleetView, recent: Mapping[str, int]
) -> Iterator[tuple[Scope, str, list[int], int]]:
    """(scope, name, times of the nodes in it, how many nodes it has), the widest first. A group
    that is the whole fleet is none of its own."""
    if not recent:
        return
    yield Scope.FLEET, "", list(recent.values()), fleet.managed
    times: dict[tuple[Scope, str], list[int]] = {}
    for node, at_ns in recent.items():
        pool, driver = fleet.groups.get(node, ("", ""))
        for scope, name in ((Scope.POOL, pool), (Scope.DRIVER, driver)):
            if name:
                times.setdefault((scope, name), []).append(at_ns)
    for (scope, name), its_times in times.items():
        size = fleet.pool(name).managed if scope is Scope.POOL else fleet.drivers.get(name, 0)
        if 0 < size < fleet.managed:
            yield scope, name, its_times, size
