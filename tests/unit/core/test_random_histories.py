"""Whatever happens to a cluster, in whatever order: what must always hold, holds.

A state machine plays random histories of faults, repairs, probes, boots, gaps, resets, deletions,
hand edits, holds, conflicts and crashes against ``decide`` (``test_random_fleets`` has more). It
keeps its own record of what was seen, so that the proofs which a clearing needs are checked against
that and not against the ledger.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.decide import decide
from konduktor_health.core.declared import Declared, render_declared
from konduktor_health.core.effects import effect_of
from konduktor_health.core.fold import SightingKey, add
from konduktor_health.core.record import Ledger
from konduktor_health.core.reset import our_taints, plan_reset
from konduktor_health.core.states import allowed, state_of
from konduktor_health.model import (
    EditKind,
    EditNode,
    Fault,
    FleetView,
    Hold,
    NodeView,
    Plan,
    ProbeResult,
    ProbeStatus,
    Remedy,
    RepairSeen,
    SetCondition,
    Severity,
    Sighting,
    Snapshot,
    Taint,
    Tombstone,
    Trust,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect, Repair
from tests.support.builders import FOREIGN_TAINT, KEYS, NOW, edited, node, policy

NAMES = tuple(f"gpu-{n}" for n in range(5))
GPUS = ("0000:3b:00", "0000:86:00")
KINDS: dict[str, dict[str, Any]] = {
    "xid/79": {"severity": Severity.FATAL, "remedy": Remedy.REBOOT},
    "xid/95": {"severity": Severity.FATAL, "remedy": Remedy.RESET_GPU},
    "xid/64": {"severity": Severity.FATAL, "remedy": Remedy.INSPECT},
    "xid/63": {"severity": Severity.DEGRADED, "remedy": Remedy.DRAIN_RESET},
    "xid/13": {"severity": Severity.APPLICATION, "remedy": Remedy.RESTART_APP},
}
#: Two of five: 40 %. Everybody's taint beyond that was there before.
POLICY = policy(budget_percent=40.0, rate_per_minute=0, surge_enabled=False)
LIMIT = 2
_LADDER_WITH_RESET = frozenset({Remedy.RESET_GPU, Remedy.DRAIN_RESET})
Key = tuple[str, str]


class Histories(RuleBasedStateMachine):
    """One cluster. ``now`` only moves forward; uptimes are seconds since the machine began."""

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.set_back_ns = 0  # how far the wall clock was set back
        self.count = 0
        self.nodes: dict[str, NodeView] = {}
        self.foreign: dict[str, tuple[Taint, ...]] = {}
        self.pending: dict[str, dict[SightingKey, Sighting]] = {}
        self.repairs: dict[str, list[RepairSeen]] = {}
        self.probes: dict[str, list[ProbeResult]] = {}
        self.agents: set[str] = set()
        self.observed: dict[str, int] = dict.fromkeys(NAMES, NOW - 60 * NS)
        self.tombstones: dict[str, Tombstone] = {}
        # what the test itself has seen
        self.last: dict[tuple[str, Key], int] = {}
        self.booted: dict[str, int] = {}
        self.was_reset: list[tuple[str, str, int]] = []
        self.passed: list[tuple[str, str, int]] = []
        self.by_hand: set[str] = set()  # ledgers that people have meddled with
        self.ordered_less: set[str] = set()  # the next decision lowers their taint
        for name in NAMES:
            self.create(name)

    def create(self, name: str) -> None:
        self.count += 1
        self.nodes[name] = node(
            name,
            uid=f"uid-{name}-{self.count}",
            boot_id=f"{self.count:032x}",
            system_uuid=f"machine-{name}",
            taints=(FOREIGN_TAINT,),
        )
        self.foreign[name] = (FOREIGN_TAINT,)
        self.pending[name], self.repairs[name], self.probes[name] = {}, [], []

    names = st.sampled_from(NAMES)
    gpus = st.sampled_from(GPUS)

    @rule(name=names, gpu=gpus, kind=st.sampled_from(list(KINDS)), late_s=st.integers(0, 600))
    def fault(self, name: str, gpu: str, kind: str, late_s: int) -> None:
        self.count += 1
        at_ns = self.now - late_s * NS
        seen = Fault(
            kind,
            device=gpu,
            node=name,
            time_ns=self.now,
            event_ns=at_ns,
            uptime_us=(at_ns + self.set_back_ns - NOW) // 1000 + 10**12,
            boot_id=self.nodes[name].boot_id,
            identity=f"line-{self.count}",
            source="kmsg",
            text=f"line {self.count}",
            **KINDS[kind],
        )
        add(self.pending[name], seen, acting=True)
        key = (name, seen.key)
        self.last[key] = max(self.last.get(key, 0), at_ns)

    @rule(name=names, gpu=gpus)
    def pod_line(self, name: str, gpu: str) -> None:
        self.count += 1
        seen = Fault(
            "xid/79",
            device=gpu,
            node=name,
            time_ns=self.now,
            event_ns=self.now,
            identity=f"pod-{self.count}",
            source="pods",
            trust=Trust.POD,
            **KINDS["xid/79"],
        )
        add(self.pending[name], seen, acting=True)

    @rule(name=names, gpu=gpus)
    def gpu_reset(self, name: str, gpu: str) -> None:
        self.repairs[name].append(
            RepairSeen(Repair.GPU_RESET, gpu, self.now, self.nodes[name].boot_id)
        )
        self.was_reset.append((name, gpu, self.now))

    @rule(
        name=names,
        tier=st.sampled_from(["boot", "light", "invasive"]),
        status=st.sampled_from([ProbeStatus.PASS, ProbeStatus.PASS, ProbeStatus.FAIL]),
        fake=st.booleans(),
    )
    def probe(self, name: str, tier: str, status: ProbeStatus, fake: bool) -> None:
        self.count += 1
        run = [
            ProbeResult(
                f"{tier}-check",
                tier,
                status,
                self.now,
                gpu,
                boot_id=self.nodes[name].boot_id,
                fake=fake,
                run_id=f"run-{self.count}",
            )
            for gpu in GPUS
        ]
        self.probes[name] = [*self.probes[name], *run][-12 * len(GPUS) :]
        if status is ProbeStatus.PASS and not fake:
            self.passed.append((name, tier, self.now))

    @rule(
        name=names,
        repair=st.sampled_from(["boot", "reset", "both"]),
        left_out=st.sampled_from(["", "", "", "repair", "light", "invasive", "quiet", "agent"]),
        gap=st.booleans(),
    )
    def somebody_repairs(self, name: str, repair: str, left_out: str, gap: bool) -> None:
        """All that clearing asks for, or all but one thing: random steps seldom come so far."""
        self.cycle()
        self.now += 60 * NS
        self.agents.add(name)
        self.observed.setdefault(name, self.now)
        if left_out != "repair":
            if repair in ("boot", "both"):
                self.boot(name)
            if repair in ("reset", "both"):
                for gpu in GPUS:
                    self.gpu_reset(name, gpu)
        self.cycle()
        for tier in ("boot", "light", "light", "light", "invasive"):
            self.now += NS
            if tier != left_out:
                self.probe(name, tier, ProbeStatus.PASS, fake=False)
        if gap:
            self.observed[name] = self.now
        if left_out == "agent":
            self.agents.discard(name)
        self.cycle()
        self.now += (300 if left_out == "quiet" else 90_000) * NS
        self.cycle()

    @rule(
        name=names,
        gpu=gpus,
        kind=st.sampled_from(["xid/95", "xid/63", "xid/79"]),
        left_out=st.sampled_from(["", "", "light", "quiet"]),
    )
    def a_node_breaks_and_is_repaired(self, name: str, gpu: str, kind: str, left_out: str) -> None:
        self.fault(name, gpu, kind, 0)
        self.somebody_repairs(name, "both", left_out, gap=False)

    @rule(name=names)
    def agent_comes_or_goes(self, name: str) -> None:
        self.agents ^= {name}

    @rule(name=names)
    def boot(self, name: str) -> None:
        self.count += 1
        self.nodes[name] = replace(self.nodes[name], boot_id=f"{self.count:032x}")
        self.booted[name] = self.now

    @rule(name=names, seen=st.booleans())
    def gap(self, name: str, seen: bool) -> None:
        if seen:
            self.observed[name] = self.now
        else:
            self.observed.pop(name, None)

    @rule(seconds=st.sampled_from([1, 30, 400, 700, 3700, 8000, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * NS

    @rule(name=names)
    def operator_resets(self, name: str) -> None:
        action = plan_reset(self.nodes[name], KEYS, self.now)
        if action:
            self.nodes[name] = edited(self.nodes[name], action)
            self.by_hand.discard(name)
            self.pending[name], self.repairs[name] = {}, []

    @rule(name=names)
    def hold_or_release(self, name: str) -> None:
        view = self.nodes[name]
        hold = None if view.hold else render_declared(Declared(self.now))
        self.nodes[name] = replace(view, hold=hold)

    @rule(name=names, what=st.sampled_from(["untaint", "taint", "foreign", "damage", "empty"]))
    def hand_edit(self, name: str, what: str) -> None:
        view = self.nodes[name]
        if what == "untaint":
            kept = tuple(taint for taint in view.taints if taint.key != KEYS.taint)
            self.nodes[name] = replace(view, taints=kept)
        elif what == "taint" and not our_taints(view, KEYS):
            taint = Taint(KEYS.taint, "true", "NoSchedule")
            self.nodes[name] = replace(view, taints=(*view.taints, taint))
        elif what == "foreign":
            self.count += 1
            taint = Taint(f"example.com/t{self.count}", "", "NoSchedule")
            self.nodes[name] = replace(view, taints=(*view.taints, taint))
            self.foreign[name] = (*self.foreign[name], taint)
        elif what == "damage" and view.ledger:
            self.nodes[name] = replace(view, ledger=view.ledger[: len(view.ledger) // 2])
            self.by_hand.add(name)
        elif what == "empty" and view.ledger:
            self.nodes[name] = replace(view, ledger=None)
            self.by_hand.add(name)

    @rule(name=names)
    def deleted_and_made_again(self, name: str) -> None:
        view = self.nodes[name]
        ledger, _ = read_ledger(view)
        if ledger.records:
            faults = tuple(f"{each.fault_id}|{each.device}" for each in ledger.records)
            self.tombstones[view.system_uuid] = Tombstone(name, view.uid, self.now, faults)
        self.create(name)
        self.by_hand.discard(name)

    @rule()
    def decided(self) -> None:
        self.cycle()

    @rule(done=st.integers(0, 6))
    def decided_and_killed(self, done: int) -> None:
        """A crash after some of the writes: the log is read again, so what was heard is heard."""
        self.apply(self.plan(), done)

    @precondition(lambda self: self.now > NOW)
    @rule()
    def a_second_decision_without_news_writes_nothing(self) -> None:
        for _ in range(6):
            if not self.cycle():
                break
        assert not self.cycle()

    # -- playing a Plan

    def snapshot(self) -> Snapshot:
        tainted = [view for view in self.nodes.values() if our_taints(view, KEYS)]
        return Snapshot(
            nodes=self.nodes,
            sightings={name: tuple(seen.values()) for name, seen in self.pending.items()},
            fleet=FleetView(len(NAMES), len(tainted)),
            boot_changed_ns={name: at - NS for name, at in self.booted.items()},
            boot_noticed_ns=dict(self.booted),
            repairs={name: tuple(seen) for name, seen in self.repairs.items()},
            probes={name: tuple(seen) for name, seen in self.probes.items()},
            agents=frozenset(self.agents),
            observed_from_ns=self.observed,
            tombstones=self.tombstones,
        )

    policy = POLICY

    def plan(self) -> Plan:
        return decide(self.snapshot(), self.policy, self.now)

    def cycle(self) -> int:
        plan = self.plan()
        written = self.apply(plan, None)
        for name in plan.settled:
            self.pending[name] = {}
        self.check_rest(plan)
        for name in plan.settled:
            self.repairs[name] = []
        return written

    @rule(name=names)
    def a_conflict(self, name: str) -> None:
        """One node is written by others between decision and write: its edit fails."""
        self.apply(self.plan(), None, besides=name)

    def apply(self, plan: Plan, limit: int | None, besides: str = "") -> int:
        writes = [each for each in plan.actions if isinstance(each, EditNode | SetCondition)]
        writes = [each for each in writes if each.node != besides]
        writes.sort(key=lambda each: isinstance(each, SetCondition))
        edited_nodes = [each.node for each in writes if isinstance(each, EditNode)]
        assert len(set(edited_nodes)) == len(edited_nodes), "two edits of one node"
        for action in writes[:limit]:
            view = self.nodes[action.node]
            if isinstance(action, SetCondition):
                self.nodes[action.node] = replace(view, condition=action.condition)
                continue
            after = edited(view, action)
            self.check(action, view, after)
            self.nodes[action.node] = after
        return len(writes[:limit])

    # -- what must hold

    def check_rest(self, plan: Plan) -> None:
        """Nodes at rest: the next decision at this time says of them what this one said."""
        edits = [each.edit for each in plan.actions if isinstance(each, EditNode)]
        if any(edit.add_taints or edit.remove_taints for edit in edits):
            return  # the counts are others now
        again = self.plan()
        assert plan.at_rest <= again.settled
        for name in plan.at_rest:
            holds = [each for each in plan.actions if isinstance(each, Hold) and each.node == name]
            assert [each for each in again.actions if each.node == name] == holds
            assert again.wakes.get(name) == plan.wakes.get(name)
            assert again.waits.get(name) == plan.waits.get(name)

    def check(self, action: EditNode, before: NodeView, after: NodeView) -> None:
        old, _ = read_ledger(before)
        new, _ = read_ledger(after)
        keys = {each.key for each in (*old.records, *new.records)}
        for key in keys | {each.key for each in old.history}:
            step = (state_of(old, key), state_of(new, key))
            assert allowed(*step), (key, *step)
        if action.edit.add_taints and not our_taints(before, KEYS):
            self.check_budget(before, new)
            assert before.hold is None, "an operator holds this node"
        for taint in action.edit.remove_taints:
            assert taint.effect in old.owned, "not ours to remove"
        if before.hold is not None:
            assert not action.edit.remove_taints
        if action.kind is EditKind.CLEAR:
            self.check_proof(before.name, old, new)

    def check_budget(self, before: NodeView, new: Ledger) -> None:
        tainted = sum(1 for view in self.nodes.values() if our_taints(view, KEYS))
        assert tainted < LIMIT, "the budget is exceeded"

    def check_proof(self, name: str, old: Ledger, new: Ledger) -> None:
        for record in old.records:
            key, effect = (name, record.key), record.effect
            if new.record(record.key) is not None or not effect:
                continue
            last_ns = self.last[key]
            quiet_ns = (600 if record.severity is Severity.FATAL else 3600) * NS
            assert self.now - max(last_ns, self.observed[name]) >= quiet_ns
            booted = self.booted.get(name, 0) >= last_ns
            was_reset = any(
                at_ns >= last_ns and (where, gpu) == (name, record.device)
                for where, gpu, at_ns in self.was_reset
            )
            assert booted or (was_reset and record.remedy in _LADDER_WITH_RESET)
            boot_ns = self.booted[name] if booted else 0
            if record.severity is Severity.FATAL:
                for tier, times in (("boot", 1), ("light", 3), ("invasive", 1)):
                    passes = [
                        1
                        for where, of, at in self.passed
                        if (where, of) == (name, tier) and last_ns < at >= boot_ns
                    ]
                    assert len(passes) >= times, tier

    @invariant()
    def foreign_taints_are_as_they_were(self) -> None:
        for name, view in getattr(self, "nodes", {}).items():
            others = tuple(taint for taint in view.taints if taint.key != KEYS.taint)
            assert others == self.foreign[name]

    @invariant()
    def our_taint_has_an_open_record_that_asks_for_it(self) -> None:
        for name, view in getattr(self, "nodes", {}).items():
            ledger, corrupt = read_ledger(view)
            present = {taint.effect for taint in our_taints(view, KEYS)}
            assert len(set(ledger.owned) & present) <= 1
            if (
                corrupt
                or name in self.by_hand | self.ordered_less
                or not set(ledger.owned) & present
            ):
                continue
            asking = [each for each in ledger.records if each.asks]
            asked = [effect_of(each, view, self.policy).value for each in asking]
            granted = [each.effect for each in asking if each.effect]
            strongest = max((Effect(each).rank for each in (*asked, *granted)), default=0)
            assert strongest >= max(Effect(each).rank for each in set(ledger.owned) & present)


Histories.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_random_histories = Histories.TestCase
