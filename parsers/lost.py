"""Which GPU has fallen off the bus, when the driver prints no Xid for it?

Two forms: one line that names the GPU, and one message of three lines that a pipeline delivers
as three records (the GPU; "installed in this system has"; "fallen off the bus ..."). The
records are joined per node, nearest in time first; they may arrive in any order, with other
records and other nodes in between, at most ``JOIN_S`` seconds apart. An end whose beginning
was never seen is told with severity unknown and no device: visible, never acting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from parsers.device import PciAddress, normalise
from parsers.fault import TEXT_LIMIT, Fault, Remedy, Severity
from parsers.instant import Instant, Recent

#: Longest time between two successive records of one message, in seconds.
JOIN_S = 30.0
FAULT_ID = "kernel/gpu-lost"
_PENDING = 16  # GPUs of one node that can be half told at the same time

_ADDRESS = r"(?:PCI:)?([0-9a-fA-F:.]{4,20})"
_ONE_LINE = re.compile(rf"(?:NVRM: )?GPU (?:at )?{_ADDRESS}: GPU has fallen off the bus")
_FIRST = re.compile(rf"(?:NVRM: )?The NVIDIA GPU {_ADDRESS}(?![0-9a-zA-Z:.])")
# Between the beginning and the end of one message, in whatever way its line ends arrived.
_FILLER = re.compile(
    r"(?:[ \t\ufffd]{1,8}|\\n|NVRM:|\(PCI ID: [0-9a-fA-F:]{1,16}\)"
    r"|installed in this system has){0,24}"
)
_SECOND = re.compile(
    r"(?:NVRM: )?(?:\(PCI ID: [0-9a-fA-F:]{1,16}\) ?)?installed in this system has"
)
_THIRD = re.compile(r"(?:NVRM: )?fallen off the bus and is not responding to commands")
_TAIL = "fallen off the bus and is not responding to commands"


@dataclass(slots=True)
class _Begun:
    """A GPU that the first record named; ``last`` is its latest record."""

    address: PciAddress
    text: str
    last: Instant
    installed: bool = False


@dataclass(slots=True)
class _NodeState:
    begun: list[_Begun] = field(default_factory=list)
    ends: list[tuple[str, Instant]] = field(default_factory=list)  # ends without a beginning


class LostGpus:
    """Joins the records of many nodes; remembers at most ``nodes`` of them."""

    def __init__(self, nodes: int = 4096) -> None:
        self._nodes: Recent[tuple[str, bool], _NodeState] = Recent(nodes)

    def feed(self, text: str, node: str, at: Instant, *, injected: bool) -> Fault | None:
        """The Fault that this record completes, or None. Injected records join only injected
        ones, so that a program can neither begin nor end the kernel's message."""
        if one_line := _ONE_LINE.match(text):
            return _lost(normalise(one_line[1]), text)
        if first := _FIRST.match(text):
            return self._first(first, text, (node, injected), at)
        kept = text[:TEXT_LIMIT]  # what is remembered of it
        if second := _SECOND.match(text):
            rest = _FILLER.match(text, second.end())
            if rest and text.startswith(_TAIL, rest.end()):
                return self._end(kept, (node, injected), at)
            self._second(kept, (node, injected), at)
        elif _THIRD.match(text):
            return self._end(kept, (node, injected), at)
        return None

    def _first(
        self, first: re.Match[str], text: str, key: tuple[str, bool], at: Instant
    ) -> Fault | None:
        address = normalise(first[1].rstrip("."))
        if address is None:
            return None
        filler = _FILLER.match(text, first.end())
        rest = filler.end() if filler else first.end()
        if text.startswith(_TAIL, rest):
            return _lost(address, text)
        if rest < len(text):
            return None  # the driver says something else about this GPU
        state = self._state(key)
        state.ends = [end for end in state.ends if end[1].near(at, JOIN_S)]
        if state.ends:
            end_text, _ = state.ends.pop(0)
            return _lost(address, f"{text} | {end_text}")
        state.begun = [one for one in state.begun if one.last.near(at, JOIN_S)][1 - _PENDING :]
        state.begun.append(_Begun(address, text, at))
        return None

    def _second(self, text: str, key: tuple[str, bool], at: Instant) -> None:
        state = self._nodes.get(key)
        waiting = [one for one in state.begun if not one.installed] if state else []
        if (nearest := _nearest(waiting, at)) is not None:
            nearest.installed, nearest.last = True, at
            nearest.text = f"{nearest.text} | {text}"

    def _end(self, text: str, key: tuple[str, bool], at: Instant) -> Fault:
        state = self._state(key)
        complete = [one for one in state.begun if one.installed]
        nearest = _nearest(complete, at) or _nearest(state.begun, at)
        if nearest is not None:
            state.begun.remove(nearest)
            return _lost(nearest.address, f"{nearest.text} | {text}")
        state.ends = [*state.ends[1 - _PENDING :], (text, at)]
        return _lost(None, text)

    def _state(self, key: tuple[str, bool]) -> _NodeState:
        state = self._nodes.get(key)
        if state is None:
            state = _NodeState()
            self._nodes.put(key, state)
        return state


def _nearest(candidates: list[_Begun], at: Instant) -> _Begun | None:
    """The candidate nearest in time within the bound; the oldest of equals."""
    near = [one for one in candidates if one.last.near(at, JOIN_S)]
    return min(near, key=lambda one: one.last.apart_s(at) or 0.0, default=None)


def _lost(address: PciAddress | None, text: str) -> Fault:
    if address is None:
        return Fault(FAULT_ID, Severity.UNKNOWN, Remedy.NONE, text=text)
    detail = {"function": address.function} if address.function else {}
    return Fault(
        FAULT_ID, Severity.FATAL, Remedy.REBOOT, device=address.device, text=text, detail=detail
    )
