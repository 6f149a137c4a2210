from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from probes.check import Context, Finding, NodeFacts, Outcome, ToolOutput
from probes.checks.disk import Disk
from probes.errors import CheckError, ToolTimeout
from probes.tools.mounts import holding, parse_mountinfo
from tests.support.network_checks import BOOT, again, context, plant, run, text
from tests.support.tool_output import Answer

WRITABLE, ERROR = text("mountinfo/ext4-writable.txt"), text("mountinfo/ext4-error.txt")
ROOM = ToolOutput(0, "4096 66053021 16521377 16777216 16067836\n", "")  # as GNU stat prints it


def disk(
    folder: Path,
    mountinfo: str = WRITABLE,
    stat: Answer = ROOM,
    *,
    options: Mapping[str, str] | None = None,
    before: Mapping[str, object] | None = None,
    node: NodeFacts | None = None,
    boot_id: str = BOOT,
) -> tuple[list[Finding], Context]:
    root = plant(folder, {"proc/1/mountinfo": mountinfo})
    its = context(
        {"stat": [stat]}, root=root, options=options or {"paths": "/"}, before=before, node=node,
        boot_id=boot_id,
    )  # fmt: skip
    return run(Disk(), its), its


def test_a_file_system_is_read_only_in_its_own_options() -> None:
    found = {mount.path: mount for mount in parse_mountinfo(ERROR)}
    assert found["/data"].read_only
    assert not found["/"].read_only
    assert not {m.path: m for m in parse_mountinfo(WRITABLE)}["/data"].read_only


def test_blanks_in_a_path_are_written_as_octal_numbers() -> None:
    line = r"36 35 98:0 / /mnt\040two rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
    (mount,) = parse_mountinfo(line)
    assert (mount.path, mount.device, mount.source) == ("/mnt two", "98:0", "/dev/root")


def test_a_path_is_in_the_mount_that_is_nearest() -> None:
    mounts = parse_mountinfo(WRITABLE)
    assert [m and m.path for m in (holding(mounts, p) for p in ("/data/x", "/database", "/"))] == [
        "/data", "/", "/",
    ]  # fmt: skip


def test_a_disk_with_room_passes(tmp_path: Path) -> None:
    (finding,), _ = disk(tmp_path)
    assert (finding.outcome, finding.device) == (Outcome.PASS, "/")
    assert finding.message == "/: 25.0 % free, 95.8 % free inodes"


@pytest.mark.parametrize(
    ("numbers", "outcome"),
    [
        ("4096 1000 99 1000 900", "warn"),
        ("4096 1000 9 1000 900", "fail"),
        ("4096 1000 500 1000 49", "warn"),
        ("4096 1000 500 1000 9", "fail"),
        ("4096 1000 500 0 0", "pass"),
        ("4096 0 0 0 0", "error"),
        ("4096 1000 1001 1000 900", "error"),
        ("4096 1000 -5 1000 900", "error"),
        ("lots", "error"),
        ("", "error"),
    ],
)
def test_room_and_inodes_are_judged(tmp_path: Path, numbers: str, outcome: str) -> None:
    (finding,), _ = disk(tmp_path, stat=ToolOutput(0, numbers + "\n", ""))
    assert finding.outcome.value == outcome


def test_a_limit_of_ones_own(tmp_path: Path) -> None:
    (finding,), _ = disk(tmp_path, node=NodeFacts("n", thresholds={"disk/free": 30.0}))
    assert finding.outcome is Outcome.FAIL


def test_a_path_that_does_not_answer_fails_by_itself(tmp_path: Path) -> None:
    (finding,), _ = disk(tmp_path, stat=ToolTimeout("stat did not end"))
    assert finding.outcome is Outcome.FAIL
    assert "/ does not answer within 8 s" in finding.message


def test_two_paths_of_one_file_system_are_one_finding(tmp_path: Path) -> None:
    found, _ = disk(tmp_path, options={"paths": "/,/var,/data"})
    assert [each.device for each in found] == ["/", "/data"]


def test_a_file_system_that_an_error_made_read_only_fails(tmp_path: Path) -> None:
    found, _ = disk(tmp_path, ERROR)
    assert (found[0].outcome, found[0].device, found[0].severity) == (
        Outcome.FAIL,
        "/data",
        "fatal",
    )
    assert "ext4 on /dev/loop0" in found[0].message


def test_one_that_was_writable_earlier_in_this_boot_fails(tmp_path: Path) -> None:
    read_only = WRITABLE.replace("/dev/loop0 rw,errors=remount-ro", "/dev/loop0 ro")
    found, _ = disk(tmp_path / "1", read_only)
    assert [each.outcome for each in found] == [Outcome.PASS]  # on purpose, for all that is known
    _, its = disk(tmp_path / "2")
    found, _ = disk(tmp_path / "3", read_only, before=again(its))
    assert found[0].message.endswith("it was writable earlier in this boot")
    found, _ = disk(tmp_path / "4", read_only, before=again(its), boot_id="f" * 32)
    assert [each.outcome for each in found] == [Outcome.PASS]


def test_it_stays_a_failure_while_it_lasts(tmp_path: Path) -> None:
    read_only = WRITABLE.replace("/dev/loop0 rw,errors=remount-ro", "/dev/loop0 ro")
    _, its = disk(tmp_path / "1")
    for number in "234":
        found, its = disk(tmp_path / number, read_only, before=again(its))
        assert found[0].outcome is Outcome.FAIL


def test_image_file_systems_are_read_only_on_purpose(tmp_path: Path) -> None:
    image = "99 44 7:9 / /snap ro - squashfs /dev/loop9 ro,errors=continue\n"
    found, _ = disk(tmp_path, WRITABLE + image)
    assert [each.outcome for each in found] == [Outcome.PASS]


@pytest.mark.parametrize(
    "mountinfo", ["", "garbage", WRITABLE.replace(" - ", " "), WRITABLE.replace("rw", "xx"),
                  WRITABLE.replace("254:0", "a:b")],
)  # fmt: skip
def test_what_is_not_understood_is_an_error(tmp_path: Path, mountinfo: str) -> None:
    with pytest.raises(CheckError):
        disk(tmp_path, mountinfo)


@pytest.mark.parametrize("path", ["var", "/var/../etc", "-x"])
def test_a_path_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(CheckError, match="is no absolute path"):
        disk(tmp_path, options={"paths": path})
