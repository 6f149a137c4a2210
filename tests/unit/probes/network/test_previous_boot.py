from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from probes.check import Context, Finding, Outcome, ToolOutput
from probes.checks.previous_boot import PreviousBoot
from probes.errors import CheckError, Skipped
from probes.tools.crash import Crash, journal_lines, of_dump, of_lines
from tests.support.network_checks import again, context, plant, run, text

EARLIER = "e" * 32
PANIC = "Kernel panic - not syncing: Fatal exception in interrupt"
STOPPED = ToolOutput(0, json.dumps({"MESSAGE": "Journal stopped", "_BOOT_ID": EARLIER}), "")
NOTHING = ToolOutput(0, "", "")
NO_BOOT = ToolOutput(
    1, "", "Data from the specified boot (-1) is not available: No such boot ID in journal\n"
)


def journal(*messages: object) -> ToolOutput:
    lines = (json.dumps({"MESSAGE": each, "_BOOT_ID": EARLIER}) for each in messages)
    return ToolOutput(0, "\n".join(lines) + "\n", "")


def previous(
    root: Path,
    files: Mapping[str, str],
    answers: Sequence[ToolOutput] = (NO_BOOT, NOTHING),
    before: Mapping[str, object] | None = None,
) -> tuple[list[Finding], Context]:
    its = context({"journalctl": answers}, root=plant(root, files), before=before)
    return run(PreviousBoot(), its), its


def test_signs_in_real_dumps() -> None:
    assert of_dump(text("pstore/dmesg-erst-panic.txt")) == Crash("panic", PANIC)
    assert of_dump(text("pstore/dmesg-ramoops-panic.txt")) == Crash(
        "panic", "Kernel panic - not syncing: sysrq triggered crash"
    )
    assert of_dump(text("pstore/dmesg-erst-oops.txt")) == Crash("oops", "a dump was written (Oops)")


def test_a_dump_of_an_orderly_end_is_no_crash() -> None:
    assert of_dump("Shutdown#1 Part1\n<6>[ 10.000000] reboot: Restarting system\n") is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("BUG: unable to handle page fault for address: ffffae2b19088fa8", "oops"),
        ("traps: PANIC: double fault, error_code: 0x0", "double fault"),
        ("mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 4: b2", "hardware error"),
        ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", "hard lockup"),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [nv:1]", "soft lockup"),
    ],
)
def test_words_of_a_dying_kernel(line: str, kind: str) -> None:
    assert of_lines(["usb 1-1: new device", line]) == Crash(kind, line)


def test_a_panic_in_pstore_is_told_once(tmp_path: Path) -> None:
    files = {
        "sys/fs/pstore/dmesg-erst-1": text("pstore/dmesg-erst-panic.txt"),
        "sys/fs/pstore/dmesg-erst-2": text("pstore/dmesg-erst-oops.txt"),
        "sys/fs/pstore/console-ramoops-0": PANIC,
    }
    (finding,), its = previous(tmp_path, files)
    assert (finding.outcome, finding.message) == (Outcome.FAIL, f"panic: {PANIC}")
    assert finding.detail == {"kind": "panic", "source": "pstore dmesg-erst-1"}
    (finding,), its = previous(tmp_path, {}, before=again(its))
    assert finding.outcome is Outcome.PASS


def test_the_same_dump_moved_by_systemd_is_not_told_again(tmp_path: Path) -> None:
    dump = text("pstore/dmesg-ramoops-panic.txt")
    _, its = previous(tmp_path / "1", {"sys/fs/pstore/dmesg-ramoops-0": dump})
    moved = {"var/lib/systemd/pstore/1721721721/001/dmesg.txt": dump}
    (finding,), _ = previous(tmp_path / "2", moved, before=again(its))
    assert finding.outcome is Outcome.PASS
    (finding,), _ = previous(tmp_path / "3", moved)
    assert finding.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("days_before_this_boot", "outcome"), [(0.01, "fail"), (6, "fail"), (8, "pass"), (700, "pass")]
)
def test_a_dump_of_long_ago_is_no_news(
    tmp_path: Path, days_before_this_boot: float, outcome: str
) -> None:
    """The agent is new on a node that crashed once upon a time."""
    booted = 1_800_000_000
    files = {"var/lib/systemd/pstore/1721721721/001/dmesg.txt": text("pstore/dmesg-erst-panic.txt"),
             "proc/stat": f"cpu 1\nbtime {booted}\n"}  # fmt: skip
    plant(tmp_path, files)
    written = booted - days_before_this_boot * 86400
    os.utime(tmp_path / "var/lib/systemd/pstore/1721721721/001/dmesg.txt", (written, written))
    (finding,), _ = previous(tmp_path, {})
    assert finding.outcome.value == outcome


def test_the_end_of_a_journal_tells_of_a_panic(tmp_path: Path) -> None:
    tail = journal("eth0: link up", [75, *PANIC[1:].encode()], "CPU: 0 PID: 0")
    files = {"var/log/journal/0/system.journal": ""}
    (finding,), its = previous(tmp_path, files, (tail, NOTHING))
    assert finding.message == f"panic: {PANIC}"
    assert finding.detail["source"] == f"journal of boot {EARLIER}"
    found, _ = previous(tmp_path, files, (tail, NOTHING), again(its))
    assert [each.outcome for each in found] == [Outcome.PASS]


def test_a_journal_that_breaks_off_is_warned_of(tmp_path: Path) -> None:
    files = {"var/log/journal/0/system.journal": ""}
    (finding,), _ = previous(tmp_path, files, (journal("nvme0: I/O timeout"), NOTHING))
    assert finding.outcome is Outcome.WARN
    assert finding.message.endswith(
        "ended without a shutdown; its last kernel line: nvme0: I/O timeout"
    )
    (finding,), _ = previous(tmp_path, files, (journal("reboot: Restarting"), STOPPED))
    assert finding.outcome is Outcome.PASS


def test_a_journal_with_one_boot_has_nothing_to_tell(tmp_path: Path) -> None:
    files = {"var/log/journal/0/system.journal": ""}
    (finding,), _ = previous(tmp_path, files, (NO_BOOT, NO_BOOT))
    assert finding.outcome is Outcome.PASS


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    files = {"var/log/journal/0/system.journal": ""}
    broken = ToolOutput(1, "", "Failed to open files: Bad message\n")
    (finding,), _ = previous(tmp_path, files, (broken, broken))
    assert finding.outcome is Outcome.ERROR
    with pytest.raises(CheckError):
        previous(tmp_path, files, (ToolOutput(0, "{garbage", ""), NOTHING))


def test_a_node_that_keeps_nothing_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="neither pstore nor a journal"):
        previous(tmp_path, {})


def test_words_of_a_dump_are_bounded_and_printable() -> None:
    crash = of_dump("Panic#1 Part1\n<0>[ 1.0] Kernel panic - not syncing: \x1b[31m" + "x" * 9999)
    assert crash is not None
    assert len(crash.line) <= 300
    assert crash.line.isprintable()


def test_bytes_and_boots_of_a_journal() -> None:
    assert journal_lines(journal("a", [98, 255], 7, None).stdout) == (["a", "b\ufffd"], EARLIER)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("mce: [Hardware Error]: Machine check events logged", ""),
        ("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: 8c00004000010091", ""),
        ("[Hardware Error]: Corrected error, no action required.", ""),
        ("{1}[Hardware Error]:   Error 0, type: non-fatal", ""),
        ("mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 4: b2", "hardware error"),
        ("mce: [Hardware Error]: Machine check: Processor context corrupt", "hardware error"),
        ("{1}[Hardware Error]:   Error 0, type: fatal", "hardware error"),
    ],
)
def test_a_corrected_hardware_error_is_no_crash(line: str, kind: str) -> None:
    crash = of_lines(["eth0: up", line])

    assert (crash.kind if crash else "") == kind
