"""What pair tests find reaches the Node: a taint with the partners as evidence, proof, its end."""

from __future__ import annotations

import pytest

from konduktor_health.core.accusation import of_domain, of_node, of_pair
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.blame import Blame
from konduktor_health.core.blame_domains import Domain
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.pair_tests import Kind, Member, PairOutcome, PairResult
from konduktor_health.core.wanted import wanted_probes
from konduktor_health.model import Policy, Severity
from konduktor_health.runtime.pair_course import Confirmed, Learned, Proof
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.pair_members import Taker
from tests.support.builders import BOOT, NOW
from tests.support.memory_loki import FakeClock
from tests.support.world import World
from tests.unit.runtime.test_probes_prove import MemoryProbes, everybody, record, rows

LEAF = "topology/leaf"


class Scene:
    """Twenty nodes with agents; what pair tests find is told by the test."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.findings = PairFindings(self.clock)
        self.probes = MemoryProbes(everybody())
        self.world = World(probes=self.probes, pairs=self.findings, unobserved_after_s=1e6)
        self.findings._clock = self.clock = self.world.clock
        self.takers = {
            name: Taker(Member(name, ("eth0",)), f"uid-{name}", BOOT) for name in self.world.names
        }
        self.world.hear(*(self.world.line(name, "nvidia: loading") for name in self.world.names))

    def quiet(self, seconds: float) -> None:
        """The log is read, and nothing is in it."""
        for _ in range(int(seconds / 60)):
            self.world.clock.advance(60)
            self.world.hear()

    def accuse(self, outcome: PairOutcome, kind: Kind = Kind.PING) -> None:
        results = [
            PairResult(partner, "gpu-1", "eth0", outcome, "loss 100 %")
            for partner in ("gpu-2", "gpu-3")
        ]
        said = of_node("gpu-1", results, "eth0")
        self.findings.take_up(kind, Learned((Confirmed(said, "eth0"),)), self.takers)
        self.world.settle()

    def prove(self, outcome: PairOutcome, kind: Kind = Kind.PING) -> None:
        self.quiet(60)
        proof = Proof("gpu-1", "eth0", outcome)
        self.findings.take_up(kind, Learned(proofs=(proof,)), self.takers)
        self.world.settle()


def test_a_node_that_reaches_nobody_is_tainted_with_its_partners_as_evidence() -> None:
    scene = Scene()
    scene.accuse(PairOutcome.FAILED)
    assert scene.world.tainted() == ["gpu-1"]
    found = record(scene.world)
    assert (found.fault_id, found.device, found.severity) == (
        "probe/network-pair", "eth0", Severity.FATAL,
    )  # fmt: skip
    condition = scene.world.cluster.nodes["gpu-1"].condition
    assert condition is not None
    assert "gpu-2" in condition.message + found.text
    assert "gpu-3" in condition.message + found.text


def test_it_is_let_back_once_it_works_with_three_partners() -> None:
    scene = Scene()
    scene.accuse(PairOutcome.LOSSY)
    view = scene.world.cluster.nodes["gpu-1"]
    assert [taint.effect for taint in view.taints] == ["PreferNoSchedule"]
    wanted = wanted_probes(view, _ledger(scene), Policy())
    assert wanted == {"network-pair"}, "that is what rounds are asked for"
    scene.quiet(700)
    for count in (1, 2, 3):
        assert scene.world.tainted() == ["gpu-1"]
        scene.prove(PairOutcome.OK)
        if count < 3:
            assert rows(scene.world) == {"network-pair": count}
    assert scene.world.tainted() == []


@pytest.mark.parametrize("outcome", [PairOutcome.FAILED, PairOutcome.SLOW])
def test_a_test_that_fails_with_one_partner_is_no_proof(outcome: PairOutcome) -> None:
    scene = Scene()
    scene.accuse(PairOutcome.LOSSY)
    scene.quiet(700)
    for _ in range(5):
        scene.prove(outcome)
    assert rows(scene.world) == {}
    assert scene.world.tainted() == ["gpu-1"]


def test_pings_are_no_proof_of_bandwidth() -> None:
    scene = Scene()
    scene.accuse(PairOutcome.SLOW, Kind.BANDWIDTH)
    scene.quiet(700)
    for _ in range(3):
        scene.prove(PairOutcome.OK, Kind.PING)
    assert scene.world.tainted() == ["gpu-1"]
    for _ in range(3):
        scene.prove(PairOutcome.OK, Kind.BANDWIDTH)
    assert scene.world.tainted() == []


def test_a_node_that_is_accused_again_has_to_prove_it_anew() -> None:
    scene = Scene()
    scene.accuse(PairOutcome.LOSSY)
    scene.quiet(700)
    scene.prove(PairOutcome.OK)
    scene.prove(PairOutcome.OK)
    scene.accuse(PairOutcome.LOSSY)
    scene.prove(PairOutcome.OK)
    assert scene.world.tainted() == ["gpu-1"]


def test_a_switch_is_an_event_and_no_taint() -> None:
    scene = Scene()
    names = frozenset({"gpu-1", "gpu-2"})
    domain = Domain((LEAF, "7"), names, failing=names, fine=frozenset())
    bad = {name: {"gpu-9": PairResult("gpu-9", name, "eth0", PairOutcome.FAILED)} for name in names}
    accusation = of_domain(domain, bad, "eth0")
    for _ in range(3):
        scene.findings.settled(Kind.PING, Blame((accusation,)), scene.takers)
        scene.world.settle()
    (event,) = scene.world.cluster.events.values()
    assert (event.node, event.reason, event.type) == ("gpu-1", "DomainSuspect", "Warning")
    assert f"{LEAF}=7" in event.message
    assert scene.world.tainted() == []
    assert scene.world.cluster.nodes["gpu-1"].ledger is None


def test_a_pair_is_no_event_and_no_taint() -> None:
    scene = Scene()
    pair = of_pair(PairResult("gpu-1", "gpu-2", "eth0", PairOutcome.FAILED), "eth0")
    scene.findings.settled(Kind.PING, Blame((pair,)), scene.takers)
    scene.world.settle()
    assert scene.world.cluster.events == {}
    assert scene.world.tainted() == []
    assert scene.findings.counts() == {"pair": 1}


def test_names_of_nodes_and_what_they_say_are_bounded() -> None:
    scene = Scene()
    text = "x\x1b[31m" * 400
    results = [PairResult(p, "gpu-1", "eth0", PairOutcome.FAILED, text) for p in ("gpu-2", "gpu-3")]
    said = of_node("gpu-1", results, "eth0")
    scene.findings.take_up(Kind.PING, Learned((Confirmed(said, "eth0"),)), scene.takers)
    (fault,) = scene.findings.faults()
    assert len(fault.text) <= 512
    assert "\x1b" not in fault.text


def _ledger(scene: Scene) -> Ledger:
    return read_ledger(scene.world.cluster.nodes["gpu-1"])[0]
