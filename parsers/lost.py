"""Which GPU has fallen off the bus, when the driver prints no Xid for it?

Two forms: one line that names the GPU, and one message of three lines that a pipeline delivers
as three records (the GPU; "installed in this system has"; "fallen off the bus ..."). The
records are joined per node, nearest in time first; they may arrive in any order, with other
records and other nodes in between, at most ``JOIN_S`` seconds apart. An end without the other two
is told with severity unknown and no device: visible, never acting.

Never another GPU: all three records are needed, and none may have been printed before the first.
The driver begins a message about a GPU that it does not support in the same words; what follows
there ("installed in this system is not supported") takes that GPU out again.
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
_OTHERWISE = re.compile(
    r"(?:NVRM: )?(?:\(PCI ID: [0-9a-fA-F:]{1,16}\) ?)?installed in this system (?!has)"
)
_HAS = "installed in this system has"
_TAIL = "fallen off the bus and is not responding to commands"


@dataclass(slots=True)
class _Begun:
    """A GPU that the first record named; ``last`` is its latest record."""

    address: PciAddress
    text: str
    first: Instant
    last: Instant
    installed: bool  # the second record was seen


@dataclass(slots=True)
class _NodeState:
    begun: list[_Begun] = field(default_factory=list)
    # records of which the first was not seen yet
    middles: list[tuple[str, Instant]] = field(default_factory=list)
    ends: list[tuple[str, Instant]] = field(default_factory=list)


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
                return self._rest(kept, (node, injected), at)
            return self._second(kept, (node, injected), at)
        if _OTHERWISE.match(text):
            self._forget((node, injected), at)
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
        gpu = _Begun(address, text, at, at, _HAS in text[first.end() :])
        if not gpu.installed and (middle := _take(state.middles, gpu, at)):
            gpu.installed, gpu.text = True, f"{text} | {middle}"
        state.begun = [one for one in state.begun if one.last.near(at, JOIN_S)][1 - _PENDING :]
        state.begun.append(gpu)
        return _ended(state, gpu, at)

    def _second(self, text: str, key: tuple[str, bool], at: Instant) -> Fault | None:
        state = self._state(key)
        waiting = [one for one in state.begun if not one.installed]
        gpu = _nearest(waiting, at)
        if gpu is None:
            state.middles = [*state.middles[1 - _PENDING :], (text, at)]
            return None
        gpu.installed, gpu.last = True, at
        gpu.text = f"{gpu.text} | {text}"
        return _ended(state, gpu, at)

    def _end(self, text: str, key: tuple[str, bool], at: Instant) -> Fault:
        state = self._state(key)
        gpu = _nearest([one for one in state.begun if one.installed], at)
        if gpu is not None:
            state.begun.remove(gpu)
            return _lost(gpu.address, f"{gpu.text} | {text}")
        state.ends = [*state.ends[1 - _PENDING :], (text, at)]
        return _lost(None, text)

    def _rest(self, text: str, key: tuple[str, bool], at: Instant) -> Fault:
        """The second and the third record in one."""
        return self._second(text, key, at) or self._end(text, key, at)

    def _forget(self, key: tuple[str, bool], at: Instant) -> None:
        """The driver says something else about the GPU that it has just named."""
        state = self._nodes.get(key)
        if state is not None and (gpu := _nearest(state.begun[::-1], at)) is not None:
            state.begun.remove(gpu)

    def _state(self, key: tuple[str, bool]) -> _NodeState:
        state = self._nodes.get(key)
        if state is None:
            state = _NodeState()
            self._nodes.put(key, state)
        return state


def _ended(state: _NodeState, gpu: _Begun, at: Instant) -> Fault | None:
    """The Fault, if the end of this GPU's message came before what has just been read."""
    if not gpu.installed or (end := _take(state.ends, gpu, at)) is None:
        return None
    state.begun.remove(gpu)
    return _lost(gpu.address, f"{gpu.text} | {end}")


def _take(pending: list[tuple[str, Instant]], gpu: _Begun, at: Instant) -> str | None:
    """Take out the oldest record that may belong to this GPU's message."""
    pending[:] = [each for each in pending if each[1].near(at, JOIN_S)]
    for number, (text, printed) in enumerate(pending):
        if not _earlier(printed, gpu.first):
            del pending[number]
            return text
    return None


def _earlier(one: Instant, other: Instant) -> bool:
    """Was it printed before? By uptime, else by log time, else by the order of reading."""
    if one.uptime_us is not None and other.uptime_us is not None:
        return one.uptime_us < other.uptime_us
    if one.time_ns and other.time_ns:
        return one.time_ns < other.time_ns
    return one.ordinal < other.ordinal


def _nearest(candidates: list[_Begun], at: Instant) -> _Begun | None:
    """The candidate nearest in time within the bound; the first of equals."""
    near = [one for one in candidates if one.last.near(at, JOIN_S)]
    return min(near, key=lambda one: one.last.apart_s(at) or 0.0, default=None)


def _lost(address: PciAddress | None, text: str) -> Fault:
    if address is None:
        return Fault(FAULT_ID, Severity.UNKNOWN, Remedy.NONE, text=text)
    detail = {"function": address.function} if address.function else {}
    return Fault(
        FAULT_ID, Severity.FATAL, Remedy.REBOOT, device=address.device, text=text, detail=detail
    )
