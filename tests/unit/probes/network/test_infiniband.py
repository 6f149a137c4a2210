from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from probes.check import Finding, Outcome, ToolOutput
from probes.checks.infiniband import InfiniBand
from probes.errors import CheckError, Skipped
from probes.tools import rdma
from probes.tools.rdma_counters import PATHS, Grown, Growth
from tests.support.network_checks import BOOT, adapters, context, plant, run, said

HOUR = 3600.0


class Node:
    """A node with adapters, over several runs of the check."""

    def __init__(self, folder: Path, fixture: str = "sysfs/h100.txt", **options: str) -> None:
        self.folder, self.fixture, self.options = folder, fixture, options
        self.before: dict[str, object] = {}
        self.now_s, self.runs = 1000.0, 0

    def run(
        self,
        changes: Mapping[str, str | None] | None = None,
        *,
        after_s: float = 60.0,
        boot_id: str = BOOT,
    ) -> dict[str, Finding]:
        self.now_s += after_s
        self.runs += 1
        root = plant(self.folder / str(self.runs), adapters(self.fixture, changes))
        its = context(root=root, options=self.options, before=self.before, boot_id=boot_id)
        found = run(InfiniBand(lambda: self.now_s), its)
        self.before = dict(its.keep)
        assert len({each.device for each in found}) == len(found)
        return {each.device: each for each in found}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def outcomes(found: Mapping[str, Finding]) -> dict[str, str]:
    return {device: each.outcome.value for device, each in found.items()}


# ---------------------------------------------------------------- what sysfs and ibstat say


def test_ports_of_a_real_tree(tmp_path: Path) -> None:
    ports = rdma.of_sysfs(str(plant(tmp_path, adapters("sysfs/mlx4-and-i40iw.txt"))), PATHS)
    assert ports is not None
    assert [(p.name, p.active, p.rate_gbps) for p in ports] == [
        ("i40iw0", True, 10.0), ("mlx4_0", True, 40.0), ("mlx4_0/2", True, 40.0),
    ]  # fmt: skip
    assert ports[0].counters == {}  # "N/A (no PMA)"
    assert ports[1].counters["counters/link_downed"] == 0


def test_virtual_functions_are_left_out(tmp_path: Path) -> None:
    files = adapters("sysfs/h100.txt") | {"sys/class/infiniband/mlx5_0/device/physfn": ""}
    ports = rdma.of_sysfs(str(plant(tmp_path, files)), ())
    assert ports is not None
    assert "mlx5_0" not in {port.device for port in ports}


def test_ports_that_ibstat_tells() -> None:
    ports = rdma.of_ibstat(said("ibstat/a100.txt"))
    assert [(p.name, p.active, p.rate_gbps, p.layer) for p in ports] == [
        ("mlx5_0", True, 200.0, "InfiniBand"), ("mlx5_1", True, 200.0, "InfiniBand"),
    ]  # fmt: skip


def test_an_ibstat_that_panics_is_an_error_whatever_it_told_before() -> None:
    with pytest.raises(CheckError, match=r"ibstat \(exit 255\): 2 ports, then"):
        rdma.of_ibstat(said("ibstat/a100-ibpanic.txt", 255))


# ---------------------------------------------------------------- the check


def test_a_node_without_adapters_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="no InfiniBand or RoCE adapter"):
        run(InfiniBand(), context(root=tmp_path))


def test_ibstat_stands_in_where_there_is_no_sysfs(tmp_path: Path) -> None:
    its = context({"ibstat": [said("ibstat/a100.txt")]}, root=tmp_path)
    assert [each.outcome for each in run(InfiniBand(), its)] == [Outcome.PASS, Outcome.PASS]


def test_active_ports_pass_and_one_without_a_cable_is_not_judged(node: Node) -> None:
    assert outcomes(node.run()) == {
        "mlx5_0": "pass", "mlx5_1": "pass", "mlx5_2": "pass", "mlx5_3": "pass",
        "mlx5_9": "skip", "mlx5_bond_0": "pass",
    }  # fmt: skip


def test_a_port_that_goes_down_is_warned_of_and_fails_after_four_minutes(node: Node) -> None:
    down = {"mlx5_1/ports/1/state": "1: DOWN", "mlx5_1/ports/1/phys_state": "2: Polling"}
    node.run()
    assert node.run(down)["mlx5_1"].outcome is Outcome.WARN
    assert node.run(down, after_s=200)["mlx5_1"].outcome is Outcome.WARN
    failed = node.run(down, after_s=60)["mlx5_1"]
    assert (failed.outcome, failed.severity) == (Outcome.FAIL, "fatal")
    assert failed.message == "mlx5_1: DOWN (Polling) for 260 s, was active before"
    assert node.run()["mlx5_1"].outcome is Outcome.PASS
    assert node.run(down)["mlx5_1"].outcome is Outcome.WARN  # it begins anew


def test_times_of_another_boot_do_not_count(node: Node) -> None:
    down = {"mlx5_1/ports/1/state": "1: DOWN"}
    node.run()
    node.run(down)
    assert node.run(down, after_s=900, boot_id="f" * 32)["mlx5_1"].outcome is Outcome.WARN


def test_a_rate_that_was_better_before_fails(node: Node) -> None:
    slow = {"mlx5_3/ports/1/rate": "200 Gb/sec (4X HDR)"}
    node.run()
    for _ in range(4):
        assert node.run(slow)["mlx5_3"].outcome is Outcome.WARN  # a link may have trained anew
    found = node.run(slow)["mlx5_3"]
    assert found.outcome is Outcome.FAIL
    assert "rate 200 of 400 Gb/s (was better before)" in found.message


def test_a_rate_below_its_like_is_warned_of(node: Node) -> None:
    found = node.run({"mlx5_3/ports/1/rate": "200 Gb/sec (4X HDR)"})["mlx5_3"]
    assert found.outcome is Outcome.WARN


def test_fewer_lanes_or_a_slower_link_than_before_fail(node: Node) -> None:
    slow = {
        "mlx5_0/device/current_link_width": "8",
        "mlx5_1/device/current_link_speed": "16.0 GT/s PCIe",
    }
    node.run()
    assert outcomes(node.run(slow))["mlx5_0"] == "warn"
    found = node.run(slow, after_s=240)
    assert "PCIe width 8 of 16 lanes" in found["mlx5_0"].message
    assert "PCIe speed 16 of 32 GT/s" in found["mlx5_1"].message
    assert found["mlx5_0"].outcome is found["mlx5_1"].outcome is Outcome.FAIL


def test_what_is_asked_for_fails_from_the_first_run(tmp_path: Path) -> None:
    asked = Node(tmp_path, ports="6", rate="400", devices="mlx5_0 mlx5_bond_0 mlx5_7")
    found = asked.run()
    assert outcomes(found) == {
        "": "fail", "mlx5_7": "fail", "mlx5_0": "pass", "mlx5_bond_0": "fail",
    }  # fmt: skip
    assert found[""].message == "2 ports are active, 6 are asked for"


@pytest.mark.parametrize(
    ("counter", "growth", "outcomes"),
    [
        ("counters/symbol_error", 60, ["pass", "pass", "fail"]),
        ("counters/symbol_error", 120, ["pass", "fail", "fail"]),
        ("counters/symbol_error", 121, ["warn", "fail", "fail"]),
        ("counters/link_downed", 1, ["warn", "warn", "fail"]),
        ("counters/local_link_integrity_errors", 1, ["warn", "fail", "fail"]),
        ("hw_counters/rnr_nak_retry_err", 1, ["warn", "warn", "warn"]),
    ],
)
def test_counters_are_judged_by_their_growth_once_it_lasts(
    node: Node, counter: str, growth: int, outcomes: list[str]
) -> None:
    path = f"mlx5_0/ports/1/{counter}"
    node.run({path: "5000"})
    found = [
        node.run({path: str(5000 + times * growth)}, after_s=600)["mlx5_0"] for times in (1, 2, 3)
    ]
    assert [each.outcome.value for each in found] == outcomes
    assert {each.severity for each in found} == {"degraded"}


def test_growth_counts_for_an_hour_and_not_longer(node: Node) -> None:
    path = "mlx5_0/ports/1/counters/symbol_error"
    for minutes in range(0, 60, 10):
        found = node.run({path: str(minutes * 3)}, after_s=600)["mlx5_0"]
    assert found.outcome is Outcome.FAIL  # 150 within 50 minutes
    for _ in range(9):
        found = node.run({path: "150"}, after_s=600)["mlx5_0"]
    assert found.outcome is Outcome.PASS


def test_a_counter_that_was_reset_counts_from_nothing(node: Node) -> None:
    path = "mlx5_0/ports/1/counters/symbol_error"
    node.run({path: "100000"})
    assert node.run({path: "100"}, after_s=600)["mlx5_0"].outcome is Outcome.PASS
    found = node.run({path: "50"}, after_s=600)["mlx5_0"]  # 100, and 50 after a reset
    assert found.outcome is Outcome.FAIL


def test_what_is_kept_does_not_grow(node: Node) -> None:
    sizes = []
    for _ in range(200):
        node.run()
        sizes.append(len(str(node.before)))
    assert max(sizes[100:]) <= max(sizes[:100]) + 64
    assert sizes[-1] < 40_000


def test_what_is_not_understood_is_an_error_and_no_pass(node: Node) -> None:
    found = node.run({"mlx5_0/ports/1/state": "garbage", "mlx5_1/ports/1/rate": "fast"})
    assert found["mlx5_0"].outcome is Outcome.ERROR
    assert found["mlx5_1"].outcome is Outcome.ERROR


@pytest.mark.parametrize(
    "before", [{"ports": 7}, {"ports": {"mlx5_0": 3}}, {"ports": {"mlx5_0": {"rate": "x"}}},
               {"boot_id": BOOT, "ports": {"mlx5_0": {"counters": [[1], ["x", {}], [1, 2]]}}},
               {"boot_id": BOOT, "ports": {"mlx5_0": {"down_since": "long"}}}],
)  # fmt: skip
def test_what_was_kept_may_be_anything(node: Node, before: dict[str, object]) -> None:
    node.before = before
    assert node.run()["mlx5_0"].outcome is Outcome.PASS


def test_growth_ignores_points_of_the_future() -> None:
    assert Growth([[5000.0, {"a": 1}]], 100.0).grown({"a": 9}) == {"a": Grown()}


def test_a_tool_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckError):
        run(InfiniBand(), context({"ibstat": [ToolOutput(0, "", "")]}, root=tmp_path))
