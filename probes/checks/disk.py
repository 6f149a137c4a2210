"""Can the node's disks be written, and is there room?

A file system that the kernel made read-only after an error fails: it says so (`emergency_ro`, or
errors that ext4 has counted in this boot), or the same mount was writable earlier in this boot.
What was read-only when it was first seen warns at most (`errors=remount-ro`, or `/etc/fstab` says
that it can be written), and is no matter where it is meant: the block device is read-only (an
image, dm-verity), or `/etc/fstab` says `ro`. A volume of a pod warns: it is its pod's matter.

A file system that gives "Input/output error" when a folder is opened was shut down (XFS, btrfs):
fatal. A path that does not answer is a finding of its own, since a file server that is gone stops
whoever looks at it: it warns, and fails when it lasts. The room of a read-only file system is not
judged: images are full.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from parsers.printable import printable
from probes import options
from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Context,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
    ToolOutput,
)
from probes.counters import boot_clock, lasts
from probes.errors import CheckError, Skipped, ToolTimeout
from probes.measuring.read_only import marks, of_fstab, why_read_only
from probes.tools.mounts import Mount, holding, parse_mountinfo
from probes.tools.node_files import read
from probes.tools.reading import ending, excerpt

#: Where kubelet, containers and logs are; those that are there are looked at.
PATHS = ("/", "/var", "/var/lib/kubelet", "/var/lib/containerd", "/var/log", "/tmp")  # noqa: S108
#: Below this the kubelet begins to evict pods (its default hard eviction thresholds).
WARN_BYTES, WARN_INODES = 10.0, 5.0
#: Below this nothing works any more.
FAIL_PERCENT = 1.0
_STUCK_S = 8.0
_WRITABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs"})
_NUMBERS = re.compile(r"([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20})\s*")
_MOUNTINFO = "proc/1/mountinfo"
_MOST_KEPT = 1024
#: A path that does not answer for so long fails: a disk under load may be slow for once.
STUCK_FAILS_S = 45.0


def _open_folder(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


class Disk:
    """Room, inodes, and what became read-only."""

    def __init__(
        self,
        clock: Callable[[], float] = boot_clock,
        open_folder: Callable[[str], None] = _open_folder,
    ) -> None:
        """``clock``: seconds since boot. ``open_folder`` raises OSError when it cannot."""
        self._clock, self._open_folder = clock, open_folder
        self._spec = CheckSpec(
            "disk",
            "Can the node's disks be written, and is there room?",
            Tier.LIGHT,
            Cadence.LIGHT,
            deadline_s=60.0,
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each path and for each file system that became read-only. Options:
        ``paths``, ``free`` and ``free_inodes`` (least, percent; below: fails)."""
        if context.backend.fake and context.root == "/":
            raise Skipped("a fake backend: this machine is not the node")
        text = read(Path(context.root, _MOUNTINFO), 4 * 1024 * 1024)
        if text is None:
            raise CheckError(f"/{_MOUNTINFO} cannot be read")
        mounts = parse_mountinfo(text)
        yield from _read_only(context, mounts)
        seen: set[str] = set()
        for path in options.words(context, "paths", PATHS):
            if not path.startswith("/") or posixpath.normpath(path) != path:
                raise CheckError(f"option paths: {printable(path, 64)!r} is no absolute path")
            mount = holding(mounts, path)
            if mount is not None and mount.device not in seen:
                seen.add(mount.device)
                yield self._room(context, mount, path)

    def _room(self, context: Context, mount: Mount, path: str) -> Finding:
        device = _device(path)
        where = context.root.rstrip("/") + path
        arguments = ("stat", "-f", "-c", "%S %b %a %c %d", "--", where)
        try:
            output = context.tool(arguments, deadline_s=_STUCK_S)
        except ToolTimeout:
            since_s = lasts(context, device, self._clock())
            message = f"{path} does not answer within {_STUCK_S:g} s: its disk or file server"
            if since_s < STUCK_FAILS_S:
                return Finding(Outcome.WARN, f"{message} is slow", device)
            return Finding(Outcome.FAIL, f"{message} is stuck, for {since_s:.0f} s", device)
        if mount.kind in _WRITABLE and (why := self._shut_down(where, output)):
            message = f"{path} ({mount.kind} on {mount.source}): {why}"
            return Finding(Outcome.FAIL, message, device, severity="fatal", remedy="reboot")
        found = _NUMBERS.fullmatch(output.stdout)
        if found is None or output.returncode != 0:
            said = excerpt(output.stderr or output.stdout)
            return Finding(Outcome.ERROR, f"{path}: stat ({ending(output)}): {said}", device)
        if mount.read_only:
            return Finding(Outcome.SKIP, f"{path}: read-only, its room does not matter", device)
        size, blocks, free, inodes, free_inodes = (int(each) for each in found.groups())
        if size * blocks == 0 or free > blocks or free_inodes > inodes:
            return Finding(Outcome.ERROR, f"{path}: {found[0].strip()} is not plausible", device)
        values = [("free", 100.0 * free / blocks, WARN_BYTES)]
        if inodes:  # some file systems have none to run out of
            values.append(("free_inodes", 100.0 * free_inodes / inodes, WARN_INODES))
        return _judge(context, path, values)

    def _shut_down(self, where: str, output: ToolOutput) -> str:
        """XFS tells its room after it has shut down, but opens nothing."""
        why = "the file system is shut down (Input/output error)"
        if output.returncode != 0:
            return why if os.strerror(errno.EIO) in output.stderr else ""
        try:
            self._open_folder(where)
        except OSError as error:
            return why if error.errno == errno.EIO else ""
        return ""


def _read_only(context: Context, mounts: list[Mount]) -> Iterator[Finding]:
    """Of the file systems on disks: network and image file systems are read-only on purpose."""
    before = context.before.get("writable") if _same_boot(context) else None
    writable = (
        {each for each in before if isinstance(each, str)} if isinstance(before, list) else set()
    )
    fstab = of_fstab(context.root)
    kept: list[str] = []
    by_device: dict[str, list[Mount]] = {}
    for mount in mounts:
        if mount.kind in _WRITABLE:
            by_device.setdefault(mount.device, []).append(mount)
    for its in by_device.values():
        was_writable = bool(writable & set(marks(its)))
        if not its[0].read_only:
            kept += marks(its)
            continue
        if was_writable:  # it stays a failure for as long as it lasts
            kept += marks(its)
        found = why_read_only(context.root, its, was_writable, fstab)
        if found.outcome is not Outcome.PASS:
            mount = its[0]
            message = f"{mount.path} ({mount.kind} on {mount.source}) is read-only: {found.why}"
            yield Finding(
                found.outcome, message, _device(mount.path), severity="fatal", remedy="reboot"
            )
    context.keep.update(boot_id=context.boot_id, writable=kept[:_MOST_KEPT])


def _judge(context: Context, path: str, values: list[tuple[str, float, float]]) -> Finding:
    outcome, words, measured = Outcome.PASS, [], []
    for name, percent, warn in values:
        limit = options.limit(
            context, "disk", name, FAIL_PERCENT, Bound.AT_LEAST, "FAIL_PERCENT of this check"
        )
        words.append(f"{percent:.1f} % {name.replace('_', ' ')}")
        if percent < limit.value:
            outcome = Outcome.FAIL
        elif percent < warn and outcome is Outcome.PASS:
            outcome = Outcome.WARN
            limit = Threshold(warn, Bound.AT_LEAST, "the kubelet's hard eviction default")
        measured.append(Measurement(name, percent, "%", limit))
    return Finding(outcome, f"{path}: {', '.join(words)}", _device(path), tuple(measured))


def _same_boot(context: Context) -> bool:
    return context.before.get("boot_id") == context.boot_id


def _device(path: str) -> str:
    """A path as the device of a finding: bounded, and of the characters that a device has."""
    return re.sub(r"[^A-Za-z0-9:._/-]", "_", path)[:64]
