"""Which nodes answer our pings? The details of check ``ping`` as Autopilot tells them.

``probes.checks.ping`` writes ``peer.N`` for each peer of an interface, the finding's device:
"node-b 10.0.0.7 loss=0 rtt_ms=0.21", or "node-b 10.0.0.7 error". Invariant: what does not read so
is no peer that answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from probes.report import Result

_PEER = re.compile(
    r"(?P<node>[A-Za-z0-9][A-Za-z0-9._-]{0,252}) (?P<address>[0-9A-Fa-f.:]{2,45})"
    r" (?:(?P<error>error)|loss=(?P<loss>[0-9.]{1,8})(?: .*)?)"
)
_KEY = re.compile(r"peer\.[0-9]{1,4}")
#: Above it a peer counts as not reached, per cent, where the result does not say its own limit.
_LOSS_PERCENT = 5.0
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class PeerPing:
    """What came back from one address of a peer. ``bad`` None: it was not measured."""

    node: str
    address: str
    interface: str
    bad: bool | None


def peers(results: Iterable[Result]) -> tuple[PeerPing, ...]:
    """All peers that were pinged. Of several addresses on one interface each has a number, as
    Autopilot has it: net1-0-0, net1-0-1."""
    found = [peer for each in results if not each.fake for peer in _peers_of(each)]
    counts = Counter((each.node, each.interface) for each in found)
    numbers: Counter[tuple[str, str]] = Counter()
    named = []
    for each in found:
        key = (each.node, each.interface)
        interface = f"{each.interface}-{numbers[key]}" if counts[key] > 1 else each.interface
        numbers[key] += 1
        named.append(replace(each, interface=interface))
    return tuple(named)


def _peers_of(result: Result) -> Iterator[PeerPing]:
    limit = _loss_limit(result)
    interface = result.device or _DEFAULT
    for key in sorted((key for key in result.detail if _KEY.fullmatch(key)), key=_number):
        match = _PEER.fullmatch(result.detail[key])
        if match is None:
            continue
        bad = None if match["error"] else _too_much(match["loss"], limit)
        yield PeerPing(match["node"], match["address"], interface, bad)


def _too_much(text: str, limit: float) -> bool | None:
    try:
        loss = float(text)
    except ValueError:
        return None
    return loss > limit if 0 <= loss <= 100 else None


def _loss_limit(result: Result) -> float:
    for each in result.measurements:
        if each.name == "loss_worst" and each.threshold is not None:
            return each.threshold.value
    return _LOSS_PERCENT


def _number(key: str) -> int:
    return int(key.removeprefix("peer."))
