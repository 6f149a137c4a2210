from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest

from probes.check import Context, Finding, NodeFacts, Outcome, ToolOutput
from probes.checks.disk import Disk
from probes.errors import CheckError, ToolTimeout
from probes.tools.mounts import holding, parse_mountinfo
from tests.support.gpus import Clock
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
    files: Mapping[str, str] | None = None,
    check: Disk | None = None,
) -> tuple[list[Finding], Context]:
    root = plant(folder, {"proc/1/mountinfo": mountinfo, **(files or {})})
    its = context(
        {"stat": [stat]}, root=root, options=options or {"paths": "/"}, before=before, node=node,
        boot_id=boot_id,
    )  # fmt: skip
    return run(check or Disk(), its), its


def read_only_ones(found: list[Finding]) -> list[Finding]:
    return [each for each in found if "is read-only" in each.message]


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
    clock = Clock()
    check, silent = Disk(clock), ToolTimeout("stat did not end")
    (finding,), its = disk(tmp_path / "1", stat=silent, check=check)
    assert finding.outcome is Outcome.WARN
    assert "/ does not answer within 8 s" in finding.message
    clock.now_s += 60
    (finding,), its = disk(tmp_path / "2", stat=silent, check=check, before=again(its))
    assert finding.outcome is Outcome.FAIL
    assert "is stuck, for 60 s" in finding.message
    (finding,), its = disk(tmp_path / "3", check=check, before=again(its))
    assert finding.outcome is Outcome.PASS
    clock.now_s += 60
    (finding,), _ = disk(tmp_path / "4", stat=silent, check=check, before=again(its))
    assert finding.outcome is Outcome.WARN, "it begins anew"


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
    assert not read_only_ones(disk(tmp_path / "1", read_only)[0])  # on purpose, it seems
    _, its = disk(tmp_path / "2")
    found, _ = disk(tmp_path / "3", read_only, before=again(its))
    assert found[0].message.endswith("it was writable earlier in this boot")
    found, _ = disk(tmp_path / "4", read_only, before=again(its), boot_id="f" * 32)
    assert not read_only_ones(found)


RO = WRITABLE.replace("/dev/loop0 rw,errors=remount-ro", "/dev/loop0 ro,errors=remount-ro")
DATA = "UUID=0f00-1 /data ext4 {} 0 2\n"


@pytest.mark.parametrize(
    ("files", "outcome", "why"),
    [
        # The option says what an error would do, not that there was one.
        ({}, "warn", "it was so when it was first seen"),
        ({"etc/fstab": DATA.format("ro,errors=remount-ro")}, "", ""),
        ({"etc/fstab": DATA.format("defaults,errors=remount-ro")}, "warn", "/etc/fstab says rw"),
        ({"etc/fstab": "# " + DATA.format("ro")}, "warn", "first seen"),
        ({"sys/dev/block/7:0/ro": "1\n"}, "", ""),  # a snapshot, dm-verity
        ({"errors_count": "3", "last_error_time": "2000"}, "fail", "has counted 3 errors"),
        ({"errors_count": "3", "last_error_time": "2000", "etc/fstab": DATA.format("ro")},
         "fail", "has counted 3 errors"),
        ({"errors_count": "3", "last_error_time": "999"}, "warn", ""),  # of an earlier boot
        ({"errors_count": "0", "last_error_time": "0"}, "warn", ""),
        ({"errors_count": "garbage", "last_error_time": "2000"}, "warn", ""),
        ({"errors_count": "3", "last_error_time": "2000", "proc/stat": "cpu 1\n"}, "warn", ""),
    ],
)  # fmt: skip
def test_what_was_read_only_from_the_beginning(
    tmp_path: Path, files: dict[str, str], outcome: str, why: str
) -> None:
    named = {
        path if "/" in path else f"sys/fs/ext4/loop0/{path}": content
        for path, content in files.items()
    }
    found, _ = disk(tmp_path, RO, files={"proc/stat": "cpu 1\nbtime 1000\n", **named})
    told = read_only_ones(found)
    assert [each.outcome.value for each in told] == ([outcome] if outcome else [])
    assert all(why in each.message for each in told)


def test_errors_are_looked_up_by_the_kernels_name_of_the_device(tmp_path: Path) -> None:
    mapped = RO.replace("/dev/loop0", "/dev/mapper/vg-data").replace("7:0", "254:3")
    files = {"proc/stat": "btime 1000\n", "sys/fs/ext4/dm-3/errors_count": "1\n",
             "sys/fs/ext4/dm-3/last_error_time": "1001\n"}  # fmt: skip
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/254:3").symlink_to("../../devices/virtual/block/dm-3")
    found, _ = disk(tmp_path, mapped, files=files)
    assert [each.outcome for each in read_only_ones(found)] == [Outcome.FAIL]


def test_another_volume_that_gets_the_same_device_is_another(tmp_path: Path) -> None:
    """rbd and device mapper give their numbers to the next one, which may be meant read-only."""
    _, its = disk(tmp_path / "1")
    other = WRITABLE.replace("/dev/loop0 rw,errors=remount-ro", "/dev/loop0 ro")
    for changed in (other.replace("/data", "/other"), other.replace("65 44", "66 44")):
        found, _ = disk(tmp_path / "2", changed, before=again(its))
        assert not read_only_ones(found)


def test_a_volume_of_a_pod_accuses_no_node(tmp_path: Path) -> None:
    path = "/var/lib/kubelet/pods/0b1c/volumes/kubernetes.io~csi/pvc-1/mount"
    _, its = disk(tmp_path / "1", WRITABLE.replace("/data", path))
    for number, mountinfo in enumerate((RO, ERROR), 2):
        found, _ = disk(tmp_path / str(number), mountinfo.replace("/data", path), before=again(its))
        (told,) = read_only_ones(found)
        assert told.outcome is Outcome.WARN
        assert "a volume of a pod" in told.message
    local = (
        "66 44 7:0 / /mnt/disks/1 rw,relatime - ext4 /dev/loop0 rw,errors=remount-ro,emergency_ro\n"
    )
    found, _ = disk(tmp_path / "9", ERROR.replace("/data", path) + local)
    assert [each.outcome for each in read_only_ones(found)] == [Outcome.FAIL], "a disk of the node"


def test_state_of_an_older_agent_is_read(tmp_path: Path) -> None:
    found, its = disk(tmp_path, RO, before={"boot_id": BOOT, "writable": ["7:0", "254:0"]})
    assert [each.outcome for each in read_only_ones(found)] == [Outcome.WARN]
    assert its.keep["writable"]


def test_a_full_image_has_no_room_and_needs_none(tmp_path: Path) -> None:
    image = WRITABLE.replace("/dev/vda rw,discard", "/dev/vda ro")
    full = ToolOutput(0, "4096 1000 0 0 0\n", "")
    (finding,), _ = disk(tmp_path, image, full)
    assert finding.outcome is Outcome.SKIP


def test_a_file_system_that_opens_nothing_is_shut_down(tmp_path: Path) -> None:
    def broken(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    xfs = WRITABLE.replace("ext4 /dev/vda rw,discard", "xfs /dev/vda rw,attr2")
    (finding,), _ = disk(tmp_path, xfs, check=Disk(open_folder=broken))
    assert (finding.outcome, finding.severity) == (Outcome.FAIL, "fatal")
    assert "xfs on /dev/vda" in finding.message
    said = ToolOutput(
        1, "", "stat: cannot read file system information for '/': Input/output error"
    )
    (finding,), _ = disk(tmp_path, xfs, said)
    assert finding.outcome is Outcome.FAIL
    nfs = WRITABLE.replace("ext4 /dev/vda rw,discard", "nfs4 server:/root rw")
    (finding,), _ = disk(tmp_path, nfs, said)
    assert finding.outcome is Outcome.ERROR, "a server is no disk of this node"


def test_a_folder_that_may_not_be_opened_is_no_broken_disk(tmp_path: Path) -> None:
    def refused(path: str) -> None:
        raise OSError(errno.EACCES, "Permission denied", path)

    (finding,), _ = disk(tmp_path, check=Disk(open_folder=refused))
    assert finding.outcome is Outcome.PASS


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
