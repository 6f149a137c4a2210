"""What did ``iperf3 -J`` measure?

``bits_per_second`` is the unit, so nothing has to be guessed. A test has a sum for what was sent
and one for what arrived; with ``--bidir`` (iperf3 3.7) a second pair for the way back.

Invariants:
- What arrived counts, not what was sent: the difference is in buffers or lost.
- An error in the JSON is an error whatever the exit status: iperf3 3.12 exits 0 with it.
- Bytes, seconds and bits per second of a sum have to agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt, mapping, number, word

_READ = frozenset({"error", "start", "test_start", "protocol", "reverse", "end"})
_READ |= {"bits_per_second", "seconds", "bytes", "retransmits"}
_MOST_BITS_PER_SECOND = 1e13  # 10 Tb/s
_NO_WAY = ("timed out", "No route to host", "unreachable", "Host is down")


class Trouble(Enum):
    """Why there is no measurement."""

    REFUSED = "refused"  # nobody listens: the server is not there (yet)
    UNREACHABLE = "unreachable"  # nothing comes through
    BUSY = "busy"  # the server has another client
    OTHER = "error"


class Iperf3Error(CheckError):
    """iperf3 says that it could not measure."""

    def __init__(self, trouble: Trouble, said: str) -> None:
        super().__init__(f"iperf3: {said}")
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Rates:
    """What one test measured, at the client."""

    forth_bps: float | None  # client to server, as it arrived; bit/s
    back_bps: float | None  # server to client
    retransmits: int | None  # None where the sender does not tell

    @property
    def least_bps(self) -> float:
        """The slower direction."""
        return min(rate for rate in (self.forth_bps, self.back_bps) if rate is not None)


def parse_client(output: ToolOutput) -> Rates:
    """What a client measured. Raises Iperf3Error, CheckError."""
    end, reverse = _ended(output)
    sent, arrived = _sum(end, "sum_sent"), _sum(end, "sum_received")
    if "sum_received_bidir_reverse" in end:
        back = _sum(end, "sum_received_bidir_reverse")
        lost = [_retransmits(end, name) for name in ("sum_sent", "sum_sent_bidir_reverse")]
        told = [each for each in lost if each is not None]
        return Rates(arrived, back, sum(told) if told else None)
    if arrived > 0 and sent == 0:
        raise CheckError("iperf3: something arrived, and nothing was sent")
    lost_here = _retransmits(end, "sum_sent")
    return Rates(None, arrived, lost_here) if reverse else Rates(arrived, None, lost_here)


def parse_server(output: ToolOutput) -> float | None:
    """What arrived at a server from its one client, bit/s; None when nobody came (then it prints
    nothing). Raises Iperf3Error, CheckError."""
    if not output.stdout.strip() and output.returncode == 0:
        return None
    end, _ = _ended(output)
    return _sum(end, "sum_received")


def _ended(output: ToolOutput) -> tuple[Mapping[str, object], bool]:
    """The sums of a test that came to its end, and whether the server sent."""
    document = _document(output)
    if "error" in document:
        said = word(document["error"], "iperf3 error")
        raise Iperf3Error(_trouble(said), said)
    if output.returncode != 0:
        raise CheckError(f"iperf3 ({ending(output)}): {excerpt(output.stderr)}")
    start = mapping(mapping(document.get("start"), "start").get("test_start"), "test_start")
    if start.get("protocol") != "TCP":
        raise CheckError(f"iperf3: protocol {excerpt(str(start.get('protocol')))} is not TCP")
    reverse = number(start.get("reverse", 0), "reverse") == 1
    return mapping(document.get("end"), "end"), reverse


def _document(output: ToolOutput) -> Mapping[str, object]:
    try:
        return mapping(_DECODER.decode(output.stdout.strip()), "iperf3")
    except (ValueError, RecursionError):
        said = excerpt(output.stdout + output.stderr)
        raise CheckError(f"iperf3 ({ending(output)}): no JSON: {said}") from None


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """iperf3 repeats the sizes of socket buffers for each stream; what is read is there once."""
    names = [name for name, _ in pairs if name in _READ or name.startswith("sum_")]
    if len(names) != len(set(names)):
        raise ValueError("the same key twice in one object")
    return dict(pairs)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unambiguous)


def _trouble(said: str) -> Trouble:
    if "busy" in said:
        return Trouble.BUSY
    if "Connection refused" in said:
        return Trouble.REFUSED
    if any(words in said for words in _NO_WAY):
        return Trouble.UNREACHABLE
    return Trouble.OTHER


def _sum(end: Mapping[str, object], name: str) -> float:
    total = mapping(end.get(name), name)
    rate = number(total.get("bits_per_second"), f"{name} bits_per_second")
    seconds = number(total.get("seconds"), f"{name} seconds")
    size = number(total.get("bytes"), f"{name} bytes")
    if not 0 < seconds < 86_400 or rate > _MOST_BITS_PER_SECOND:
        raise CheckError(f"iperf3: {name}: {rate:g} bit/s in {seconds:g} s is not plausible")
    if not math.isclose(rate, 8 * size / seconds, rel_tol=0.05, abs_tol=1000.0):
        raise CheckError(f"iperf3: {name}: {size:g} bytes in {seconds:g} s are not {rate:g} bit/s")
    return rate


def _retransmits(end: Mapping[str, object], name: str) -> int | None:
    value = mapping(end.get(name), name).get("retransmits")
    return None if value is None else int(number(value, f"{name} retransmits"))
