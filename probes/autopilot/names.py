"""Which of our checks answers for which of Autopilot's?

Autopilot's names are those of its parameter ``check`` (IBM/autopilot, USAGE.md). ``iperf`` and
``pvc`` are none of a single agent's: they are made by the controller.
"""

from __future__ import annotations

from collections.abc import Mapping

#: All of theirs.
CHECKS = ("dcgm", "gpumem", "gpupower", "iperf", "pciebw", "ping", "pvc", "remapped")
#: What ``check=all`` means: Autopilot's PERIODIC_CHECKS as its chart sets them.
PERIODIC = ("pciebw", "remapped", "dcgm", "ping", "gpupower")
#: DCGM's levels, the parameter ``r``.
LEVELS = ("1", "2", "3", "4")
_OURS: Mapping[str, str] = {
    "pciebw": "pcie-bandwidth",
    "remapped": "gpu-remapped-rows",
    "gpupower": "gpu-clocks",
    "gpumem": "gpu-arithmetic",
    "ping": "ping",
}


def ours(check: str, level: str = "1") -> str | None:
    """The name of our check; None: no agent answers for it alone."""
    if check == "dcgm":
        return f"dcgm-{level}" if level in LEVELS else None
    return _OURS.get(check)


def asked(text: str) -> tuple[str, ...]:
    """The checks of a parameter ``check``, each once: a list with commas; ``all``, anywhere in it,
    is the periodic ones."""
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    return PERIODIC if not names or "all" in names else names
