"""As ``test_random_histories``, with all that makes nodes depend on each other and on people.

Pools with budgets, surges and their release, pauses, silence, displacement, weak taints of held
nodes, operators' taints and releases, policies that change, clocks that go back, lines without
boot id or uptime, and repairs that are told again for hours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from konduktor_health.core.declared import Declared, render_declared
from konduktor_health.core.fold import add
from konduktor_health.core.operator import plan_release, plan_taint
from konduktor_health.core.pauses import pause_of
from konduktor_health.core.pools import pool_of
from konduktor_health.core.record import Ledger
from konduktor_health.core.standing import Taken, standing_of
from konduktor_health.core.surge import follow, surging
from konduktor_health.model import (
    EditNode,
    Fault,
    FleetView,
    NodeView,
    Plan,
    Policy,
    Pool,
    PoolCounts,
    RepairSeen,
    Severity,
    Snapshot,
    Surge,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import DEFAULT_RULES, Effect, Mode, Rule
from tests.support.builders import KEYS, NOW, edited, policy
from tests.unit.core.test_random_histories import KINDS, NAMES, Histories

ZONES = {name: "a" if name < "gpu-3" else "b" for name in NAMES}
LIMITS = {"a": 2, "b": 1}
DRIVER = "nvidia.com/gpu-driver-upgrade-state"
BASE = policy(
    rate_per_minute=0,
    surge_min_nodes=3,
    surge_percent=50.0,
    pools=(Pool("zone", label="zone", percent=40.0, max_nodes=3, rate_per_minute=0),),
)


def ruled(**changes: Any) -> tuple[Rule, ...]:
    """The default rules for faults, with another treatment of what they act on."""
    return tuple(
        replace(each, treatment=replace(each.treatment, **changes))
        if each.treatment.mode is Mode.ACT and each.name != "operator"
        else each
        for each in DEFAULT_RULES
    )


POLICIES: dict[str, Policy] = {
    "as at first": BASE,
    "a weak taint while held": replace(BASE, held_effect=Effect.PREFER_NO_SCHEDULE),
    "milder": replace(BASE, rules=ruled(effect=Effect.PREFER_NO_SCHEDULE)),
    "a label only": replace(BASE, rules=ruled(effect=Effect.LABEL)),
    "stronger": replace(BASE, rules=ruled(effect=Effect.NO_EXECUTE)),
    "observe": replace(BASE, rules=ruled(mode=Mode.OBSERVE)),
    "one in observation": replace(BASE, observe={"xid/79": "a doubt"}),
    "no surges": replace(BASE, surge_enabled=False),
}


class Fleets(Histories):
    """One cluster of two pools."""

    @initialize()
    def begin(self) -> None:
        self.policy = BASE
        self.surges: tuple[Surge, ...] = ()
        self.fatal: dict[str, dict[str, int]] = {}
        self.silent: set[str] = set()
        super().begin()

    def create(self, name: str) -> None:
        super().create(name)
        labels = (("zone", ZONES[name]),)
        self.nodes[name] = replace(self.nodes[name], labels=labels)

    names = st.sampled_from(NAMES)
    gpus = st.sampled_from(["0000:3b:00", "0000:86:00"])

    @rule(name=names, gpu=gpus, kind=st.sampled_from(list(KINDS)), late_s=st.integers(0, 600))
    def fault(self, name: str, gpu: str, kind: str, late_s: int) -> None:
        super().fault(name, gpu, kind, late_s)
        if KINDS[kind]["severity"] in (Severity.FATAL, Severity.DEGRADED):
            self.fatal.setdefault(kind, {}).setdefault(name, self.now)

    @rule(
        name=names,
        gpu=gpus,
        kind=st.sampled_from(list(KINDS)),
        stamped=st.booleans(),
        boot=st.sampled_from(["", "now", "next", "odd"]),
        source=st.sampled_from(["kmsg", "journal"]),
    )
    def odd_line(
        self, name: str, gpu: str, kind: str, stamped: bool, boot: str, source: str
    ) -> None:
        """Of a shipper that leaves things out, or is ahead of the kubelet."""
        self.count += 1
        known = self.nodes[name].boot_id
        boots = {"": "", "now": known, "next": f"{self.count + 1:032x}", "odd": "e" * 32}
        seen = Fault(
            kind,
            device=gpu,
            node=name,
            time_ns=self.now,
            event_ns=self.now,
            uptime_us=(self.now + self.set_back_ns - NOW) // 1000 + 10**12 if stamped else None,
            boot_id=boots[boot],
            identity=f"odd-{self.count}",
            source=source,
            text=f"odd line {self.count}",
            **KINDS[kind],
        )
        add(self.pending[name], seen, acting=True)
        if boot == "now":
            self.last[name, seen.key] = max(self.last.get((name, seen.key), 0), self.now)
        else:
            self.last.setdefault((name, seen.key), self.now)

    @rule(kind=st.sampled_from(["xid/79", "xid/63"]))
    def many_nodes_at_once(self, kind: str) -> None:
        for name in NAMES[:4]:
            self.fault(name, "0000:3b:00", kind, 0)

    @rule()
    def operator_lets_surges_act(self) -> None:
        self.surges = tuple(replace(each, released_ns=self.now) for each in self.surges)

    @rule(to=st.sampled_from(list(POLICIES)))
    def the_policy_changes(self, to: str) -> None:
        self.policy = POLICIES[to]

    @rule(name=names, effect=st.sampled_from([Effect.NO_SCHEDULE, Effect.PREFER_NO_SCHEDULE]))
    def operator_taints(self, name: str, effect: Effect) -> None:
        action = plan_taint(self.nodes[name], KEYS, "looks odd", effect, self.now)
        self.ordered(name, action)
        assert plan_taint(self.nodes[name], KEYS, "looks odd", effect, self.now) is None

    @rule(name=names)
    def operator_releases(self, name: str) -> None:
        self.ordered(name, plan_release(self.nodes[name], KEYS, self.now))
        assert plan_release(self.nodes[name], KEYS, self.now) is None
        self.cycle()

    def ordered(self, name: str, action: EditNode | None) -> None:
        if action is not None:
            for taint in action.edit.remove_taints:
                assert taint.key == KEYS.taint
            self.nodes[name] = edited(self.nodes[name], action)
            self.ordered_less.add(name)

    @rule(name=names, what=st.sampled_from(["driver", "maintenance", "new", "opted out"]))
    def a_pause_begins_or_ends(self, name: str, what: str) -> None:
        view = self.nodes[name]
        if what == "driver":
            labels = dict(view.labels)
            if labels.pop(DRIVER, None) is None:
                labels[DRIVER] = "pod-restart-required"
            view = replace(view, labels=tuple(sorted(labels.items())))
        elif what == "maintenance":
            declared = render_declared(Declared(self.now, self.now + 1800 * NS))
            view = replace(view, maintenance=None if view.maintenance else declared)
        elif what == "new":
            view = replace(view, created_ns=self.now)
        else:
            label = None if view.managed_label else "false"
            view = replace(view, managed_label=label)
        self.nodes[name] = view

    @rule(name=names)
    def silence_begins_or_ends(self, name: str) -> None:
        self.silent ^= {name}

    @rule(seconds=st.sampled_from([1, 3600]))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.now -= seconds * NS
        self.set_back_ns += seconds * NS
        for name, since_ns in self.observed.items():  # as runtime.coverage does
            self.observed[name] = max(since_ns, self.now)

    # -- playing a Plan

    def taken(self, view: NodeView) -> Taken:
        return standing_of(view, pool_of(view, self.policy), self.policy).taken

    def fleet(self) -> FleetView:
        oldest_ns = self.now - 600 * NS
        for kind, nodes in self.fatal.items():
            self.fatal[kind] = {name: at for name, at in nodes.items() if at >= oldest_ns}
        pools = {
            f"zone/{zone}": PoolCounts(
                sum(1 for each in ZONES.values() if each == zone),
                sum(
                    1
                    for view in self.nodes.values()
                    if ZONES[view.name] == zone and self.taken(view).a_taint
                ),
            )
            for zone in LIMITS
        }
        groups = {name: (f"zone/{zone}", "") for name, zone in ZONES.items()}
        tainted = sum(counts.tainted for counts in pools.values())
        return FleetView(
            len(NAMES),
            tainted,
            fatal_sightings=self.fatal,
            pools=pools,
            surges=self.surges,
            groups=groups,
        )

    def snapshot(self) -> Snapshot:
        fleet = self.fleet()
        self.surges = follow(fleet, self.policy, self.now)
        displaceable: dict[str, tuple[NodeView, ...]] = {}
        for name, view in self.nodes.items():
            if self.taken(view) is Taken.SOFT and view.managed_label is None:
                pool = f"zone/{ZONES[name]}"
                displaceable[pool] = (*displaceable.get(pool, ()), view)
        return replace(
            super().snapshot(),
            fleet=replace(fleet, surges=self.surges),
            unobserved=frozenset(self.silent),
            displaceable=displaceable,
        )

    def cycle(self) -> int:
        """Repairs are told again for hours (``runtime.repairs``): the newest of each kind."""
        newest: dict[str, dict[tuple[object, ...], RepairSeen]] = {}
        for name, seen in self.repairs.items():
            newest[name] = {(each.kind, each.device, each.boot_id): each for each in seen}
        written = super().cycle()
        self.ordered_less &= {
            name for name, view in self.nodes.items() if view.hold or view.managed_label
        }
        self.repairs = {name: list(seen.values()) for name, seen in newest.items()}
        return written

    # -- what must hold

    def check(self, action: EditNode, before: NodeView, after: NodeView) -> None:
        assert before.managed_label is None, "opted out"
        super().check(action, before, after)
        if before.hold is not None:
            assert not action.edit.add_taints
        was, is_now = self.taken(before), self.taken(after)
        if is_now in (Taken.TAINT, Taken.SOFT) and not was.a_taint and action.edit.add_taints:
            zone = ZONES[before.name]
            others = [
                view
                for name, view in self.nodes.items()
                if ZONES[name] == zone and name != before.name and self.taken(view).a_taint
            ]
            assert len(others) < LIMITS[zone], "the budget of the pool is exceeded"
        stronger = [Effect(taint.effect).rank for taint in action.edit.add_taints]
        weaker = [Effect(taint.effect).rank for taint in action.edit.remove_taints]
        if stronger and max(stronger) > max(weaker, default=0) and is_now is not Taken.HELD:
            assert pause_of(before, self.policy, self.now) is None

    def check_budget(self, before: NodeView, new: Ledger) -> None:
        """By pools: see ``check``."""

    def plan(self) -> Plan:
        plan = super().plan()
        held = surging(replace(self.fleet(), surges=self.surges), self.policy, self.now)
        assert plan.surges == {each.fault_id for each in held.holding}
        return plan


Fleets.TestCase.settings = settings(Histories.TestCase.settings, max_examples=40)
test_random_fleets = Fleets.TestCase
