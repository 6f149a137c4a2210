"""In which boot, and under which load of the driver, does the agent run?

A driver that was unloaded and loaded again is like a boot to the GPUs. What tells one load from the
next is the inode number of the module's directory in sysfs: kernfs hands numbers out in turn, and
an entry keeps its own as long as it is there (fs/kernfs/dir.c, ``__kernfs_new_node``). Its mtime is
of no use: kernfs makes it up each time that the inode is read in again (fs/kernfs/inode.c).
"""

from __future__ import annotations

import os
import re

from parsers.printable import printable
from probes.errors import ProbeError

_BOOT_ID = "proc/sys/kernel/random/boot_id"
_MODULE = "sys/module/nvidia"
_VERSION = "sys/module/nvidia/version"


class BootIdError(ProbeError):
    """The kernel does not tell its boot id."""


def boot_id(root: str) -> str:
    """32 lower-case hex digits. Raises BootIdError."""
    path = os.path.join(root, _BOOT_ID)
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(100).strip()
    except OSError as error:
        raise BootIdError(f"cannot read {path}: {error.strerror}") from error
    value = text.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise BootIdError(f"{path} holds no boot id: {printable(text, 60)!r}")
    return value


def driver_load(root: str) -> str:
    """What is the same as long as the NVIDIA driver stays loaded; "" while it is not loaded."""
    try:
        number = os.stat(os.path.join(root, _MODULE)).st_ino
    except OSError:
        return ""
    try:
        with open(os.path.join(root, _VERSION), encoding="ascii", errors="replace") as file:
            version = printable(file.read(64), 64)
    except OSError:
        version = ""
    return f"{version} {number}"
