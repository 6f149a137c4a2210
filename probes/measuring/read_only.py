"""Why is a file system read-only: by an error, or because somebody wants it so?

The kernel's own word counts (``emergency_ro``; errors that ext4 has counted in this boot), and what
was seen: a mount that could be written earlier in this boot. The option ``errors=remount-ro`` says
only what an error would do. What has been read-only since it was first seen is at most a warning,
and none where that is meant: its block device is read-only (an image, dm-verity), or /etc/fstab
says ``ro``.

A mount is known again by its number, device and path together: device numbers are given to the next
volume. Volumes of pods are their pods' matter: they warn.

Invariant: what cannot be read accuses nobody.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from probes.check import Outcome
from probes.tools.mounts import Mount
from probes.tools.node_files import boot_time, count, line, read

#: Marks of one device that are kept: the oldest mounts stay longest.
_MOST_MARKS = 3
_VOLUMES = ("/pods/", "/plugins/")
_KUBELET = ("/kubelet/", "/k0s/", "/microk8s/")
_FSTAB_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """What a file system that is read-only means."""

    outcome: Outcome  # fail, warn; pass: it is meant so
    why: str = ""


def why_read_only(
    root: str, mounts: list[Mount], was_writable: bool, fstab: Mapping[str, bool]
) -> ReadOnly:
    """Of the mounts of one file system. ``fstab``: path to whether it is to be read-only."""
    mount = mounts[0]
    told = ReadOnly(Outcome.FAIL)
    if "emergency_ro" in mount.options:
        told = ReadOnly(Outcome.FAIL, "the kernel stopped writing after an error (emergency_ro)")
    elif errors := _errors_of_this_boot(root, mount):
        told = ReadOnly(
            Outcome.FAIL, f"the kernel has counted {errors} errors, the last in this boot"
        )
    else:
        meant = [fstab[each.path] for each in mounts if each.path in fstab]
        if any(meant):
            return ReadOnly(Outcome.PASS, "/etc/fstab says ro")
        if was_writable:
            told = ReadOnly(Outcome.FAIL, "it was writable earlier in this boot")
        elif meant:
            return ReadOnly(Outcome.WARN, "/etc/fstab says rw; it was so when it was first seen")
        elif _block_is_read_only(root, mount):
            return ReadOnly(Outcome.PASS, "its device is read-only")
        elif "errors=remount-ro" in mount.options:
            return ReadOnly(
                Outcome.WARN, "it was so when it was first seen, and would be after an error"
            )
        else:
            return ReadOnly(Outcome.PASS)
    if all(_is_volume(each.path) for each in mounts):
        return ReadOnly(Outcome.WARN, f"a volume of a pod: {told.why}")
    return told


def marks(mounts: Iterable[Mount]) -> list[str]:
    """What the mounts of a file system are known by, short; the oldest of them."""
    oldest = sorted(mounts, key=lambda mount: mount.number)[:_MOST_MARKS]
    return [
        hashlib.sha256(f"{each.number} {each.device} {each.path}".encode()).hexdigest()[:16]
        for each in oldest
    ]


def of_fstab(root: str) -> dict[str, bool]:
    """Which paths /etc/fstab names, and whether it wants them read-only; nothing where it cannot
    be read."""
    wanted: dict[str, bool] = {}
    for text in (read(Path(root, "etc/fstab"), _FSTAB_BYTES) or "").splitlines():
        words = text.split()
        if len(words) >= 4 and not words[0].startswith("#"):
            wanted[words[1].replace("\\040", " ")] = "ro" in words[3].split(",")
    return wanted


def _errors_of_this_boot(root: str, mount: Mount) -> int:
    """ext4 keeps its count over boots, until e2fsck clears it: older ones are no news."""
    if mount.kind not in ("ext2", "ext3", "ext4"):
        return 0
    folder = Path(root, "sys/fs/ext4", _block_name(root, mount))
    errors, last = count(folder / "errors_count"), count(folder / "last_error_time")
    booted = boot_time(root)
    if not errors or last is None or booted is None or last < booted:
        return 0
    return errors


def _block_name(root: str, mount: Mount) -> str:
    """The kernel's name of a device: "nvme0n1p2", "dm-0"."""
    try:
        return os.path.basename(os.readlink(Path(root, "sys/dev/block", mount.device)))
    except OSError:
        return os.path.basename(mount.source)


def _block_is_read_only(root: str, mount: Mount) -> bool:
    return line(Path(root, "sys/dev/block", mount.device, "ro")) == "1"


def _is_volume(path: str) -> bool:
    return any(each in path for each in _KUBELET) and any(each in path for each in _VOLUMES)
