"""What does ``chronyc -n tracking`` say?

Invariant: an offset has its unit and its sign in words ("0.000031625 seconds slow of NTP time"), or
the output is refused; "506 Cannot talk to daemon" means that there is no chronyd here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.check import ToolOutput
from probes.errors import CheckError, Skipped
from probes.tools.reading import ending, excerpt, number

_LINE = re.compile(r"^([A-Za-z()% ]{1,32}?) *: (.{0,128})$", re.MULTILINE)
_OFFSET = re.compile(r"([0-9]{1,10}\.[0-9]{1,12}) seconds (slow|fast) of NTP time")
_SECONDS = re.compile(r"([0-9]{1,10}\.[0-9]{1,12}) seconds")
_LEAPS = frozenset({"Normal", "Insert second", "Delete second"})
_UNSYNCHRONISED = "Not synchronised"


@dataclass(frozen=True, slots=True)
class Tracking:
    """How the clock stands."""

    synchronised: bool
    offset_s: float  # fast is positive
    most_error_s: float  # offset, root dispersion and half the root delay together (chronyc(1))
    source: str


def parse_tracking(output: ToolOutput) -> Tracking:
    """What chronyd knows. Raises Skipped when there is no chronyd, CheckError."""
    if "506 Cannot talk to daemon" in output.stdout + output.stderr:
        raise Skipped("chronyd does not run")
    told = dict(_LINE.findall(output.stdout))
    offset = _OFFSET.fullmatch(told.get("System time", "").strip())  # some versions pad it
    delay = _SECONDS.fullmatch(told.get("Root delay", ""))
    dispersion = _SECONDS.fullmatch(told.get("Root dispersion", ""))
    leap = told.get("Leap status", "")
    if output.returncode != 0 or not (offset and delay and dispersion):
        said = excerpt(output.stdout + output.stderr)
        raise CheckError(f"chronyc ({ending(output)}): {said}")
    if leap not in _LEAPS and leap != _UNSYNCHRONISED:
        raise CheckError(f"chronyc: leap status {excerpt(leap)} is not known")
    seconds = number(offset[1], "system time") * (1 if offset[2] == "fast" else -1)
    most = abs(seconds) + number(dispersion[1], "dispersion") + number(delay[1], "delay") / 2
    return Tracking(leap in _LEAPS, seconds, most, told.get("Reference ID", "")[:64])
