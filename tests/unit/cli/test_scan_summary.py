"""Does the summary say what an expert would say about a log?"""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.cli import scan_events
from konduktor_health.cli.scan import scan_file
from konduktor_health.cli.scan_summary import render_summary
from tests.support.wrapped_lines import journald, kmsg_json

GPU, OTHER = "0000:3b:00", "0000:af:00"
LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"


def xid(code: int, said: str = "x", gpu: str = GPU) -> str:
    return f"NVRM: Xid (PCI:{gpu}): {code}, {said}"


def ordered(value: int, text: str, gpu: str = GPU) -> str:
    return xid(154, f"GPU recovery action changed from 0x0 (None) to 0x{value} ({text})", gpu)


def summary(*lines: str) -> str:
    content = "\n".join(lines).encode()
    return render_summary(("", hit) for hit in scan_file("-", io.BytesIO(content)))


def section(text: str, device: str) -> str:
    """What the summary says about one device."""
    (found,) = [part for part in text.split("\n\n") if part.startswith(device)]
    return found


def test_the_example_of_the_guide_is_what_is_said() -> None:
    guide = (Path(__file__).parents[3] / "docs/guides/scan-a-log.md").read_text()
    blocks = dict(re.findall(r"^```(log|text)\n(.*?)^```", guide, re.S | re.M))

    assert summary(*blocks["log"].splitlines()) + "\n" == blocks["text"]


def test_a_log_without_faults_says_so() -> None:
    assert summary("boot") == "No faults found."


def test_one_event_with_what_follows_it_and_what_to_do() -> None:
    said = summary(f"[5.0] {xid(48)}", *(f"[5.1] {xid(45)}" for _ in range(20)), f"[5.2] {xid(63)}")

    assert said == (
        "1 device with faults; lines: 1 fatal, 1 degraded, 20 info\n"
        "\n"
        "0000:3b:00: fatal\n"
        "  xid/48, fatal: Uncorrectable (double-bit) ECC error detected\n"
        "    lines 1 to 21; with it xid/45 x20; uncorrectable error, and its repair waits for a"
        " reset: drain first, then reset\n"
        "  xid/63, degraded: Memory repair recorded: row remap (Ampere+) or page retirement"
        " queued\n"
        "    line 22\n"
        "  do now: drain the node and reset the GPU when it is idle\n"
        "  look at: Look for Xid 63, 64, 94, 95, 171 and 172 beside it. With 63 or 64: drain"
        " first. SRAM: look at the threshold flag, then field diagnostics.\n"
        "  look at: Look at pending row remaps and retired pages; the repair takes effect at the"
        " next reset.\n"
        "  repaired since: not known; this log shows no reset or reboot that would do after it"
    )


def test_a_cause_that_comes_later_takes_what_came_before() -> None:
    said = summary(f"[5.0] {xid(45)}", f"[5.1] {xid(45)}", f"[5.2] {xid(94)}")

    assert "with it xid/45 x2" in section(said, GPU)
    assert "xid/45, " not in said


def test_the_worst_device_comes_first_and_repaired_ones_last() -> None:
    said = summary(
        f"[5.0] {xid(95, gpu='0000:01:00')}",
        f"[6.0] {LOADED}",
        f"[7.0] {xid(63, gpu='0000:02:00')}",
        f"[8.0] {xid(79, gpu='0000:03:00')}",
    )

    heads = [part.splitlines()[0] for part in said.split("\n\n")[1:4]]
    assert heads == [
        "0000:03:00: fatal", "0000:02:00: degraded", "0000:01:00: fatal, repaired or over since",
    ]  # fmt: skip
    assert "repaired since: the driver was loaded since (570.86.15)" in section(said, "0000:01:00")
    assert "verify the device" in section(said, "0000:01:00")


def test_the_drivers_directive_outranks_the_catalog() -> None:
    said = summary(xid(48), ordered(2, "Node Reboot Required"))

    assert "do now: the driver says 'Node Reboot Required', so reboot the node" in said
    assert "xid/154" not in section(said, GPU)


def test_a_directive_that_was_taken_back_orders_nothing() -> None:
    said = summary(xid(13, "pid=1, name=x"), ordered(1, "GPU Reset Required"), ordered(0, "None"))

    assert "the driver says" not in said
    assert "do now: restart the application" in said


def test_a_directive_alone_is_an_event() -> None:
    said = summary(ordered(1, "GPU Reset Required"))

    assert "xid/154, fatal" in said
    assert "do now: the driver says 'GPU Reset Required', so reset the GPU" in said


def test_a_reset_does_not_repair_what_needs_a_reboot() -> None:
    said = summary(f"[5.0] {xid(79)}", f"[6.0] {LOADED}")

    assert "do now: reboot the node" in said
    assert "repaired since: not known" in said


def test_a_reboot_repairs_and_a_fault_that_returns_is_told() -> None:
    said = summary(f"[5000.0] {xid(79)}", f"[12.0] {xid(43, gpu=OTHER)}", f"[90.0] {xid(79)}")

    assert "came back, although the node has booted since" in section(said, GPU)
    assert "do now: drain the node and inspect it" in section(said, GPU)


def test_a_repeat_points_to_the_hardware() -> None:
    where = "Graphics SM Warp Exception on (GPC 9, TPC 1, SM 1): Out Of Range Address"

    said = summary(
        f"[5.0] {xid(13, f'pid=1, name=a, {where}')}", f"[9.0] {xid(13, f'pid=2, name=b, {where}')}"
    )

    assert f"{GPU}: degraded" in said
    assert "run diagnostics" in said


def test_steps_of_a_failed_init_are_one_event_of_the_gpu_that_is_named() -> None:
    step = "NVRM: gpuWaitForGfwBootComplete_TU102: failed to wait for GFW_BOOT: (progress 0xff)"
    gsp = "NVRM: RmInitAdapter: Cannot initialize GSP firmware RM"
    init = "NVRM: GPU {}.0: RmInitAdapter failed! (0x62:0x40:2192)"

    said = summary(
        f"[5.0] {step}", f"[5.1] {gsp}", f"[5.2] {init.format(GPU)}", f"[5.3] {init.format(GPU)}",
        f"[8.0] {step}", f"[8.1] {gsp}", f"[8.2] {init.format(OTHER)}",
    )  # fmt: skip

    assert "2 devices with faults" in said
    for gpu in (GPU, OTHER):
        assert "kernel/gpu-firmware-boot-failed, fatal" in section(said, gpu)
        assert "do now: power-cycle the node" in section(said, gpu)
    assert "with it kernel/gpu-init-failed x2" in section(said, GPU)


def test_records_of_one_pcie_error_are_one_event() -> None:
    said = summary(
        "[5.0] pcieport 0000:3a:00.0: AER: Uncorrectable (Fatal) error message received",
        "[5.0] nvidia 0000:3b:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Fatal)",
        "[5.1] nvidia 0000:3b:00.0: AER: can't recover (no error_detected callback)",
    )

    assert "1 device with faults" in said
    assert "kernel/pcie-aer-fatal x2, fatal" in section(said, GPU)
    assert "lines 1 to 3; port 0000:3a:00.0; with it kernel/pcie-aer-unrecovered" in said


def test_an_xid_45_alone_is_told_with_what_to_restart() -> None:
    assert "restart the program, or the fabric manager" in summary(xid(45))


def test_an_open_state_is_told_and_an_ended_one_is_counted() -> None:
    begin = "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 10004, NVSWITCH Temperature 91C"
    end = "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 10005, Thermal slowdown Disengaged"

    assert "open until sxid/10005" in section(summary(begin), "0000:c3:00")
    assert summary(begin, end).endswith("also, only worth counting: sxid/10004, sxid/10005")


def test_a_state_that_began_again_after_a_boot_is_over_with_its_end() -> None:
    hot = "mce: CPU3: Core temperature above threshold, cpu clock throttled (total events = 1)"
    lines = [f"[5000.0] {hot}", f"[5001.0] {xid(79)}", f"[10.0] {hot}"]

    still = summary(*lines)
    over = summary(*lines, "[11.0] mce: CPU3: Core temperature/speed normal")

    assert "open until kernel/cpu-cooled" in still
    assert "open until" not in over


def test_a_state_is_over_when_it_is_over_in_every_place() -> None:
    hot = "CPU{}: Package temperature above threshold, cpu clock throttled (total events = 1)"
    cool = "CPU{}: Package temperature/speed normal"
    one = [hot.format(1), hot.format(2), cool.format(1)]

    assert "open until kernel/cpu-cooled" in section(summary(*one), "node")
    assert "open until" not in summary(*one, cool.format(2))


def test_info_is_condensed_for_each_node() -> None:
    said = summary(*(f"[5.0] Out of memory: Killed process {n} (x)" for n in range(9)), xid(79))

    assert said.endswith("the node: also, only worth counting: kernel/oom-host x9")


def test_what_is_not_known_is_named() -> None:
    said = summary(xid(9999), "** 17 printk messages dropped **")

    assert "not known: what xid/9999 means; look at line 1" in said
    assert "not known: what was in lines that were lost" in said


def test_what_a_program_or_a_pod_says_proves_nothing() -> None:
    said = summary(
        journald(xid(79), SYSLOG_FACILITY="1"), "RuntimeError: CUDA error: invalid device ordinal"
    )

    assert "xid/79 (injected), fatal" in said
    assert "gpu-7 0000:3b:00: fatal, not proven" in said
    assert "a program wrote it into the kernel log" in said
    assert "verify it on the node" in section(said, "node")
    assert "reboot" not in said.split("do now:")[1].splitlines()[0]


def test_nodes_and_times_are_told() -> None:
    said = summary(kmsg_json(xid(79)), kmsg_json(xid(79), node="gpu-8"))

    assert "gpu-7 0000:3b:00: fatal" in said
    assert "gpu-8 0000:3b:00: fatal" in said
    assert "line 1, 2026-11-22T05:00:00Z" in said


def test_lines_of_several_files_are_told_with_their_file() -> None:
    (hit,) = scan_file("-", io.BytesIO(xid(79).encode()))

    assert "line kern.log.1:1" in render_summary([("kern.log.1", hit)])


def test_devices_and_events_are_bounded_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_events, "_DEVICES", 2)
    monkeypatch.setattr(scan_events, "_EVENTS", 3)

    said = summary(
        *(f"[{code}.0] {xid(code)}" for code in (46, 48, 62, 95, 109)),
        *(f"[5.0] {xid(79, gpu=f'0000:0{n}:00')}" for n in range(6)),
    )

    assert "2 devices with faults" in said
    assert "not shown: 7 faults more" in said


LINES = [
    *(xid(code) for code in (13, 45, 48, 63, 79, 94, 95, 119, 159, 162, 163, 171, 9999)),
    ordered(1, "GPU Reset Required"), ordered(0, "None"), LOADED, xid(48, gpu=OTHER),
    "NVRM: RmInitAdapter: Cannot initialize GSP firmware RM",
    "NVRM: gpuWaitForGfwBootComplete_TU102: failed to wait for GFW_BOOT: (progress 0xff)",
    "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2192)",
    "pcieport 0000:3a:00.0: AER: Uncorrectable (Fatal) error message received",
    "nvidia 0000:3b:00.0: AER: can't recover (no error_detected callback)",
    "RuntimeError: CUDA error: invalid device ordinal",
    "message repeated 3 times: [ NVRM: Xid (PCI:0000:3b:00): 45, x]",
]  # fmt: skip

#: A port tells of an error; then it is told who erred.
NAMING = [
    "pcieport 0000:00:02.0: AER: Uncorrected (Fatal) error received: id=0010",
    f"pcieport 0000:3a:00.0: AER: Uncorrectable (Fatal) error message received from {GPU}.0",
]


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["", "<12>"]), st.sampled_from(LINES)),
        max_size=25,
    )
)
def test_any_log_has_a_summary(drawn: list[tuple[int, str, str]]) -> None:
    said = summary(*(f"{source}[{seconds}.5] {line}" for seconds, source, line in drawn))

    assert said
    assert all(line == line.rstrip() for line in said.splitlines())
    for part in said.split("\n\n")[1:]:
        known = part.startswith(("not known", "not shown")) or "only worth counting" in part
        assert known or part.count("do now: ") == 1


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from([*LINES, *NAMING])), max_size=25),
    st.sampled_from([(scan_events._DEVICES, scan_events._EVENTS, scan_events._WITH), (3, 2, 1)]),
)
def test_each_fault_is_counted_once(
    drawn: list[tuple[int, str]], limits: tuple[int, int, int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("_DEVICES", "_EVENTS", "_WITH"), limits, strict=True):
            patch.setattr(scan_events, name, limit)
        content = "\n".join(f"[{seconds}.5] {line}" for seconds, line in drawn).encode()
        hits = list(scan_file("-", io.BytesIO(content)))
        story = scan_events.Story()
        for hit in hits:
            story.add(hit)
        story.end()

    events = [event for device in story.devices.values() for event in device.events.values()]
    assert all(event.count > 0 for event in events)
    counted = sum(event.count + event.beside.total() for event in events)
    assert counted + story.dropped == sum(hit.fault.count for hit in hits)


def test_what_has_no_room_under_its_own_name_is_not_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_events, "_EVENTS", 2)
    said = summary(xid(48), f"[10.0] {NAMING[0]}", f"[11.0] {xid(79)}", f"[12.0] {NAMING[1]}")

    assert "not shown" not in said
