"""Does the node itself have the driver's library, and of which version? By its files.

A container gets the library when it starts, and keeps it: an agent that started before the driver
was there has none, and one that runs on while the driver is exchanged has the old one. Neither is a
fault of the node.
"""

from __future__ import annotations

import re
from pathlib import Path

from probes.tools.node_files import names

_LIBRARY = re.compile(r"libnvidia-ml\.so\.([0-9]{3,4}(?:\.[0-9]{1,4}){1,2})", re.ASCII)
#: Below the node's root, and below that of a driver container (GPU operator).
_ROOTS = ("", "run/nvidia/driver")
_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "home/kubernetes/bin/nvidia/lib64",  # GKE
    "opt/nvidia/lib64",
)


def library_versions(root: str) -> frozenset[str]:
    """Versions of libnvidia-ml that lie on the node; none where nothing is found."""
    found = (
        _LIBRARY.fullmatch(name)
        for base in _ROOTS
        for folder in _FOLDERS
        for name in names(Path(root, base, folder))
    )
    return frozenset(each[1] for each in found if each is not None)
