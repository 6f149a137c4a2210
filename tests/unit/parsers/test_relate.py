from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import catalog
from parsers.decode import Decoder
from parsers.fault import Fault, Remedy, Severity, Trust
from parsers.finding import Finding, Kind
from parsers.record import unwrap
from parsers.relate import Relations
from parsers.relate_events import EVENT_S
from parsers.relate_repeats import BURST_S, LOOK_BACK_S

S = 1_000_000_000
T0 = 1_795_000_000 * S
GPU = "0000:3b:00"
OTHER = "0000:af:00"
BOOT, LATER_BOOT = "a" * 32, "b" * 32

LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"
PROBED = "nvidia-nvswitch: Probing device 0000:c3:00.0, Vendor Id = 0x10de, Device Id = 0x22a3"


def xid(code: int, said: str = "x", gpu: str = GPU) -> str:
    return f"NVRM: Xid (PCI:{gpu}): {code}, {said}"


def sm(pid: int, name: str, gpc: int = 9, tpc: int = 1) -> str:
    where = f"Graphics SM Warp Exception on (GPC {gpc}, TPC {tpc}, SM 1): Out Of Range Address"
    return xid(13, f"pid={pid}, name={name}, {where}")


def sxid(code: int, said: str) -> str:
    return f"nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): {code}, {said}"


def ordered(value: int, text: str) -> str:
    return xid(154, f"GPU recovery action changed from 0x0 (None) to 0x{value} ({text})")


class Told:
    """What is found in lines that are decoded and related, each (seconds, line)."""

    def __init__(self, *lines: tuple[float, str], node: str = "n", end: bool = True) -> None:
        decoder, self.relations, self.found = Decoder(), Relations(), list[Finding]()
        for seconds, line in lines:
            for fault in decoder.feed(unwrap(line), node, T0 + int(seconds * S)):
                self.found += self.relations.feed(fault)
        if end:
            self.found += self.relations.settle()

    def of(self, kind: Kind) -> list[Finding]:
        return [found for found in self.found if found.kind is kind]

    def one(self, kind: Kind) -> Finding:
        (found,) = self.of(kind)
        return found


def linked(found: list[Finding]) -> set[tuple[str, str]]:
    return {(f.fault.fault_id, f.root.fault_id if f.root else "") for f in found}


# ---------------------------------------------------------------- repeats


def test_two_programs_hit_in_the_same_place_point_to_the_hardware() -> None:
    found = Told((0, sm(1, "train")), (60, sm(2, "infer"))).one(Kind.REPEATED)

    assert (found.severity, found.remedy, found.count) == (
        Severity.DEGRADED, Remedy.DRAIN_INSPECT, 2,
    )  # fmt: skip
    assert "0000:3b:00, gpc 9, tpc 1" in found.why


@pytest.mark.parametrize(
    "second",
    [
        (1, sm(1, "train")),  # the same process
        (BURST_S, sm(2, "train")),  # another process of the same program, in one burst
        (60, sm(2, "infer", tpc=2)),  # another place
        (LOOK_BACK_S + 1, sm(2, "infer")),  # too long ago
        (60, sm(2, "infer").replace("Graphics SM Warp Exception on", "ESR")),  # no place
    ],
)
def test_what_is_no_repeat(second: tuple[float, str]) -> None:
    assert Told((0, sm(1, "train")), second).of(Kind.REPEATED) == []


def test_the_same_program_hit_again_later_is_a_repeat() -> None:
    assert Told((0, sm(1, "train")), (BURST_S + 1, sm(2, "train"))).one(Kind.REPEATED).count == 2


def test_an_mmu_fault_repeats_on_the_gpu_whatever_the_engine() -> None:
    fault = "MMU Fault: ENGINE {} faulted @ 0x7f_00000000. Fault is of type FAULT_PDE ACCESS_TYPE"
    lines = [
        (at * 600.0, xid(31, f"pid={at}, name=p{at}, Ch 1, intr 0. {fault.format(engine)}"))
        for at, engine in enumerate(("GRAPHICS", "CE2", "GRAPHICS"))
    ]

    assert [f.count for f in Told(*lines).of(Kind.REPEATED)] == [2, 3]
    elsewhere = [(0.0, lines[0][1]), (600.0, lines[1][1].replace(GPU, OTHER))]
    assert Told(*elsewhere).of(Kind.REPEATED) == []


def test_a_link_that_fails_again_is_to_be_inspected() -> None:
    line = sxid(24007, "Fatal, Link 28 sourcetrack timeout error")
    told = Told((0, line), (1, line), (600, line), (1200, line.replace("28", "29")))

    found = told.one(Kind.REPEATED)

    assert (found.severity, found.remedy, found.count) == (
        Severity.FATAL, Remedy.DRAIN_INSPECT, 2,
    )  # fmt: skip
    assert "link 28" in found.why


def test_hardware_ecc_errors_of_a_link_count_from_the_third_on() -> None:
    said = (
        "pid=1, name=x, NVLink: fatal error detected on link 14({}, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)"
    )
    ecc, signal = xid(74, said.format("0x10")), xid(74, said.format("0x200000"))

    told = Told(*((at * 600.0, ecc) for at in range(3)))

    assert [f.count for f in told.of(Kind.REPEATED)] == [3]
    assert [f.count for f in Told((0, signal), (600, signal)).of(Kind.REPEATED)] == [2]


def test_repeats_without_any_time_are_told_apart_by_their_process() -> None:
    decoder, relations = Decoder(), Relations()
    found = [
        each
        for line in (sm(1, "train"), sm(1, "train"), sm(2, "train"))
        for fault in decoder.feed(unwrap(line))
        for each in relations.feed(fault)
    ]

    assert [(each.kind, each.count) for each in found] == [(Kind.REPEATED, 2)]


def test_a_repeat_counts_across_a_reboot_even_with_the_same_pid() -> None:
    relations = Relations()
    (fault,) = Decoder().feed(unwrap(sm(7, "train")), "n", T0)
    relations.feed(replace(fault, boot_id=BOOT))

    found = relations.feed(replace(fault, boot_id=LATER_BOOT, time_ns=T0 + 3600 * S))

    assert Kind.REPEATED in [each.kind for each in found]


# ---------------------------------------------------------------- what follows what


@pytest.mark.parametrize("order", [(45, 48), (48, 45)])
def test_xid_45_follows_another_xid_of_its_gpu_in_either_order(order: tuple[int, int]) -> None:
    told = Told(*((at * EVENT_S, xid(code)) for at, code in enumerate(order)))

    assert linked(told.of(Kind.CAUSED)) == {("xid/45", "xid/48")}
    assert told.of(Kind.ALONE) == []


def test_many_lines_of_xid_45_before_their_cause_are_one_finding() -> None:
    told = Told(*((0.01 * n, xid(45, f"pid={n}, name=p, Ch {n}")) for n in range(40)), (1, xid(94)))

    assert told.one(Kind.CAUSED).count == 40


@pytest.mark.parametrize(
    "other",
    [
        (EVENT_S + 1, xid(48)),
        (1, xid(48, gpu=OTHER)),
        (1, ordered(1, "GPU Reset Required")),
        (1, xid(45)),
    ],
)
def test_xid_45_without_another_one_stands_alone(other: tuple[float, str]) -> None:
    told = Told((0, xid(45)), other)

    found = told.one(Kind.ALONE)
    assert (found.severity, found.remedy) == (Severity.APPLICATION, Remedy.RESTART_APP)
    assert told.of(Kind.CAUSED) == []


def test_the_cause_that_the_line_names_outranks_what_is_near() -> None:
    named = xid(45, "pid=9, name=pt_main_thread, Ch 00000008 caused by previous Xid 94")
    told = Told((0, xid(94)), (1, xid(31, "pid=9, name=x")), (2, named))
    unseen = Told((0, xid(31, "pid=9, name=x")), (1, named))

    assert linked(told.of(Kind.CAUSED)) == {("xid/45", "xid/94")}
    assert linked(unseen.of(Kind.CAUSED)) == {("xid/45", "")}
    assert "xid/94" in unseen.one(Kind.CAUSED).why
    assert unseen.of(Kind.ALONE) == []


@pytest.mark.parametrize("lines", [(48, 63, 45), (63, 48, 45)])
def test_the_worst_of_what_is_near_is_the_cause(lines: tuple[int, ...]) -> None:
    told = Told(*((second, xid(code)) for second, code in enumerate(lines)))

    assert ("xid/45", "xid/48") in linked(told.of(Kind.CAUSED))


def test_what_stands_alone_is_known_when_the_time_is_over() -> None:
    told = Told((0, xid(45)), end=False)

    assert told.relations.settle(T0 + int(EVENT_S * S)) == []
    assert [f.kind for f in told.relations.settle(T0 + int(31 * S))] == [Kind.ALONE]
    assert told.relations.settle() == []


@pytest.mark.parametrize("code", [171, 172, 94, 95])
@pytest.mark.parametrize("first", [True, False])
def test_what_tells_more_of_a_double_bit_error_follows_it(code: int, first: bool) -> None:
    lines = [(0.0, xid(48)), (1.0, xid(code))]
    if first:
        lines = [(0.0, xid(code)), (1.0, xid(48))]

    assert linked(Told(*lines).of(Kind.CAUSED)) == {(f"xid/{code}", "xid/48")}


REMAP = "RLW_REMAP Nonfatal XC0 i0 Link 12 (0x4 0x{:08x} 0x0 0x0 0x0 0x0)"
DOWN = "NETIR_LINK_EVT Fatal XC0 i0 Link 01 (0x021425c6 0x00000000 0x0 0x0 0x0 0x0)"


@pytest.mark.parametrize(("status", "follows"), [(4, True), (0x40, False)])
def test_a_link_that_went_down_explains_remap_errors_of_the_node(
    status: int, follows: bool
) -> None:
    remap = xid(145, REMAP.replace("0x4 ", "0x00000004 ").format(status), gpu=OTHER)

    for lines in ([(0.0, xid(149, DOWN)), (20.0, remap)], [(0.0, remap), (20.0, xid(149, DOWN))]):
        found = linked(Told(*lines).of(Kind.CAUSED))

        assert found == ({("xid/145", "xid/149")} if follows else set())


LOST = "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."
FIRMWARE = "NVRM: gpuWaitForGfwBootComplete_TU102: failed to wait for GFW_BOOT: (progress 0xff)"
GSP = "NVRM: RmInitAdapter: Cannot initialize GSP firmware RM"
INIT = "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2192)"


def test_a_lost_gpu_before_its_xid_79_is_the_same_event() -> None:
    told = Told((0, LOST), (1, xid(79, "GPU has fallen off the bus.")))

    assert linked(told.of(Kind.SAME)) == {("xid/79", "kernel/gpu-lost")}


def test_the_steps_of_a_failed_init_are_one_event_and_the_worst_counts() -> None:
    told = Told((0, FIRMWARE), (1, GSP), (2, INIT), (2, INIT.replace(GPU, OTHER)))

    assert linked(told.of(Kind.SAME)) == {
        ("kernel/gpu-gsp-init-failed", "kernel/gpu-firmware-boot-failed"),
        ("kernel/gpu-init-failed", "kernel/gpu-firmware-boot-failed"),
    }
    assert {f.remedy for f in told.of(Kind.SAME)} == {Remedy.POWER_CYCLE}


def test_records_of_one_pcie_error_are_one_event_of_port_and_device() -> None:
    told = Told(
        (0, "pcieport 0000:3a:00.0: AER: Uncorrectable (Fatal) error message received"),
        (0, "nvidia 0000:3b:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Fatal)"),
        (0, "nvidia 0000:3b:00.0: AER: can't recover (no error_detected callback)"),
        (40, "nvidia 0000:3b:00.0: AER: can't recover (no error_detected callback)"),
    )

    assert linked(told.of(Kind.SAME)) == {
        ("kernel/pcie-aer-fatal", "kernel/pcie-aer-fatal"),
        ("kernel/pcie-aer-unrecovered", "kernel/pcie-aer-fatal"),
    }
    roots = {f.root.detail["port"] for f in told.of(Kind.SAME) if f.root}
    assert roots == {"0000:3a:00.0"}
    assert len(told.of(Kind.SAME)) == 2


def test_details_of_a_hardware_error_are_part_of_its_event() -> None:
    lines = (
        "{1}[Hardware Error]: event severity: fatal",
        "{1}[Hardware Error]:  Error 0, type: fatal",
        "{1}[Hardware Error]:   section_type: PCIe error",
        "{1}[Hardware Error]:   device_id: 0000:3b:00.0",
    )
    decoder = Decoder()

    faults = [fault for line in lines for fault in decoder.feed(unwrap(line))]

    assert [fault.fault_id for fault in faults] == ["kernel/hardware-error-fatal"]


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("codes", "severity", "remedy", "says"),
    [
        ((63,), Severity.DEGRADED, Remedy.DRAIN_RESET, "when idle"),
        ((177,), Severity.DEGRADED, Remedy.DRAIN_RESET, "when idle"),
        ((64,), Severity.FATAL, Remedy.RESET_GPU, "inspected"),
        ((48,), Severity.FATAL, Remedy.RESET_GPU, "reset"),
        ((172,), Severity.FATAL, Remedy.RESET_GPU, "threshold"),
        ((48, 63), Severity.FATAL, Remedy.DRAIN_RESET, "drain first"),
        ((48, 64), Severity.FATAL, Remedy.DRAIN_RESET, "drain first"),
        ((94,), Severity.DEGRADED, Remedy.DRAIN_RESET, "contained"),
        ((94, 63), Severity.DEGRADED, Remedy.DRAIN_RESET, "contained"),
        ((95,), Severity.FATAL, Remedy.RESET_GPU, "not contained"),
        ((95, 94), Severity.FATAL, Remedy.RESET_GPU, "not contained"),
        ((140,), Severity.FATAL, Remedy.RESET_GPU, "late"),
    ],
)
def test_memory_faults_of_one_gpu_count_together_in_any_order(
    codes: tuple[int, ...], severity: Severity, remedy: Remedy, says: str
) -> None:
    for order in itertools.permutations(codes):
        found = Told(*((float(at), xid(code)) for at, code in enumerate(order))).of(Kind.MEMORY)

        assert (found[-1].severity, found[-1].remedy) == (severity, remedy)
        assert says in found[-1].why


def test_the_text_of_xid_160_says_what_activates_the_repair() -> None:
    line = "Marking LTS 5 in FPB 1 along with its pair for repair. Perform {} to activate repair."

    reboot = Told((0, xid(160, line.format("node reboot")))).one(Kind.MEMORY)
    reset = Told((0, xid(160, line.format("GPU reset")))).one(Kind.MEMORY)

    assert (reboot.remedy, reset.remedy) == (Remedy.REBOOT, Remedy.DRAIN_RESET)
    assert "LTS 5 in FPB 1" in reboot.why


def test_what_was_pending_is_forgotten_after_a_reset() -> None:
    found = Told((0, xid(63)), (50, LOADED), (60, xid(48))).of(Kind.MEMORY)

    assert [f.remedy for f in found] == [Remedy.DRAIN_RESET, Remedy.RESET_GPU]


# ---------------------------------------------------------------- states and orders


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (sxid(10004, "NVSWITCH Temperature 91C | TSENSE WARN Threshold 90C"),
         sxid(10005, "Thermal slowdown Disengaged")),
        (sxid(28001, "x"), sxid(28002, "x")),
        (sxid(28003, "x"), sxid(28004, "x")),
        (xid(163), xid(162)),
    ],
)  # fmt: skip
def test_a_state_is_open_until_its_end(begin: str, end: str) -> None:
    told = Told((0, begin), (1, begin), (9999, end), (10000, end))

    begun = told.one(Kind.BEGUN)
    ended = told.of(Kind.ENDED)
    assert [found.root for found in ended] == [begun.fault, None]
    assert "not seen" in ended[1].why


HOT = "mce: CPU3: Core temperature above threshold, cpu clock throttled (total events = 1)"
COOLED = "mce: CPU3: Core temperature/speed normal"


def test_no_state_outlasts_a_boot_even_where_nothing_was_broken() -> None:
    lines = [(0, f"[5000.0] {HOT}"), (60, f"[10.0] {HOT}"), (61, f"[11.0] {COOLED}")]

    told = Told(*lines)

    begun, ended = told.of(Kind.BEGUN), told.of(Kind.ENDED)
    assert [each.fault.time_ns for each in begun] == [T0, T0 + 60 * S]
    assert [each.root for each in ended] == [each.fault for each in begun]
    assert ended[0].why == "the node has booted since"


def test_a_reset_ends_the_states_of_gpus_and_switches_alone() -> None:
    begins = [(0, HOT), (1, xid(163)), (2, LOADED)]

    told = Told(*begins, (3, COOLED), (4, xid(162)))

    assert linked(told.of(Kind.ENDED)) == {
        ("kernel/gpu-probed", "xid/163"),
        ("kernel/cpu-cooled", "kernel/cpu-hot"),
        ("xid/162", ""),
    }


def test_every_pair_of_the_catalog_is_a_state() -> None:
    for end in ("xid/162", "sxid/10005", "sxid/28002", "sxid/28004"):
        (begin,) = [r.fault_id for r in catalog.relations(end) if r.kind == "clears"]
        fault = Fault(begin, Severity.INFO, Remedy.NONE, device=GPU)
        relations = Relations()
        found = [*relations.feed(fault), *relations.feed(replace(fault, fault_id=end))]

        assert [each.kind for each in found] == [Kind.BEGUN, Kind.ENDED]


def test_the_last_order_of_the_driver_counts_and_none_ends_it() -> None:
    told = Told(
        (0, ordered(4, "Drain and Reset")),
        (1, ordered(1, "GPU Reset Required")),
        (2, xid(154, "GPU recovery action")),
        (3, ordered(0, "None")),
    )

    assert [f.remedy for f in told.of(Kind.ORDERED)] == [Remedy.DRAIN_RESET, Remedy.RESET_GPU]
    ended = told.one(Kind.ENDED)
    assert ended.root == told.of(Kind.ORDERED)[-1].fault


# ---------------------------------------------------------------- repairs


@pytest.mark.parametrize(
    ("marker", "says"), [(LOADED, "570.86.15"), (PROBED, "NVSwitches were probed")]
)
def test_a_driver_load_or_probe_after_a_fault_is_a_repair(marker: str, says: str) -> None:
    found = Told((0, xid(95)), (60, marker), (61, marker)).one(Kind.REPAIRED)

    assert found.remedy is Remedy.RESET_GPU
    assert says in found.why


@pytest.mark.parametrize(
    "marker",
    [
        f"<12>{LOADED}",  # written by a program
        "GPU reset executed: GPU-22222222-2222-2222-2222-222222222222, success: true",
        f"modprobe: {LOADED}",
    ],
)
def test_what_a_program_prints_repairs_nothing(marker: str) -> None:
    assert Told((0, xid(95)), (60, marker)).of(Kind.REPAIRED) == []


def test_nothing_is_repaired_where_nothing_was_broken() -> None:
    assert (
        Told((0, LOADED), (1, PROBED), (2, xid(43, "pid=1, name=x")), (3, LOADED)).of(Kind.REPAIRED)
        == []
    )


def test_another_boot_or_an_uptime_that_begins_anew_is_a_reboot() -> None:
    anew = Told((0, f"[538441.5] {xid(79)}"), (300, f"[12.5] {xid(43, 'pid=1, name=x')}"))
    late = Told((300, f"[538441.5] {xid(79)}"), (0, f"[12.5] {xid(43, 'pid=1, name=x')}"))

    assert anew.one(Kind.REPAIRED).remedy is Remedy.REBOOT
    assert late.of(Kind.REPAIRED) == []


def test_a_fault_that_comes_back_after_its_repair_is_told_once() -> None:
    told = Told((0, xid(95)), (60, LOADED), (900, xid(95)), (901, xid(95)))

    found = told.one(Kind.RETURNED)
    assert found.remedy is Remedy.DRAIN_INSPECT
    assert "570.86.15" in found.why


# ---------------------------------------------------------------- trust, bounds, any input


def test_what_a_program_wrote_is_related_to_its_like_only() -> None:
    told = Told((0, xid(45)), (1, f"<12>{xid(48)}"), (2, f"<12>{xid(63)}"))

    assert [f.fault.injected for f in told.of(Kind.MEMORY)] == [True, True]
    assert told.one(Kind.ALONE).fault.injected is False


def test_pods_lines_are_related_to_nothing() -> None:
    fault = Fault("xid/48", Severity.FATAL, Remedy.RESET_GPU, device=GPU, trust=Trust.POD)

    assert Relations().feed(fault) == []


def test_nodes_are_kept_apart() -> None:
    relations, decoder = Relations(), Decoder()
    found = [
        each
        for node, line in (("a", xid(45)), ("b", xid(48)), ("b", xid(45)), ("a", xid(63)))
        for fault in decoder.feed(unwrap(line), node, T0)
        for each in relations.feed(fault)
        if each.kind is Kind.CAUSED and each.root
    ]

    assert [(f.fault.node, f.root.fault_id if f.root else "") for f in found] == [
        ("b", "xid/48"), ("a", "xid/63"),
    ]  # fmt: skip


CODES = st.sampled_from([13, 31, 43, 45, 48, 63, 64, 74, 79, 94, 95, 119, 154, 159, 162, 163, 171])


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    code = draw(CODES)
    entry = catalog.xids()[code]
    detail = draw(st.dictionaries(
        st.sampled_from(["pid", "process", "gpc", "tpc", "link", "root", "to", "action"]),
        st.sampled_from(["", "0", "1", "-1", "xid/48", "x\x00"]),
        max_size=4,
    ))  # fmt: skip
    return Fault(
        entry.fault_id,
        entry.severity,
        entry.remedy,
        device=draw(st.sampled_from(["", GPU, OTHER])),
        node=draw(st.sampled_from(["", "a"])),
        time_ns=draw(st.integers(0, 5)) * 20 * S,
        uptime_us=draw(st.none() | st.integers(0, 10**9)),
        boot_id=draw(st.sampled_from(["", BOOT, LATER_BOOT])),
        injected=draw(st.booleans()),
        count=draw(st.integers(1, 3)),
        detail=detail,
    )


@settings(max_examples=200)
@given(st.lists(faults(), max_size=40))
def test_any_faults_in_any_order_are_related_without_an_error(given_faults: list[Fault]) -> None:
    relations = Relations()
    found = [each for fault in given_faults for each in relations.feed(fault)]
    found += relations.settle()

    for each in found:
        assert each.why
        assert each.count >= 1
        assert each.root is not each.fault
    lines = sum(fault.count for fault in given_faults if fault.fault_id == "xid/45")
    attached = [f for f in found if f.fault.fault_id == "xid/45"]
    followed = sum(f.count for f in attached if f.kind in (Kind.CAUSED, Kind.ALONE))
    assert followed == lines  # each is told once, to follow another one or to stand alone
    assert relations.settle() == []


@given(st.permutations([45, 48, 63, 94]))
def test_the_order_within_one_event_does_not_change_what_it_comes_to(order: list[int]) -> None:
    told = Told(*((0.1 * at, xid(code)) for at, code in enumerate(order)))

    assert told.of(Kind.MEMORY)[-1].remedy is Remedy.DRAIN_RESET
    assert {pair[0] for pair in linked(told.of(Kind.CAUSED))} == {"xid/45", "xid/94"}
    assert told.of(Kind.ALONE) == []


def test_memory_stays_bounded() -> None:
    relations = Relations(nodes=4)
    for n in range(3000):
        device = f"0000:{n % 256:02x}:{n // 256:02x}"
        for fault_id in ("xid/45", "xid/48", "xid/163", "xid/31", f"xid/{n}", "kernel/gpu-lost"):
            relations.feed(Fault(
                fault_id, Severity.FATAL, Remedy.REBOOT, device=device, node=f"n{n % 2 * n}",
                time_ns=T0 + n, detail={"pid": str(n), "to": "1"},
            ))  # fmt: skip

    nodes = relations._nodes.values()
    assert len(nodes) <= 4
    for node in nodes:
        assert len(node.events._seen) <= 64
        assert len(node._repeats._places) <= 256
        assert len(node._memory._gpus) <= 64
        assert len(node._states._open) <= 64
        assert len(node._repairs._since) <= 256
