"""A port is what its PCI function is: renamed, exchanged, lent, in a pod, or really gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from probes.check import Finding, Outcome
from probes.checks.infiniband import InfiniBand
from tests.support.network_checks import BOOT, again, context, run
from tests.support.rdma_tree import RdmaTree

A, B = "0000:18:00.0", "0000:3b:00.0"
OTHER_BOOT = "f" * 32
Build = Callable[[RdmaTree], None]


class Node:
    """A node over several runs; ``build`` makes its /sys for each."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder, self.options = folder, options
        self.before: dict[str, object] = {}
        self.now_s, self.runs = 1000.0, 0

    def run(self, build: Build, *, after_s: float = 60.0, boot_id: str = BOOT) -> dict[str, str]:
        return {
            name: each.outcome.value for name, each in self.see(build, after_s, boot_id).items()
        }

    def see(self, build: Build, after_s: float = 60.0, boot_id: str = BOOT) -> dict[str, Finding]:
        self.now_s += after_s
        self.runs += 1
        tree = RdmaTree(self.folder / str(self.runs))
        build(tree)
        its = context(root=tree.root, options=self.options, before=self.before, boot_id=boot_id)
        found = run(InfiniBand(lambda: self.now_s), its)
        self.before = again(its)
        assert len({each.device for each in found}) == len(found)
        return {each.device: each for each in found}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def two(tree: RdmaTree) -> None:
    tree.adapter("mlx5_0", A)
    tree.adapter("mlx5_1", B)


def second_is(build: Build) -> Build:
    def both(tree: RdmaTree) -> None:
        tree.adapter("mlx5_0", A)
        build(tree)

    return both


def no_second(_: RdmaTree) -> None:
    """Its function is not on the bus."""


def in_a_pod(tree: RdmaTree) -> None:
    """rdma system set netns exclusive, and the adapter was moved: its class folder is empty."""
    (tree.function(B) / "infiniband").mkdir()


def in_a_machine(tree: RdmaTree) -> None:
    tree.function(B, driver="vfio-pci")


def unbound(tree: RdmaTree) -> None:
    tree.function(B, driver="")


def silent(tree: RdmaTree) -> None:
    tree.function(B, config=b"\xff\xff\xff\xff")


def without_rdma(tree: RdmaTree) -> None:
    tree.function(B)


@pytest.mark.parametrize("boot_id", [BOOT, OTHER_BOOT])
def test_a_renamed_adapter_is_the_same(node: Node, boot_id: str) -> None:
    def renamed(tree: RdmaTree) -> None:
        tree.adapter("ibp24s0", A)
        tree.adapter("ibp59s0", B, rate="200 Gb/sec (4X HDR)")

    node.run(two)
    assert node.run(renamed, boot_id=boot_id) == {"ibp24s0": "pass", "ibp59s0": "warn"}
    found = node.see(renamed, 300.0, boot_id)["ibp59s0"]
    assert found.outcome is Outcome.FAIL  # what it could do under its former name still counts
    assert "rate 200 of 400 Gb/s (was better before)" in found.message


def test_a_name_that_now_is_anothers_hides_no_loss(node: Node) -> None:
    """The kernel counts anew: without its first adapter the second one is mlx5_0."""

    def first_is_gone(tree: RdmaTree) -> None:
        tree.adapter("mlx5_0", B)

    node.run(two)
    assert node.run(first_is_gone, boot_id=OTHER_BOOT) == {"mlx5_0": "pass", A: "warn"}
    found = node.see(first_is_gone, 300.0, OTHER_BOOT)[A]
    assert (found.outcome, found.severity) == (Outcome.FAIL, "fatal")
    assert "gone from the PCI bus" in found.message


def test_addresses_that_were_counted_anew_are_the_same_by_their_guid(node: Node) -> None:
    def moved(tree: RdmaTree) -> None:
        tree.adapter("mlx5_0", "0000:19:00.0", guid="506b:4b03:00cc:1800")
        tree.adapter("mlx5_1", "0000:3c:00.0", guid="506b:4b03:00cc:3b00")

    node.run(two)
    assert node.run(moved, boot_id=OTHER_BOOT) == {"mlx5_0": "pass", "mlx5_1": "pass"}


def test_an_exchanged_card_learns_anew(node: Node) -> None:
    def exchanged(tree: RdmaTree) -> None:
        tree.adapter("mlx5_0", A)
        tree.adapter("mlx5_1", B, guid="aaaa:0000:0000:0001", kind="MT4123",
                     rate="200 Gb/sec (4X HDR)")  # fmt: skip

    node.run(two)
    for _ in range(5):
        assert node.run(exchanged, after_s=200, boot_id=OTHER_BOOT)["mlx5_1"] == "pass"


def test_after_a_boot_new_ports_stand_for_as_many_of_their_kind(node: Node) -> None:
    """A virtual machine that was stopped gets other functions at other addresses."""

    def others(tree: RdmaTree) -> None:
        tree.adapter("ibP1s0", "0101:00:00.0", guid="aaaa:0000:0000:0001")
        tree.adapter("ibP2s0", "0102:00:00.0", guid="aaaa:0000:0000:0002")

    node.run(two)
    for after_s in (60, 300, 300):
        found = node.run(others, after_s=after_s, boot_id=OTHER_BOOT)
        assert found == {"ibP1s0": "pass", "ibP2s0": "pass"}


@pytest.mark.parametrize(
    ("build", "at_once", "after_5_min", "after_35_min", "words"),
    [
        (no_second, "warn", "fail", "fail", "gone from the PCI bus"),
        (silent, "warn", "fail", "fail", "does not answer on the PCI bus"),
        (unbound, "warn", "warn", "fail", "held by no driver"),
        (in_a_pod, "skip", "skip", "skip", "in another network namespace: a pod has it"),
        (in_a_machine, "skip", "skip", "skip", "given to a virtual machine"),
        (without_rdma, "warn", "warn", "warn", "offers no RDMA"),
    ],
)
@pytest.mark.parametrize("boot_id", [BOOT, OTHER_BOOT])
def test_what_is_not_shown_any_more_is_judged_by_its_function(
    node: Node, build: Build, at_once: str, after_5_min: str, after_35_min: str, words: str,
    boot_id: str,
) -> None:  # fmt: skip
    node.run(two)
    outcomes = [
        node.see(second_is(build), after_s, boot_id)["mlx5_1"] for after_s in (60, 300, 1800)
    ]
    assert [each.outcome.value for each in outcomes] == [at_once, after_5_min, after_35_min]
    assert all(words in each.message and B in each.message for each in outcomes)
    assert node.run(two, boot_id=boot_id) == {"mlx5_0": "pass", "mlx5_1": "pass"}  # it is back
    assert node.run(second_is(build), boot_id=boot_id)["mlx5_1"] == at_once  # and begins anew


def test_all_of_it_may_be_in_pods(node: Node) -> None:
    def none(tree: RdmaTree) -> None:
        in_a_pod(tree)
        (tree.function(A) / "infiniband").mkdir()

    node.run(two)
    for _ in range(10):
        assert node.run(none, after_s=600) == {"mlx5_0": "skip", "mlx5_1": "skip"}


def test_the_driver_may_be_reloaded(node: Node) -> None:
    """While the modules are away there is no class at all."""

    def unloaded(tree: RdmaTree) -> None:
        (tree.root / "sys/class/infiniband").rmdir()
        tree.function(A, driver="")
        tree.function(B, driver="")

    node.run(two)
    for _ in range(20):
        assert node.run(unloaded) == {"mlx5_0": "warn", "mlx5_1": "warn"}
    assert node.run(two) == {"mlx5_0": "pass", "mlx5_1": "pass"}


def test_functions_that_are_bonded_are_one_adapter(node: Node) -> None:
    first, second = "0000:18:00.0", "0000:18:00.1"

    def apart(tree: RdmaTree) -> None:
        tree.adapter("mlx5_0", first, link_layer="Ethernet")
        tree.adapter("mlx5_1", second, link_layer="Ethernet", guid="506b:4b03:00cc:0001")

    def bonded(tree: RdmaTree) -> None:
        tree.adapter("mlx5_bond_0", first, link_layer="Ethernet")
        tree.function(second)

    node.run(apart)
    assert node.run(bonded, after_s=600) == {"mlx5_bond_0": "pass", "mlx5_1": "skip"}


def test_ports_with_pods_count_as_there(tmp_path: Path) -> None:
    node = Node(tmp_path, ports="2")
    assert node.run(second_is(in_a_pod)) == {"": "skip", "mlx5_0": "pass"}  # never seen here
    assert node.run(two) == {"mlx5_0": "pass", "mlx5_1": "pass"}
    assert node.run(second_is(in_a_machine)) == {"": "skip", "mlx5_0": "pass", "mlx5_1": "skip"}
    assert node.run(second_is(without_rdma))[""] == "fail"


def test_devices_may_be_asked_for_by_address_and_by_a_former_name(tmp_path: Path) -> None:
    def renamed(tree: RdmaTree) -> None:
        tree.adapter("mlx5_0", A)
        tree.adapter("ibp59s0", B)

    node = Node(tmp_path, devices=f"{A} mlx5_1")
    node.run(two)
    for _ in range(3):
        assert node.run(renamed) == {"mlx5_0": "pass", "ibp59s0": "pass"}
    assert node.run(second_is(in_a_pod)) == {"mlx5_0": "pass", "ibp59s0": "skip"}


def test_state_of_an_older_agent_is_read(node: Node) -> None:
    old = {"active": 1, "rate": 400.0, "width": 16, "speed": 32.0, "down_since": None,
           "counters": [[1000.0, {"counters/symbol_error": 0}]]}  # fmt: skip
    node.before = {"boot_id": BOOT, "ports": {"mlx5_0": dict(old), "mlx5_7": dict(old)}}
    found = node.see(lambda tree: tree.adapter("mlx5_0", A, rate="200 Gb/sec (4X HDR)"))
    assert found["mlx5_0"].outcome is Outcome.WARN  # its best rate is known
    assert found["mlx5_7"].outcome is Outcome.WARN  # only a name is: nobody is accused
    assert "its PCI address was never seen" in found["mlx5_7"].message


# ---------------------------------------------------------------- down on purpose


def port(layer: str, phys_state: str, flags: str = "", state: str = "1: DOWN") -> Build:
    return second_is(
        lambda tree: tree.adapter(
            "mlx5_1", B, link_layer=layer, state=state, phys_state=phys_state, flags=flags
        )
    )


@pytest.mark.parametrize(
    ("build", "outcome", "severity"),
    [
        (port("InfiniBand", "2: Polling"), "fail", "fatal"),
        (port("InfiniBand", "3: Disabled"), "warn", "degraded"),
        (port("Ethernet", "3: Disabled", "0x1002"), "warn", "degraded"),  # set down
        (port("Ethernet", "3: Disabled", "0x1003"), "fail", "fatal"),  # up, and no carrier
        (port("Ethernet", "3: Disabled", "garbage"), "fail", "fatal"),
        (port("InfiniBand", "5: LinkUp", state="2: INIT"), "fail", "degraded"),
    ],
)
def test_what_was_switched_off_is_not_accused(
    node: Node, build: Build, outcome: str, severity: str
) -> None:
    node.run(two)
    assert node.run(build)["mlx5_1"] == "warn"
    found = node.see(build, 300.0)["mlx5_1"]
    assert (found.outcome.value, found.severity) == (outcome, severity)


def test_an_interface_in_a_pod_may_be_set_down_there(node: Node) -> None:
    def away(tree: RdmaTree) -> None:
        port("Ethernet", "3: Disabled")(tree)
        (tree.root / "sys/bus/pci/devices" / B / "net").mkdir()

    node.run(two)
    node.run(away)
    found = node.see(away, 300.0)["mlx5_1"]
    assert found.outcome is Outcome.WARN
    assert "in another network namespace" in found.message


@pytest.mark.parametrize("phys_state", ["2: Polling", "3: Disabled"])
@pytest.mark.parametrize("layer", ["InfiniBand", "Ethernet"])
def test_a_port_that_was_never_up_is_not_judged(node: Node, layer: str, phys_state: str) -> None:
    for boot_id in (BOOT, OTHER_BOOT):
        for _ in range(3):
            assert node.run(port(layer, phys_state), after_s=600, boot_id=boot_id) == {
                "mlx5_0": "pass", "mlx5_1": "skip",
            }  # fmt: skip


# ---------------------------------------------------------------- a switch that is started anew


def counting(symbols: int, downed: int, *, up: bool = True) -> Build:
    return second_is(
        lambda tree: tree.adapter(
            "mlx5_1",
            B,
            state="4: ACTIVE" if up else "1: DOWN",
            phys_state="5: LinkUp" if up else "2: Polling",
            counters__symbol_error=str(symbols),
            counters__link_downed=str(downed),
            counters__local_link_integrity_errors=str(downed),
        )
    )


def test_a_switch_that_is_started_anew_accuses_nobody(node: Node) -> None:
    """No link for three minutes; it goes down three times meanwhile, and makes errors."""
    outcomes = [node.run(two)["mlx5_1"]]
    for symbols, downed in ((40, 1), (9_000, 2), (70_000, 3)):
        outcomes.append(node.run(counting(symbols, downed, up=False))["mlx5_1"])
    for _ in range(90):
        outcomes.append(node.run(counting(70_500, 3))["mlx5_1"])
    assert "fail" not in outcomes
    assert outcomes[5] == "warn"
    assert outcomes[-1] == "pass"  # after an hour it is forgotten


def test_errors_that_outlast_the_outage_accuse(node: Node) -> None:
    node.run(two)
    node.run(counting(9_000, 1, up=False))
    outcomes = [node.run(counting(9_000 + 30 * n, 1))["mlx5_1"] for n in range(60)]
    assert outcomes[:15] == ["warn"] * 15
    assert outcomes[-1] == "fail"


def test_a_link_that_goes_down_again_and_again_flaps(node: Node) -> None:
    outcomes = [node.run(counting(0, 1 + minute // 12))["mlx5_1"] for minute in range(45)]
    assert outcomes.index("fail") == 36  # the third time that was seen
    assert outcomes[12:36] == ["warn"] * 24
    assert set(outcomes[36:]) == {"fail"}
