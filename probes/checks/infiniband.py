"""Do the InfiniBand and RoCE ports of this node work as they did, and as their like do?

A port is judged by what is asked for (options), else by what it was before, else by its siblings of
one kind: only what is asked for, or was better before, accuses. A port that was never seen active
may have no cable, or be switched off: it is not judged.

What a port is, is its PCI function (then its GUID), not its name: udev renames, and the kernel
counts anew. It is missing, which is fatal, only when the function is gone from the bus or silent
for 4 minutes, or held by no driver for 30 (a driver container builds its modules meanwhile). A
function that a pod has in its network namespace, that a virtual machine has, or that is part of a
bond, is a skip that says so. A name without an address (of older state, or of `ibstat`) that is
not there any more warns.

Down for 4 minutes and active before is fatal (a drop, gpud). Switched off is a warning: an
InfiniBand port that is `Disabled`, a RoCE port whose network interface is set down or in another
network namespace. A port that has its link and waits for the subnet manager (`INIT`, `ARMED`) is
degraded after 4 minutes: the manager may be what is wrong.

A rate, or a PCIe link, that is worse than it was fails after 4 minutes of it; meanwhile it warns.

Errors accuse when they last, in several spans of ten minutes of an hour, and are of no outage of
the link: a switch that was started anew makes all links behind it go down and count errors. A link
that went down once or twice and is up again warns; down in three spans of an hour it flaps and
fails, degraded. Limits of counters: `probes.tools.rdma_counters`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

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
from probes.errors import Skipped, ToolMissing
from probes.measuring.absent_ports import absent_findings
from probes.measuring.ports_before import PortsBefore, names_of
from probes.tools import rdma
from probes.tools.rdma import Port
from probes.tools.rdma_counters import LIMITS, PATHS, judged
from probes.tools.rdma_functions import elsewhere

#: Down, or worse than before, for so long is lasting: links train for a while (gpud).
DROP_S = 240.0
_FORMER = "was better before"
#: States of a port that has its link and awaits its subnet manager.
_AWAITING = frozenset({"INIT", "ARMED"})


def _since_boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class InfiniBand:
    """State, rate, counters and PCIe link of each port."""

    def __init__(self, since_boot_s: Callable[[], float] = _since_boot_s) -> None:
        self._since_boot_s = since_boot_s
        self._spec = CheckSpec(
            "infiniband",
            "Do the InfiniBand and RoCE ports work?",
            Tier.LIGHT,
            Cadence.LIGHT,
            deadline_s=20.0,
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each port. Options: ``ports`` (how many are to be active), ``devices``
        (which there are to be, by name or PCI address; others are left alone), ``rate`` (Gb/s of
        each that is active), ``width`` (PCIe lanes)."""
        if context.backend.fake and context.root == "/":
            raise Skipped("a fake backend: this machine is not the node")
        wanted = _Wanted(
            frozenset(options.words(context, "devices")),
            options.whole(context, "ports", 0, 0, 256),
            options.number(context, "rate", 0.0, 0.0, 10_000.0),
            options.whole(context, "width", 0, 0, 32),
        )
        everything = _ports(context)
        former = PortsBefore(context.before, context.boot_id, self._since_boot_s(), everything)
        ports = everything
        if wanted.devices:
            ports = [each for each in everything if former.names(each) & wanted.devices]
        elif not ports and not wanted.ports and not former.absent:
            raise Skipped("no InfiniBand or RoCE adapter on this node")
        seen = [_judge(port, ports, wanted, former) for port in ports]
        context.keep.update(former.kept(frozenset(each.port.name for each in seen if each.low)))
        yield from _missing(context, ports, wanted, former)
        yield from (each.finding for each in seen)


@dataclass(frozen=True, slots=True)
class _Wanted:
    devices: frozenset[str]
    ports: int
    rate_gbps: float
    width: int


@dataclass(frozen=True, slots=True)
class _Judged:
    port: Port
    finding: Finding
    low: bool = False  # worse than it was before


def _ports(context: Context) -> list[Port]:
    ports = rdma.of_sysfs(context.root, PATHS)
    if ports is not None:
        return ports
    try:
        return rdma.of_ibstat(context.tool(("ibstat",), deadline_s=10.0))
    except ToolMissing:
        return []


def _missing(
    context: Context, ports: list[Port], wanted: _Wanted, former: PortsBefore
) -> Iterator[Finding]:
    absent = tuple(
        each for each in former.absent if not wanted.devices or names_of(each) & wanted.devices
    )
    found = list(absent_findings(context.root, absent, ports, former))
    yield from found
    known = {name for port in ports for name in former.names(port)}
    known |= {name for each in absent for name in names_of(each)}
    for device in sorted(wanted.devices - known):
        yield _fails(device, f"{device} is missing (asked for, never seen)", "fatal")
    active = sum(port.active for port in ports)
    if active >= wanted.ports:
        return
    shown = {port.address for port in ports}
    away = elsewhere(context.root) - shown
    lent = sum(each.outcome is Outcome.SKIP and each.detail["pci"] not in away for each in found)
    limit = Threshold(wanted.ports, Bound.AT_LEAST, "option infiniband.ports")
    count = (Measurement("active_ports", active, "count", limit),)
    message = f"{active} ports are active, {wanted.ports} are asked for"
    if active + len(away) + lent >= wanted.ports:
        message += f"; {len(away) + lent} are with pods or virtual machines"
        yield Finding(Outcome.SKIP, message, "", count)
    else:
        yield _fails("", message, "fatal", count)


def _judge(port: Port, ports: list[Port], wanted: _Wanted, former: PortsBefore) -> _Judged:
    detail = {"layer": port.layer, "type": port.kind, "firmware": port.firmware}
    if port.address:
        detail["pci"] = port.address
    if not port.state:
        error = f"{port.name}: its state is not understood"
        return _Judged(port, Finding(Outcome.ERROR, error, port.name))
    if not port.active:
        return _Judged(port, _down(port, former, detail))
    told: list[tuple[Outcome, str]] = []
    measured: list[Measurement] = []
    low = False
    siblings = [each for each in ports if each.active and each.kind == port.kind]
    for what, unit, value, asked, like in (
        ("rate", "Gb/s", port.rate_gbps, wanted.rate_gbps, _most(siblings, "rate_gbps")),
        ("width", "lanes", port.pcie_width, wanted.width, _most(siblings, "pcie_width")),
        ("speed", "GT/s", port.pcie_speed, 0.0, _most(siblings, "pcie_speed")),
    ):
        if value is None:
            if what == "rate":
                told.append((Outcome.ERROR, "its rate is not understood"))
            continue
        outcome, limit = _against(value, asked, former.number(port, what), like)
        measured.append(Measurement(what, value, unit, limit))
        if outcome is Outcome.PASS or limit is None:
            continue
        name = what if what == "rate" else f"PCIe {what}"
        words = f"{name} {value:g} of {limit.value:g} {unit} ({limit.source})"
        if outcome is Outcome.FAIL and not asked:
            low = True
            if former.low_s(port) < DROP_S:
                outcome, words = Outcome.WARN, f"{words} since {former.low_s(port):.0f} s"
        told.append((outcome, words))
    told += _errors(port, former, measured)
    outcome = next(
        (o for o in (Outcome.FAIL, Outcome.ERROR, Outcome.WARN) if o in [o for o, _ in told]),
        Outcome.PASS,
    )
    words = "; ".join(text for _, text in told) or f"active, {port.rate_gbps:g} Gb/s"
    message = f"{port.name}: {words}"
    return _Judged(port, Finding(outcome, message, port.name, tuple(measured), detail=detail), low)


def _errors(
    port: Port, former: PortsBefore, measured: list[Measurement]
) -> Iterator[tuple[Outcome, str]]:
    grown = former.growth(port).grown(port.counters)
    for counter in LIMITS:
        if counter.path not in grown:
            continue
        its = grown[counter.path]
        limit = Threshold(counter.most, Bound.AT_MOST, f"within an hour: {counter.source}")
        measured.append(Measurement(counter.name, its.by, "count", limit))
        outcome = judged(counter, its)
        if outcome is not Outcome.PASS:
            words = f"{counter.name} grew by {its.by} within an hour"
            yield outcome, words


def _against(
    value: float, asked: float, former: float, like: float
) -> tuple[Outcome, Threshold | None]:
    """Asked for, or better before: fails. Below its like: warns; it may be meant so."""
    if asked:
        limit = Threshold(asked, Bound.AT_LEAST, "asked for")
        return Outcome.FAIL if value < asked else Outcome.PASS, limit
    if value < former:
        return Outcome.FAIL, Threshold(former, Bound.AT_LEAST, _FORMER)
    if not like:
        return Outcome.PASS, None
    limit = Threshold(like, Bound.AT_LEAST, "best of its kind on this node")
    return Outcome.WARN if value < like else Outcome.PASS, limit


def _down(port: Port, former: PortsBefore, detail: dict[str, str]) -> Finding:
    seconds = former.down_s(port)
    state = f"{port.state} ({port.physical or 'physical state unknown'})"
    measured = (Measurement("down", seconds, "s", Threshold(DROP_S, Bound.AT_MOST, "gpud")),)
    if not former.number(port, "active"):
        message = f"{port.name}: {state}, and never seen active: no cable, or switched off?"
        return Finding(Outcome.SKIP, message, port.name, measured, detail=detail)
    if why := _on_purpose(port):
        message = f"{port.name}: {state}, was active before: {why}"
        return Finding(Outcome.WARN, message, port.name, measured, detail=detail)
    if seconds < DROP_S:
        message = f"{port.name}: {state} since {seconds:.0f} s, was active before"
        return Finding(Outcome.WARN, message, port.name, measured, detail=detail)
    message = f"{port.name}: {state} for {seconds:.0f} s, was active before"
    if port.state in _AWAITING and port.physical == "LinkUp":
        message += ": it has its link, and no subnet manager brings it up"
        return _fails(port.name, message, "degraded", measured, detail)
    return _fails(port.name, message, "fatal", measured, detail)


def _on_purpose(port: Port) -> str:
    """Why a port that is down may be meant to be. A RoCE port without carrier is Disabled too."""
    if port.layer == "InfiniBand" and port.physical == "Disabled":
        return "somebody has disabled it"
    return port.set_down if port.layer == "Ethernet" else ""


def _most(ports: list[Port], name: str) -> float:
    return max((getattr(port, name) or 0.0 for port in ports), default=0.0)


def _fails(
    device: str,
    message: str,
    severity: str,
    measured: tuple[Measurement, ...] = (),
    detail: Mapping[str, str] | None = None,
) -> Finding:
    return Finding(Outcome.FAIL, message, device, measured, severity=severity, detail=detail or {})
