"""Does each network interface of this node reach other nodes?

The controller tells peers (``NodeFacts.peers``): a few nodes, with the addresses that each has on
each interface, as Multus notes them (``k8s.v1.cni.cncf.io/network-status``). They are pinged over
the interface of the same name. An entry of this node itself says which interfaces it has to have.

A peer that does not answer accuses nobody here: it may be the peer, or what lies between. The
controller knows what others say of it (``konduktor_health/core/blame.py``), and is told each peer
in the detail. What is this node's own is a failure: an interface that is missing, or that has lost
its address or its link.

An interface passes when at least half of its peers answer well: then it works, whatever is wrong
with the others.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from parsers.printable import printable
from probes import options
from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Context,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
)
from probes.errors import CheckError, Skipped, ToolMissing
from probes.tools import interfaces
from probes.tools.ping import Pinged, parse_ping

#: Peers on one interface: as many as a finding can tell of. Rounds of pairs reach everybody.
MOST_PEERS = 12
MOST_AT_ONCE = 16  # pings that run at once
MOST_ADDRESSES = 2  # of a peer on one interface: one of each family
#: Loss above this is too much; a packet in 20 may be lost while neighbours are resolved.
LOSS_PERCENT = 5.0
_GOOD_SHARE = Threshold(50.0, Bound.AT_LEAST, "half of the peers: the interface works")
_INTERFACE = re.compile(r"[A-Za-z0-9_.@:][A-Za-z0-9_.@:-]{0,14}", re.ASCII)
#: Names for the pod network that are no interface: Autopilot's, and Multus's default network.
_DEFAULT = frozenset({"", "default", "k8s-pod-network"})

Peers = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """What came back from one address of a peer."""

    node: str
    address: str
    pinged: Pinged | None  # None: ping could not work
    error: str = ""

    @property
    def text(self) -> str:
        """As it stands in the detail: the controller reads it."""
        if self.pinged is None:
            return f"{self.node} {self.address} error"
        rtt = "" if self.pinged.rtt_ms is None else f" rtt_ms={self.pinged.rtt_ms:g}"
        return f"{self.node} {self.address} loss={self.pinged.loss_percent:g}{rtt}"


class Ping:
    """Pings peers over each interface."""

    def __init__(
        self,
        own_interfaces: Callable[[], Mapping[str, bool]] = interfaces.interfaces,
        is_own: Callable[[str], bool] = interfaces.is_own,
    ) -> None:
        self._own_interfaces = own_interfaces
        self._is_own = is_own
        self._spec = CheckSpec(
            "ping",
            "Does each network interface reach other nodes?",
            Tier.LIGHT,
            Cadence.HOURLY,
            deadline_s=90.0,
            request_options=frozenset({"peer", "addresses", "count", "interval", "loss"}),
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each interface. Options: ``count``, ``interval`` (seconds), ``loss``;
        ``peer`` and ``addresses`` ("eth0=10.0.0.7 net1=10.1.0.7") ask for one pair in place of the
        peers."""
        peers = _asked(context) or context.node.peers
        own = context.node.peers.get(context.node.name, {}) if context.node.name else {}
        by_interface = _by_interface(peers, context.node.name)
        if not by_interface and not own:
            raise Skipped("no peers are known: the controller tells them")
        limit = options.limit(
            context, "ping", "loss", LOSS_PERCENT, Bound.AT_MOST, "LOSS_PERCENT of this check"
        )
        here = self._own_interfaces()
        yield from self._own(own, here)
        ping = _Pinging(context)
        for name, targets in by_interface.items():
            if name not in _DEFAULT and name not in here:
                if name not in own:  # else it has failed above
                    yield Finding(
                        Outcome.SKIP, f"{name}: this node has no such interface", device=name
                    )
                continue
            yield _judge(name, ping.all(name, targets), limit)

    def _own(
        self, own: Mapping[str, tuple[str, ...]], here: Mapping[str, bool]
    ) -> Iterator[Finding]:
        for name, addresses in own.items():
            _check_interface(name)
            if name not in _DEFAULT and name not in here:
                yield _fails(name, f"the interface {name} is missing")
            elif not here.get(name, True):
                yield _fails(name, f"the interface {name} is down")
            else:
                for address in addresses:
                    if not self._is_own(_address(address)):
                        yield _fails(name, f"the interface {name} has lost its address {address}")


class _Pinging:
    """Pings, a bounded number at once; where some packets are lost it is measured once more."""

    def __init__(self, context: Context) -> None:
        self._tool = context.tool
        self._count = options.whole(context, "count", 20, 1, 100)
        self._interval_s = options.number(context, "interval", 0.2, 0.01, 1.0)

    def all(self, interface: str, targets: list[tuple[str, str]]) -> list[PeerSeen]:
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            return list(pool.map(lambda target: self._peer(interface, *target), targets))

    def _peer(self, interface: str, node: str, address: str) -> PeerSeen:
        try:
            pinged = self._ping(interface, address)
            if 0 < pinged.loss_percent < 100:
                pinged = self._ping(interface, address)
        except ToolMissing:
            raise
        except CheckError as error:
            return PeerSeen(node, address, None, str(error))
        return PeerSeen(node, address, pinged)

    def _ping(self, interface: str, address: str) -> Pinged:
        over = () if interface in _DEFAULT else ("-I", interface)
        how = ("-c", str(self._count), "-i", f"{self._interval_s:g}", "-W", "1")
        deadline_s = self._count * self._interval_s + 10
        output = self._tool(("ping", "-n", "-q", *how, *over, address), deadline_s=deadline_s)
        pinged = parse_ping(output)
        if pinged.sent > self._count:
            raise CheckError(f"ping: {pinged.sent} packets, and {self._count} were asked for")
        return pinged


def _judge(interface: str, seen: list[PeerSeen], limit: Threshold) -> Finding:
    answered = [each.pinged for each in seen if each.pinged is not None]
    detail = {f"peer.{number}": each.text for number, each in enumerate(seen, 1)}
    if not answered:
        error = next(each.error for each in seen)
        return Finding(Outcome.ERROR, f"{interface}: {error}", device=interface, detail=detail)
    good = [each for each in answered if each.loss_percent <= limit.value]
    share = 100.0 * len(good) / len(seen)
    worst = max(each.loss_percent for each in answered)
    measured = [
        Measurement("peers", len(seen), "count"),
        Measurement("good_peers", share, "%", _GOOD_SHARE),
        Measurement("loss_worst", worst, "%", limit),
    ]
    if times := [each.rtt_ms for each in good if each.rtt_ms is not None]:
        measured.append(Measurement("rtt_median", median(times), "ms"))
    bad = [each.text for each in seen if each.pinged is None or each.pinged not in good]
    message = f"{interface or 'pod network'}: {len(good)} of {len(seen)} peers answer well"
    if bad:
        message += "; not " + ", ".join(bad)
    outcome = Outcome.PASS if share >= _GOOD_SHARE.value else Outcome.WARN
    return Finding(outcome, message, interface, tuple(measured), detail=detail)


def _asked(context: Context) -> Peers:
    """The one peer that the options ask for."""
    peer = options.text(context, "peer")
    if not peer:
        return {}
    addresses: dict[str, tuple[str, ...]] = {}
    for pair in options.words(context, "addresses"):
        interface, separator, address = pair.partition("=")
        if not separator:
            raise CheckError(f"option addresses: {printable(pair, 64)!r} is not INTERFACE=ADDRESS")
        addresses[interface] = (*addresses.get(interface, ()), address)
    if not addresses:
        raise CheckError("option addresses: a peer without an address")
    return {printable(peer, 253).replace(" ", "_"): addresses}


def _by_interface(peers: Peers, own_name: str) -> dict[str, list[tuple[str, str]]]:
    """(node, address) of each interface, bounded; addresses are addresses, or it is refused."""
    found: dict[str, list[tuple[str, str]]] = {}
    for node, its in sorted(peers.items()):
        if node == own_name:
            continue
        for interface, addresses in its.items():
            _check_interface(interface)
            targets = found.setdefault(interface, [])
            targets += [(node, _address(each)) for each in addresses[:MOST_ADDRESSES]]
    return {interface: targets[:MOST_PEERS] for interface, targets in found.items() if targets}


def _check_interface(name: str) -> None:
    if name not in _DEFAULT and not _INTERFACE.fullmatch(name):
        raise CheckError(f"peers: {printable(name, 64)!r} is not the name of an interface")


def _address(given: str) -> str:
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        address = None
    if address is None or address.is_multicast or address.is_unspecified:
        raise CheckError(f"peers: {printable(given, 64)!r} is not the address of a host")
    return str(address)


def _fails(interface: str, message: str) -> Finding:
    return Finding(Outcome.FAIL, message, device=interface)
