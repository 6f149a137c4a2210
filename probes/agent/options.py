"""What can be chosen for an agent? docs/reference/cli.md has the options that these come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.agent.history import MOST_AGE_S, MOST_BYTES
from probes.report import PORT

#: Seconds between two runs, by cadence; 0 is never. Boot checks go by the boot.
INTERVALS: Mapping[str, float] = {"light": 60.0, "hourly": 3600.0, "invasive": 4 * 3600.0}
#: How far the controller's clock and this node's may be apart, usually.
CLOCK_SKEW_S = 30.0
STATE = "/var/lib/konduktor-probe"
KEYS = "/etc/konduktor-probe/keys"


@dataclass(frozen=True, slots=True)
class Options:
    """All of it."""

    node: str
    host: str = ""  # every address
    port: int = PORT
    state: str = STATE
    delivered: str = f"{STATE}/delivered"
    delivered_by: int = 0  # user id whose files count
    keys: str = KEYS
    clock_skew_s: float = CLOCK_SKEW_S
    root: str = "/"
    kmsg: str = "/dev/kmsg"  # "": records are not attested
    intervals: Mapping[str, float] = field(default_factory=lambda: INTERVALS)
    boot_checks: bool = True
    check_options: Mapping[str, str] = field(default_factory=dict)  # "ping.count": "3"
    history_bytes: int = MOST_BYTES
    history_age_s: float = MOST_AGE_S
    compat_autopilot: bool = False  # the gauge
    autopilot_host: str = ""
    autopilot_port: int | None = None  # None: Autopilot's paths are not served
    autopilot_starts: bool = False  # who asks there may have light checks run
    version: str = "unknown"
