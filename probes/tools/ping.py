"""What did ``ping -q`` (iputils) say? How many answers came, and how fast.

Invariants: loss is counted from the packets, and has to agree with what is printed; answers without
their times, more answers than packets, or two summaries are refused. That a host does not answer is
a result; that ping could not work is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt, number

_SUMMARY = re.compile(
    r"^([0-9]{1,9}) packets transmitted, ([0-9]{1,9}) received,"
    r"(?: \+[0-9]{1,9} (?:duplicates|corrupted|errors),)*"
    r" ([0-9]{1,3}(?:\.[0-9]{1,9})?)% packet loss, time [0-9]{1,12}ms$",
    re.MULTILINE | re.ASCII,
)
_TIMES = re.compile(
    r"^rtt min/avg/max/mdev = ([0-9.]{1,16})/([0-9.]{1,16})/([0-9.]{1,16})/[0-9.]{1,16} ms"
    r"(?:, pipe [0-9]{1,9})?(?:, ipg/ewma \S{1,40} ms)?$",
    re.MULTILINE | re.ASCII,
)
#: The kernel refuses to send: no way to the host. A result, as if nothing had come back.
_NO_WAY = re.compile(r"(Network is unreachable|No route to host|Address unreachable)")


@dataclass(frozen=True, slots=True)
class Pinged:
    """What came back from one address."""

    sent: int
    received: int
    rtt_ms: float | None = None  # average; None without an answer
    reason: str = ""  # why nothing was sent

    @property
    def loss_percent(self) -> float:
        """Packets without an answer; 100 where none could be sent."""
        return 100.0 if self.sent == 0 else 100.0 * (self.sent - self.received) / self.sent


def parse_ping(output: ToolOutput) -> Pinged:
    """What a run of ``ping -q -n`` measured. Raises CheckError."""
    found = _SUMMARY.findall(output.stdout)
    if not found:
        if output.returncode == 2 and (no_way := _NO_WAY.search(output.stderr)):
            return Pinged(0, 0, reason=no_way[1])
        raise CheckError(f"ping ({ending(output)}): {excerpt(output.stdout + output.stderr)}")
    if len(found) > 1:
        raise CheckError("ping: several summaries in one output")
    sent, received = int(found[0][0]), int(found[0][1])
    if not 0 < sent <= 100_000 or received > sent:
        raise CheckError(f"ping: {received} answers to {sent} packets")
    pinged = Pinged(sent, received, _average(output.stdout) if received else None)
    if abs(pinged.loss_percent - number(found[0][2], "packet loss")) > 1.0:
        raise CheckError(f"ping: {received} of {sent} received, and {found[0][2]} % loss")
    # 0: answers came; 1: none came. All else contradicts a summary.
    if output.returncode != (0 if received else 1):
        raise CheckError(f"ping ({ending(output)}): {received} of {sent} received")
    return pinged


def _average(text: str) -> float:
    found = _TIMES.findall(text)
    if len(found) != 1:
        raise CheckError(f"ping: answers, and no times: {excerpt(text)}")
    least, average, most = (number(each, "rtt") for each in found[0])
    if not least <= average <= most:
        raise CheckError(f"ping: rtt {'/'.join(found[0])} is out of order")
    return average
