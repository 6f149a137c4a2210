"""Can the node's disks be written, and is there room?

A file system that the kernel made read-only after an error fails: the options say so
(``errors=remount-ro`` with ``ro``, ``emergency_ro``), or it was writable earlier in this boot. A
path that does not answer is a finding of its own: a file server that is gone stops whoever looks at
it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
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
)
from probes.errors import CheckError, Skipped, ToolTimeout
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
_MOST_KEPT = 256


class Disk:
    """Room, inodes, and what became read-only."""

    def __init__(self) -> None:
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
                yield _room(context, path)


def _read_only(context: Context, mounts: list[Mount]) -> Iterator[Finding]:
    """Of the file systems on disks: network and image file systems are read-only on purpose."""
    before = context.before.get("writable") if _same_boot(context) else None
    writable = (
        {each for each in before if isinstance(each, str)} if isinstance(before, list) else set()
    )
    seen: set[str] = set()
    for mount in mounts:
        if mount.kind not in _WRITABLE or mount.device in seen:
            continue
        seen.add(mount.device)
        if not mount.read_only:
            writable.add(mount.device)
            continue
        why = _why(mount, mount.device in writable)
        if why:
            message = f"{mount.path} ({mount.kind} on {mount.source}) is read-only: {why}"
            yield Finding(
                Outcome.FAIL, message, _device(mount.path), severity="fatal", remedy="reboot"
            )
    context.keep.update(boot_id=context.boot_id, writable=sorted(writable)[:_MOST_KEPT])


def _why(mount: Mount, was_writable: bool) -> str:
    if "emergency_ro" in mount.options:
        return "the kernel stopped writing after an error (emergency_ro)"
    if was_writable:
        return "it was writable earlier in this boot"
    if "errors=remount-ro" in mount.options:
        return "mounted with errors=remount-ro, which an error does"
    return ""


def _room(context: Context, path: str) -> Finding:
    device = _device(path)
    where = context.root.rstrip("/") + path
    arguments = ("stat", "-f", "-c", "%S %b %a %c %d", "--", where)
    try:
        output = context.tool(arguments, deadline_s=_STUCK_S)
    except ToolTimeout:
        message = f"{path} does not answer within {_STUCK_S:g} s: its disk or file server is stuck"
        return Finding(Outcome.FAIL, message, device)
    found = _NUMBERS.fullmatch(output.stdout)
    if found is None or output.returncode != 0:
        said = excerpt(output.stderr or output.stdout)
        return Finding(Outcome.ERROR, f"{path}: stat ({ending(output)}): {said}", device)
    size, blocks, free, inodes, free_inodes = (int(each) for each in found.groups())
    if size * blocks == 0 or free > blocks or free_inodes > inodes:
        return Finding(Outcome.ERROR, f"{path}: {found[0].strip()} is not plausible", device)
    values = [("free", 100.0 * free / blocks, WARN_BYTES)]
    if inodes:  # some file systems have none to run out of
        values.append(("free_inodes", 100.0 * free_inodes / inodes, WARN_INODES))
    return _judge(context, path, values)


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
