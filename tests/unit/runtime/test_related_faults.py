"""Faults of one event are told as one; nothing that may act waits for that, or is hidden by it."""

from __future__ import annotations

from konduktor_health.core.ledger import parse
from konduktor_health.core.roots import root_of
from konduktor_health.model import Fault, Remedy, Severity, Trust
from parsers.record import unwrap
from tests.support.builders import node
from tests.support.world import World

GPU = "0000:3b:00"


def xid(code: int, text: str = "x", gpu: str = GPU, pid: int = 1, name: str = "train") -> str:
    return f"NVRM: Xid (PCI:{gpu}): {code}, pid={pid}, name={name}, {text}"


def pending(world: World, name: str = "gpu-1") -> dict[str, Fault]:
    seen = world.observer.sightings([name]).get(name, ())
    return {each.fault.fault_id: each.fault for each in seen}


def take(world: World, *texts: str, apart_s: float = 0.1) -> dict[str, Fault]:
    for text in texts:
        world.observer.take([world.line("gpu-1", text)])
        world.clock.advance(apart_s)
    return pending(world)


def test_a_follower_names_its_root() -> None:
    seen = take(World(), xid(48), xid(172))
    assert root_of(seen["xid/172"]) == (GPU, "xid/48")
    assert root_of(seen["xid/48"]) is None


def test_a_follower_that_came_first_is_pending_at_once_and_attached_later() -> None:
    world = World()
    seen = take(world, xid(172))
    assert root_of(seen["xid/172"]) is None
    seen = take(world, xid(48))
    assert root_of(seen["xid/172"]) == (GPU, "xid/48")


def test_a_fatal_fault_taints_at_once_whether_it_may_follow_another_or_not() -> None:
    world = World()
    world.hear(world.line("gpu-1", xid(172)))
    assert world.tainted() == ["gpu-1"]


def test_a_follower_of_another_gpu_stands_by_itself() -> None:
    seen = take(World(), xid(48, gpu="0000:5e:00"), xid(172))
    assert root_of(seen["xid/172"]) is None


def test_a_follower_long_after_stands_by_itself() -> None:
    seen = take(World(), xid(48), xid(172), apart_s=31)
    assert root_of(seen["xid/172"]) is None


def test_a_follower_that_comes_back_alone_is_detached_again() -> None:
    world = World()
    take(world, xid(48), xid(172))
    world.clock.advance(600)
    assert root_of(take(world, xid(172))["xid/172"]) is None


def test_memory_faults_are_as_bad_as_they_are_together() -> None:
    seen = take(World(), xid(48), xid(63))
    assert (seen["xid/63"].severity, seen["xid/63"].remedy) == (Severity.FATAL, Remedy.DRAIN_RESET)
    assert seen["xid/48"].severity is Severity.FATAL


def test_a_memory_fault_alone_is_what_the_catalog_says() -> None:
    assert take(World(), xid(63))["xid/63"].severity is Severity.DEGRADED


def test_what_a_site_observes_raises_nothing() -> None:
    world = World()
    world.observer.use(world.observer._read, {"xid/48"})
    assert take(world, xid(48), xid(63))["xid/63"].severity is Severity.DEGRADED


def test_after_a_reset_memory_faults_count_anew() -> None:
    world = World()
    world.hear(world.line("gpu-1", xid(48)))
    world.change("gpu-1", reset_at='{"time":"2027-01-15T08:00:01Z","boot":"","uptime_us":0}')
    world.turn(60)
    assert take(world, xid(63))["xid/63"].severity is Severity.DEGRADED


def test_xid_45_waits_for_its_root() -> None:
    world = World()
    assert "xid/45" not in take(world, xid(45))
    assert root_of(take(world, xid(79))["xid/45"]) == (GPU, "xid/79")


def test_xid_45_alone_is_the_applications_fault_after_30_s() -> None:
    world = World()
    world.hear(world.line("gpu-1", xid(45)), world.line("gpu-1", xid(45)))
    world.turn(29)
    assert world.cluster.nodes["gpu-1"].ledger is None
    world.turn(3)
    (record,) = parse(world.cluster.nodes["gpu-1"].ledger or "").records
    assert (record.fault_id, record.severity) == ("xid/45", Severity.APPLICATION)
    assert (record.count, record.remedy) == (2, Remedy.RESTART_APP)
    assert world.tainted() == []


def test_a_storm_that_waits_is_folded_and_counted() -> None:
    world = World()
    world.hear(*[world.line("gpu-1", xid(45, pid=n)) for n in range(500)])
    assert sum(len(each) for each in world.observer._kin._waiting["gpu-1"].values()) == 2
    world.turn(31)
    (record,) = parse(world.cluster.nodes["gpu-1"].ledger or "").records
    assert record.count == 500


def test_what_waits_bounds_the_cursor() -> None:
    world = World()
    entry = world.line("gpu-1", xid(45))
    world.hear(entry)
    assert world.observer.oldest_pending_ns() == entry.time_ns
    world.turn(31)
    assert world.observer.oldest_pending_ns() is None


def test_what_waits_goes_with_its_node() -> None:
    world = World()
    world.hear(world.line("gpu-1", xid(45)))
    world.cluster.put(node("gpu-1", uid="another"))
    world.feed.sync()
    world.turn(60)
    assert world.cluster.nodes["gpu-1"].ledger is None


def test_a_line_of_a_program_is_no_root_of_a_line_of_the_kernel() -> None:
    world = World()
    world.observer.take([world.line("gpu-1", record=unwrap(f"<14>[100000.000000] {xid(48)}"))])
    seen = take(world, xid(172))
    assert root_of(seen["xid/172"]) is None


def test_a_line_of_a_pod_is_related_to_nothing() -> None:
    world = World()
    text = "torch.cuda.OutOfMemoryError: CUDA error: an illegal memory access was encountered"
    world.observer.take([world.line("gpu-1", text, trust=Trust.POD, pod=True)])
    assert not world.observer.drain_relations()


def test_the_same_place_hit_by_another_job_says_so_and_never_taints() -> None:
    place = "Graphics SM Warp Exception on (GPC 1, TPC 2, SM 0): Out Of Range Address"
    world = World()
    world.hear(world.line("gpu-1", xid(13, place, pid=1, name="train")))
    world.clock.advance(3600)
    world.observer.take([world.line("gpu-1", xid(13, place, pid=2, name="infer"))])
    seen = pending(world)["xid/13"]
    assert seen.detail["repeated"] == "2"
    assert seen.severity is Severity.APPLICATION
    world.turn(1)
    assert world.tainted() == []
    assert world.observer.drain_relations() == {}
    counted = world.report.metrics.registry.get_sample_value(
        "konduktor_health_relations_total", {"kind": "repeated"}
    )
    assert counted == 1


def test_the_same_place_hit_by_the_same_job_is_one_repeat() -> None:
    place = "Graphics SM Warp Exception on (GPC 1, TPC 2, SM 0): Out Of Range Address"
    seen = take(World(), xid(13, place), xid(13, place))
    assert "repeated" not in seen["xid/13"].detail
