"""A failing check taints its node, with what it measured as evidence, and clears it by passing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.record import Record
from konduktor_health.model import Fault, ProbeResult, ProbeStatus, Remedy, Severity, Trust
from konduktor_health.treatment import ALLOCATABLE, UNRESPONSIVE
from tests.support.builders import BOOT, KEYS, NOW, OTHER_BOOT, node
from tests.support.world import World
from tests.unit.runtime.test_probes_prove import MemoryProbes, everybody

GPU = "0000:3b:00"
EVIDENCE = "12 GB/s [h2d 12 GB/s, wanted >= 20 GB/s (H100 SXM, PCIe 5 x16)]"


class Scene:
    """A world with an agent on each node."""

    def __init__(self, **rules: Any) -> None:
        self.probes = MemoryProbes(everybody())
        self.world = World(probes=self.probes, unobserved_after_s=1e6, **rules)
        self.runs = 0
        self.world.hear(*(self.world.line(name, "nvidia: loading") for name in self.world.names))

    def finds(self, name: str = "gpu-1", check: str = "pcie-bandwidth", **fields: Any) -> Fault:
        """A check fails just now."""
        self.runs += 1
        now_ns = self.world.clock.now_ns()
        values: dict[str, Any] = {
            "severity": Severity.DEGRADED, "remedy": Remedy.INSPECT, "device": GPU,
            "boot_id": self.world.cluster.nodes[name].boot_id, "identity": f"{name}-{self.runs}",
            "source": "probes", "trust": Trust.PROBE, "text": EVIDENCE, "node": name,
            "time_ns": now_ns, "event_ns": now_ns,
        }  # fmt: skip
        fault = Fault(f"probe/{check}", **(values | fields))
        self.probes.found.append(fault)
        self.world.turn()
        return fault

    def measures(self, *statuses: ProbeStatus, name: str = "gpu-1", **fields: Any) -> None:
        """Runs of the check, a minute apart."""
        for status in statuses:
            self.world.clock.advance(60)
            self.world.hear()
            self.runs += 1
            values: dict[str, Any] = {
                "check": "pcie-bandwidth", "tier": "light", "device": GPU,
                "boot_id": self.world.cluster.nodes[name].boot_id, "run_id": f"run-{self.runs}",
            }  # fmt: skip
            one = ProbeResult(status=status, time_ns=self.world.clock.now_ns(), **(values | fields))
            self.probes.kept[name] = (*self.probes.kept.get(name, ()), one)
            self.probes._tell([name])
            self.world.turn()

    def quiet(self, seconds: float) -> None:
        """The log is read, and nothing is in it."""
        for _ in range(int(seconds / 60)):
            self.world.clock.advance(60)
            self.world.hear()

    def effects(self, name: str = "gpu-1") -> list[str]:
        taints = self.world.cluster.nodes[name].taints
        return [taint.effect for taint in taints if taint.key == KEYS.taint]

    def record(self, name: str = "gpu-1") -> Record:
        (found,) = read_ledger(self.world.cluster.nodes[name])[0].records
        return found


def test_a_degraded_finding_keeps_pods_away_softly_and_tells_the_measurement() -> None:
    scene = Scene()
    scene.finds()
    assert scene.effects() == ["PreferNoSchedule"]
    found = scene.record()
    assert (found.fault_id, found.device, found.rule) == (
        "probe/pcie-bandwidth",
        GPU,
        "probes-degraded",
    )
    assert (found.trust, found.injected, found.text) == (Trust.PROBE, False, EVIDENCE)
    condition = scene.world.cluster.nodes["gpu-1"].condition
    assert condition is not None
    assert EVIDENCE in condition.message


def test_a_fatal_finding_keeps_pods_out() -> None:
    scene = Scene()
    scene.finds(check="gpu-memory", severity=Severity.FATAL)
    assert scene.effects() == ["NoSchedule"]


def test_it_is_cleared_by_three_passes_of_the_same_check_without_a_repair() -> None:
    scene = Scene()
    scene.finds()
    scene.measures(*[ProbeStatus.PASS] * 3, check="another")
    scene.quiet(700)
    assert [each.what for each in scene.record().missing] == ["probe:pcie-bandwidth"]
    scene.measures(ProbeStatus.PASS, ProbeStatus.PASS, ProbeStatus.ERROR)
    assert scene.effects() == ["PreferNoSchedule"]
    scene.measures(ProbeStatus.PASS)
    assert scene.effects() == []


def test_a_fatal_finding_needs_the_light_tier_too() -> None:
    scene = Scene()
    scene.finds(check="gpu-memory", severity=Severity.FATAL)
    scene.measures(*[ProbeStatus.PASS] * 3, check="gpu-memory", tier="invasive")
    scene.quiet(700)
    assert [each.what for each in scene.record().missing] == ["probe:light"]
    scene.measures(*[ProbeStatus.PASS] * 3)
    assert scene.effects() == []


def test_one_that_comes_and_goes_has_to_stay_away_longer_each_time() -> None:
    scene = Scene()
    for quiet_s in (600, 1200, 2400):
        scene.finds()
        assert scene.effects() == ["PreferNoSchedule"]
        scene.measures(*[ProbeStatus.PASS] * 3)
        scene.quiet(quiet_s - 300)
        assert scene.effects() == ["PreferNoSchedule"], quiet_s
        scene.quiet(240)
        assert scene.effects() == [], quiet_s


def test_the_same_finding_that_is_told_again_after_a_restart_counts_once() -> None:
    scene = Scene()
    fault = scene.finds()
    scene.world.restarted(unobserved_after_s=1e6)
    scene.probes.found.append(replace(fault))
    scene.world.settle()
    assert scene.record().count == 1


def test_a_finding_from_before_a_reboot_is_history() -> None:
    scene = Scene()
    scene.world.clock.advance(10)
    scene.world.change("gpu-1", boot_id=OTHER_BOOT)
    scene.world.turn()
    scene.finds(boot_id=BOOT, remedy=Remedy.REBOOT, event_ns=NOW, time_ns=NOW)
    assert scene.effects() == []


def test_one_check_that_fails_on_many_nodes_at_once_is_held_as_a_common_cause() -> None:
    scene = Scene()
    for number in range(6):
        scene.finds(f"gpu-{number}")
    assert len(scene.world.tainted()) < 6
    assert [surge.fault_id for surge in scene.world.surges.now] == ["probe/pcie-bandwidth"]


def test_a_finding_of_a_node_that_is_not_managed_is_nothing() -> None:
    scene = Scene()
    scene.probes.found.append(replace(scene.finds("gpu-2"), node="gone", identity="x"))
    scene.world.settle()
    assert scene.world.tainted() == ["gpu-2"]


def test_a_check_that_is_not_measured_is_shown_and_fades() -> None:
    scene = Scene()
    scene.finds(check="unresponsive", severity=Severity.UNKNOWN, remedy=Remedy.NONE, device="")
    assert scene.record().fault_id == UNRESPONSIVE
    assert scene.effects() == []
    assert (scene.record().rule, scene.record().reached) == ("probes-unresponsive", False)
    scene.quiet(3 * 3600 + 60)
    assert read_ledger(scene.world.cluster.nodes["gpu-1"])[0].records == ()


def test_a_finding_does_not_keep_the_log_from_being_checkpointed() -> None:
    scene = Scene()
    for number in range(6):
        scene.finds(f"gpu-{number}")
    assert scene.world.observer.pending_nodes() > 0
    assert scene.world.observer.oldest_pending_ns() is None


# ---------------------------------------------------------------- allocatable GPUs


def offering(gpus: int | None, **fields: Any) -> Scene:
    scene = Scene()
    scene.world.cluster.put(replace(node("gpu-1"), gpu_allocatable=8, **fields))
    scene.world.feed.sync()
    scene.world.change("gpu-1", gpu_allocatable=gpus)
    return scene


def test_fewer_gpus_than_the_node_has_are_a_fault_after_a_grace_and_end_with_it() -> None:
    scene = offering(7)
    scene.quiet(540)
    assert scene.effects() == []
    scene.quiet(120)
    assert scene.effects() == ["PreferNoSchedule"]
    assert scene.record().fault_id == ALLOCATABLE
    assert scene.record().text == "pods can have 7 of 8 GPUs"
    scene.quiet(3600)
    assert [each.what for each in scene.record().missing] == ["operator"]
    scene.world.change("gpu-1", gpu_allocatable=8)
    scene.world.turn()
    assert [each.what for each in scene.record().missing] == ["quiet"]
    scene.quiet(700)
    assert scene.effects() == []


def test_a_device_plugin_that_starts_anew_is_no_fault() -> None:
    scene = offering(0)
    scene.quiet(400)
    scene.world.change("gpu-1", gpu_allocatable=8)
    scene.quiet(900)
    assert scene.world.cluster.nodes["gpu-1"].ledger is None


def test_what_lasts_is_one_fault_and_writes_no_more() -> None:
    scene = offering(7)
    scene.quiet(1500)
    writes = len(scene.world.cluster.writes)
    scene.quiet(7200)
    assert [each for each in scene.world.cluster.writes[writes:] if "gpu-1" in each] == []
    scene.world.restarted(unobserved_after_s=1e6)
    scene.quiet(1200)
    assert scene.record().count == 1


def test_an_operators_word_of_how_many_there_should_be_counts() -> None:
    label = ((KEYS.expected_gpus, "16"),)
    scene = offering(8, labels=label)
    scene.quiet(700)
    assert scene.record().text == "pods can have 8 of 16 GPUs"


def test_gpus_that_are_shared_divided_or_lent_are_not_counted_by_their_number() -> None:
    for labels in (
        (("nvidia.com/gpu.count", "9"), ("nvidia.com/mig.strategy", "single")),
        (("nvidia.com/gpu.count", "9"), ("nvidia.com/gpu.replicas", "4")),
        (("nvidia.com/gpu.count", "9"), ("nvidia.com/gpu.workload.config", "vm-passthrough")),
        (("nvidia.com/gpu.count", "9"), ("nvidia.com/gpu.deploy.device-plugin", "false")),
    ):
        scene = offering(8, labels=labels)
        scene.quiet(900)
        assert scene.world.cluster.nodes["gpu-1"].ledger is None
    scene = offering(8, labels=(("nvidia.com/gpu.count", "9"),))
    scene.quiet(900)
    assert scene.effects() == ["PreferNoSchedule"]


def test_a_node_that_does_not_tell_what_pods_can_have_is_not_accused() -> None:
    scene = offering(None)
    scene.quiet(900)
    assert scene.world.cluster.nodes["gpu-1"].ledger is None
