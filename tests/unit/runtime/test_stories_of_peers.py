"""Stories that hurt users of other projects: what was old acted, what was ill was cleared.

Each test names its story and where it was told (issue numbers of these projects). Stories of many
nodes at once: ``test_stories_of_mass_events``; of what others own: ``test_stories_of_ownership``.
"""

from __future__ import annotations

import pytest

from konduktor_health.model import ProbeStatus, Severity
from konduktor_health.runtime.reboots import SETTLE_S
from konduktor_health.runtime.reset import reset
from konduktor_health.timestamps import NS
from tests.support.builders import KEYS, NOW, OUR_TAINT, node
from tests.support.story import GPU, Story, xid

DEGRADED, FATAL = xid(63), xid(79)
DAY_S = 86_400.0


def effects(world: Story, name: str = "gpu-1") -> list[str]:
    return [each.effect for each in world.cluster.nodes[name].taints if each.key == KEYS.taint]


def missing(world: Story, name: str = "gpu-1") -> list[str]:
    return [each.what for record in world.ledger(name).records for each in record.missing]


def ill(world: Story, *lines: str) -> Story:
    """gpu-1 is tainted for these lines, an hour ago."""
    world.live(120)
    world.live(3600, *[world.line("gpu-1", text) for text in lines or (FATAL,)])
    assert world.tainted() == ["gpu-1"]
    return world


# ---------------------------------------------------------------- what is old


def test_replay_after_restart_changes_nothing() -> None:
    """A restart read skipped events again, and rebooted a node (NVSentinel#1280, #757, #1347)."""
    world = Story()
    lines = [world.line("gpu-1", FATAL), world.line("gpu-1", DEGRADED)]
    world.live(3600, *lines)
    world.reboot("gpu-1")
    world.prove("gpu-1")
    world.live(7200)
    assert world.tainted() == []
    world.taken_over().cluster.writes.clear()
    world.live(600, *lines)
    assert world.tainted() == []
    assert world.node_writes() == []


def test_replay_after_a_reset_changes_nothing() -> None:
    """Old events are read again although a person has vouched for the node (NVSentinel#1280)."""
    world = Story()
    old = world.line("gpu-1")
    world.live(600, old)
    again = world.line("gpu-1", ago_s=60)
    world.live(60, again)
    reset(world.cluster, world.cluster.nodes["gpu-1"], KEYS, world.clock, dry_run=False)
    world.feed.sync()
    world.live(60)
    world.taken_over().cluster.writes.clear()
    world.live(600, old, again)
    assert world.tainted() == []
    assert world.node_writes() == []


def test_cold_start_looks_back_a_quarter_of_an_hour_and_not_two() -> None:
    """A first start acts on the last two hours (NVSentinel's bootLookbackWindow, #1280)."""
    world = Story()
    world.cluster.state = None
    world.taken_over()
    world.hear(world.line("gpu-1", ago_s=7200), world.line("gpu-2", ago_s=60))
    world.settle()
    assert world.tainted() == ["gpu-2"]
    assert world.cluster.nodes["gpu-1"].health_label == "suspect"


def test_ring_that_is_sent_again_after_a_reboot_changes_nothing() -> None:
    """A forwarder sends the previous boot's ring, and the node is called ill again
    (NVSentinel's previous-boot Xid)."""
    world = ill(Story())
    ring = [world.line("gpu-1", FATAL, ago_s=s) for s in (1800, 1200, 600)]
    world.reboot("gpu-1")
    world.prove("gpu-1")
    world.live(1800)
    assert world.tainted() == []
    world.cluster.writes.clear()
    world.live(600, *ring)
    assert (world.tainted(), world.faults("gpu-1")) == ([], [])
    assert world.node_writes() == []


# ---------------------------------------------------------------- what was cleared too soon


def test_restart_of_the_monitor_clears_nothing() -> None:
    """A restart set the condition to healthy (node-problem-detector#304, NMA)."""
    world = ill(Story())
    world.taken_over()
    world.live(3 * DAY_S, every_s=600)
    assert world.tainted() == ["gpu-1"]
    condition = world.cluster.nodes["gpu-1"].condition
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "FatalFault")


def test_silence_after_a_repair_clears_nothing() -> None:
    """A reboot alone clears (NVSentinel's syslog faults, gpud), without any proof."""
    world = ill(Story())
    world.reboot("gpu-1")
    world.live(3 * DAY_S, every_s=600)
    assert world.tainted() == ["gpu-1"]
    assert missing(world) == ["operator"]


def test_healthy_without_load_does_not_clear() -> None:
    """A GPU that nobody used looked well, was let back, and failed again (NVSentinel#695, #1748).

    By default a fatal fault asks for an invasive pass on top of the light ones."""
    world = ill(Story())
    world.reboot("gpu-1")
    world.prove("gpu-1", "boot", *["light"] * 20)
    world.live(DAY_S, every_s=600)
    assert world.tainted() == ["gpu-1"]
    assert missing(world) == ["probe:invasive"]
    world.prove("gpu-1", "invasive")
    world.live(60)
    assert world.tainted() == []


def test_pass_from_before_the_repair_proves_nothing() -> None:
    """A premature all-clear (NVSentinel#695), by what was proven of the boot before."""
    world = ill(Story())
    world.prove("gpu-1")
    world.live(60)
    world.reboot("gpu-1")
    world.live(7200)
    assert world.tainted() == ["gpu-1"]
    assert missing(world) == ["probe:boot", "probe:light", "probe:invasive"]


@pytest.mark.parametrize("status", [ProbeStatus.TIMEOUT, ProbeStatus.ERROR, ProbeStatus.SKIP])
def test_probe_that_could_not_be_run_clears_and_accuses_nobody(status: ProbeStatus) -> None:
    """A connection failure of the host engine replaced healthy nodes (containers-roadmap#2555);
    a probe that hangs is neither health nor a fault of the node (NVSentinel#1576)."""
    world = ill(Story())
    world.reboot("gpu-1")
    world.prove("gpu-1", "boot", "light", "light", "light")
    for name in ("gpu-1", "gpu-2"):
        world.probe(name, "invasive", status)
    world.live(7200)
    assert world.tainted() == ["gpu-1"]
    assert missing(world) == ["probe:invasive"]
    assert world.cluster.nodes["gpu-2"].ledger is None


# ---------------------------------------------------------------- what was never cleared


def test_recovery_is_matched_after_the_gpu_was_swapped() -> None:
    """The record held the old GPU's UUID, and the recovery of the new one never matched it
    (NVSentinel#1585). A record is of a slot."""
    world = ill(Story(), FATAL)
    world.reboot("gpu-1")  # with another GPU in the same slot
    for tier in ("boot", "light", "light", "light", "invasive"):
        world.live(60)
        world.probe("gpu-1", tier, device=GPU)
        world.turn()
    world.live(700)
    assert world.tainted() == []


def test_proven_node_is_let_back_with_nothing_left_behind() -> None:
    """Never uncordoned, or with a stale label (NVSentinel#458, #363, #1416; NMA#266)."""
    world = ill(Story())
    world.reboot("gpu-1")
    world.prove("gpu-1")
    world.live(900)
    view = world.cluster.nodes["gpu-1"]
    assert (view.taints, view.health_label) == ((), None)
    assert view.condition is not None
    assert view.condition.status == "True"


def test_second_worse_fault_replaces_the_weaker_taint() -> None:
    """The second event's taint was not applied and the first not removed (NVSentinel#1439);
    conflicting severities (NVSentinel#1357)."""
    world = Story()
    world.live(60, world.line("gpu-1", DEGRADED))
    assert effects(world) == ["PreferNoSchedule"]
    world.live(60, world.line("gpu-1", FATAL))
    assert effects(world) == ["NoSchedule"]
    world.live(60, world.line("gpu-1", xid(94, "0000:86:00")))
    assert effects(world) == ["NoSchedule"]


def test_taint_goes_only_when_all_faults_are_cleared() -> None:
    """Faults share one condition, and the end of one hides the other (NPD#566, #664)."""
    world = ill(Story(), xid(48), xid(79, "0000:86:00"))
    for tier in ("boot", "light", "light", "light", "invasive"):
        world.live(60)
        world.probe("gpu-1", tier, device=GPU)
        world.turn()
    world.reboot("gpu-1")
    for tier in ("boot", "light", "light", "light", "invasive"):
        world.live(60)
        world.probe("gpu-1", tier, device=GPU)
        world.turn()
    world.live(3600)
    assert world.faults("gpu-1") == ["xid/79"]
    assert effects(world) == ["NoSchedule"]


def test_two_gpus_are_two_faults() -> None:
    """Counts by code alone mixed GPU 0 and GPU 5 (gpud, its reboot counter)."""
    world = ill(Story(), xid(48, GPU), xid(48, "0000:86:00"))
    assert [(each.device, each.count) for each in world.ledger("gpu-1").records] == [
        (GPU, 1),
        ("0000:86:00", 1),
    ]


# ---------------------------------------------------------------- timers


def test_alternating_reasons_reset_no_timer() -> None:
    """Two reasons took turns on one condition, so that its time never was up
    (eks-node-monitoring-agent#39, karpenter#2833). The quiet of one fault is its own."""
    world = Story()
    world.live(60, world.line("gpu-1", DEGRADED), world.line("gpu-1", xid(94, "0000:86:00")))
    world.reboot("gpu-1")
    for _ in range(70):  # the other GPU goes on
        world.live(60, world.line("gpu-1", xid(94, "0000:86:00")))
    assert world.faults("gpu-1") == ["xid/94"]


def test_alternating_reasons_do_not_flip_the_condition() -> None:
    """Several rules on one condition flip-flop it (node-problem-detector#566, #664)."""
    world = ill(Story(), FATAL)
    changes = len(world.cluster.writes)
    before = world.cluster.nodes["gpu-1"].condition
    for n in range(60):
        world.live(60, world.line("gpu-1", DEGRADED if n % 2 else FATAL, ago_s=1))
    after = world.cluster.nodes["gpu-1"].condition
    assert before is not None
    assert after is not None
    assert (after.status, after.reason) == (before.status, before.reason)
    conditions = [w for w in world.cluster.writes[changes:] if w.startswith("condition")]
    assert len(conditions) <= 2


def test_alternating_faults_count_towards_their_own_threshold() -> None:
    """A count within a window began anew with each other fault (NMA#39, karpenter#2833)."""
    world = Story()
    world.change("gpu-1", created_ns=NOW - 30 * 86_400 * NS)
    world.live(60)
    for n in range(3):
        world.reboot("gpu-1")
        world.live(SETTLE_S + 60)
        world.live(3600, world.line("gpu-1", xid(31, pid=n)))
    assert world.tainted() == ["gpu-1"]
    assert world.ledger("gpu-1").record(("", "node/unexpected-reboot"))


def test_counts_decay() -> None:
    """Occurrences had no window and never decayed (eks-node-monitoring-agent MinOccurrences)."""
    world = Story()
    world.change("gpu-1", created_ns=NOW - 30 * 86_400 * NS)
    world.live(60)
    for _ in range(6):
        world.reboot("gpu-1")
        world.live(0.7 * DAY_S, every_s=300)
    assert world.tainted() == []


def test_own_node_that_reboots_makes_no_loop() -> None:
    """The boot id was kept in memory, so the controller's own node rebooted for ever
    (ROCm/gpu-operator#110). Each reboot is counted once, whoever counts."""
    world = Story()
    world.change("gpu-1", created_ns=NOW - 30 * 86_400 * NS)
    world.live(60, world.line("gpu-1", xid(31)))
    for _ in range(2):
        world.reboot("gpu-1")  # the controller runs on it
        world.taken_over()
        world.live(SETTLE_S + 600)
    reboots = [r for r in world.ledger("gpu-1").records if r.fault_id == "node/unexpected-reboot"]
    assert [each.count for each in reboots] == [2]
    world.cluster.writes.clear()
    for _ in range(5):
        world.taken_over()
        world.live(SETTLE_S + 60)
    assert world.node_writes() == []


# ---------------------------------------------------------------- who the node is


def test_another_machine_under_the_old_name_is_not_ill() -> None:
    """A node replaced under the same name inherited what was stored (openshift/api#2821)."""
    world = ill(Story())
    late = world.line("gpu-1", ago_s=1500)
    world.cluster.put(
        node("gpu-1", uid="another", created_ns=world.clock.now_ns(), taints=(), boot_id="c" * 32)
    )
    world.feed.sync()
    world.live(600, late)
    assert world.tainted() == []


def test_ill_machine_that_is_made_anew_is_not_well() -> None:
    """Taints are lost when a cloud makes the node again (kubernetes#64650)."""
    world = Story()
    machine = "4c4c4544-0051-3510-8052-b4c04f4d3132"
    world.change("gpu-1", system_uuid=machine)
    ill(world)
    del world.cluster.nodes["gpu-1"]
    world.feed.sync()
    world.live(60)
    world.cluster.put(node("gpu-1", uid="another", system_uuid=machine, boot_id="c" * 32))
    world.feed.sync()
    world.live(60)
    assert world.cluster.nodes["gpu-1"].health_label == "suspect"
    assert [each.severity for each in world.ledger("gpu-1").records] == [Severity.FATAL]


@pytest.mark.parametrize("seconds", [0, 3600])
def test_taint_that_a_person_removed_does_not_come_back(seconds: int) -> None:
    """Taints returned as soon as they were removed (piraeus-ha-controller#23, client-go#1400)."""
    world = ill(Story())
    line = world.line("gpu-1", ago_s=30)
    world.change("gpu-1", taints=())
    world.live(120, line)
    world.turn(seconds)
    world.taken_over().live(120, line)
    assert OUR_TAINT not in world.cluster.nodes["gpu-1"].taints
    world.live(60, world.line("gpu-1"))  # newer evidence
    assert world.tainted() == ["gpu-1"]
