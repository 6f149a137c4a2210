"""What can go wrong in the node part? The whole tree."""

from __future__ import annotations


class ProbeError(Exception):
    """The root of what the node part raises."""


class CheckError(ProbeError):
    """The measuring failed: an ``error`` with this text, and a hint where there is one."""


class Skipped(ProbeError):
    """There is a reason not to measure: a ``skip`` with this text."""


class ToolMissing(CheckError):
    """The program is not on this node."""


class ToolTimeout(CheckError):
    """The program did not end in time; its process group was killed."""


class BackendError(CheckError):
    """The driver or its library answered with an error. ``code`` is its own number for it."""

    def __init__(self, text: str = "", code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class BackendMissing(BackendError):
    """There is no driver, or no library that fits it. On a GPU node that is a fault, not a skip."""


class DriverMismatch(BackendMissing):
    """Library and kernel module are of different versions: the driver was changed while loaded."""


class BackendTimeout(BackendError):
    """The driver did not answer in its own time: it may be wedged."""


class NoPermission(BackendError):
    """The driver, or the kernel, does not tell this user."""


class GpuLost(BackendError):
    """The driver says that this GPU is gone (fallen off the bus) or needs a reset."""


class SettingError(ProbeError):
    """What a person has set cannot be: the text says where, what, and what would be right."""
