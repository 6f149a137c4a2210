"""Does this machine run on a battery at times? Then it is a laptop, and slows its GPU by design.

``/sys/class/power_supply`` (Documentation/ABI/testing/sysfs-class-power): a battery of the machine
has the type "Battery", and no scope or the scope "System"; that of a mouse has "Device".
"""

from __future__ import annotations

from pathlib import Path

from probes.tools.node_files import line, names

_SUPPLIES = "sys/class/power_supply"


def has_battery(root: str) -> bool:
    """Whether it has a battery of its own; no where that cannot be read."""
    folder = Path(root, _SUPPLIES)
    return any(
        line(folder / name / "type") == "Battery" and line(folder / name / "scope") != "Device"
        for name in names(folder)
    )
