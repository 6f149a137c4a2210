"""Do the InfiniBand and RoCE ports of this node work as they did, and as their like do?

A port is judged by what is asked for (options), else by what it was before, else by its siblings of
one kind: only what is asked for, or was better before, accuses. A port that was never seen active
may have no cable: it is not judged.

Numbers: down for 4 minutes is a drop (gpud); counters: ``probes.tools.rdma_counters``.
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
from probes.tools import rdma
from probes.tools.rdma import Port
from probes.tools.rdma_counters import LIMITS, PATHS, Growth

#: Down for so long is a drop: links train for a while (gpud).
DROP_S = 240.0
_FORMER = "was better before"


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
        (which there are to be; others are left alone), ``rate`` (Gb/s of each that is active),
        ``width`` (PCIe lanes)."""
        if context.backend.fake and context.root == "/":
            raise Skipped("a fake backend: this machine is not the node")
        wanted = _Wanted(
            frozenset(options.words(context, "devices")),
            options.whole(context, "ports", 0, 0, 256),
            options.number(context, "rate", 0.0, 0.0, 10_000.0),
            options.whole(context, "width", 0, 0, 32),
        )
        now_s = self._since_boot_s()
        former = _Former(context.before, context.boot_id, now_s)
        ports = _ports(context)
        if wanted.devices:
            ports = [each for each in ports if {each.device, each.name} & wanted.devices]
        elif not ports and not wanted.ports and not former.ports:
            raise Skipped("no InfiniBand or RoCE adapter on this node")
        context.keep.update(former.carried(ports, context.boot_id))
        yield from _missing(ports, wanted, former)
        for port in ports:
            yield _judge(port, ports, wanted, former)


@dataclass(frozen=True, slots=True)
class _Wanted:
    devices: frozenset[str]
    ports: int
    rate_gbps: float
    width: int


class _Former:
    """What was seen of the ports in earlier runs. Times are of one boot; what a port could do is of
    all."""

    def __init__(self, before: Mapping[str, object], boot_id: str, now_s: float) -> None:
        self.now_s = now_s
        self._same_boot = before.get("boot_id") == boot_id
        kept = before.get("ports")
        kept = kept if isinstance(kept, dict) else {}
        self.ports = {name: each for name, each in kept.items() if isinstance(each, dict)}

    def number(self, port: Port, name: str) -> float:
        """The best value of a port; 0: none is known."""
        value = self.ports.get(port.name, {}).get(name)
        return float(value) if isinstance(value, int | float) and 0 <= value < 1e6 else 0.0

    def down_s(self, port: Port) -> float:
        """For how long it has been down, as far as it is known."""
        since = self.ports.get(port.name, {}).get("down_since")
        known = self._same_boot and isinstance(since, int | float)
        return max(0.0, self.now_s - since) if known else 0.0  # type: ignore[operator]

    def growth(self, port: Port) -> Growth:
        kept = self.ports.get(port.name, {}).get("counters") if self._same_boot else None
        return Growth(kept, self.now_s)

    def carried(self, ports: list[Port], boot_id: str) -> dict[str, object]:
        """What to keep of all ports that were ever seen."""
        after = dict(self.ports)
        for port in ports:
            was_active = self.number(port, "active") > 0
            after[port.name] = {
                "active": int(port.active or was_active),
                "rate": max(
                    port.rate_gbps or 0.0 if port.active else 0.0, self.number(port, "rate")
                ),
                "width": max(port.pcie_width or 0, int(self.number(port, "width"))),
                "speed": max(port.pcie_speed or 0.0, self.number(port, "speed")),
                "down_since": None if port.active else round(self.now_s - self.down_s(port), 1),
                "counters": self.growth(port).values(port.counters),
            }
        return {"boot_id": boot_id, "ports": after}


def _ports(context: Context) -> list[Port]:
    ports = rdma.of_sysfs(context.root, PATHS)
    if ports is not None:
        return ports
    try:
        return rdma.of_ibstat(context.tool(("ibstat",), deadline_s=10.0))
    except ToolMissing:
        return []


def _missing(ports: list[Port], wanted: _Wanted, former: _Former) -> Iterator[Finding]:
    here = {port.device for port in ports} | {port.name for port in ports}
    for device in sorted((wanted.devices or set(former.ports)) - here):
        why = "asked for" if wanted.devices else "was here before"
        yield _fails(device, f"{device} is missing ({why})", "fatal")
    active = sum(port.active for port in ports)
    if active < wanted.ports:
        limit = Threshold(wanted.ports, Bound.AT_LEAST, "option infiniband.ports")
        count = Measurement("active_ports", active, "count", limit)
        message = f"{active} ports are active, {wanted.ports} are asked for"
        yield _fails("", message, "fatal", (count,))


def _judge(port: Port, ports: list[Port], wanted: _Wanted, former: _Former) -> Finding:
    detail = {"layer": port.layer, "type": port.kind, "firmware": port.firmware}
    if not port.state:
        return Finding(Outcome.ERROR, f"{port.name}: its state is not understood", port.name)
    if not port.active:
        return _down(port, former, detail)
    told: list[tuple[Outcome, str]] = []
    measured: list[Measurement] = []
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
        if outcome is not Outcome.PASS and limit is not None:
            name = what if what == "rate" else f"PCIe {what}"
            told.append((outcome, f"{name} {value:g} of {limit.value:g} {unit} ({limit.source})"))
    grown = former.growth(port).grown(port.counters)
    for counter in LIMITS:
        if counter.path in grown:
            limit = Threshold(counter.most, Bound.AT_MOST, f"within an hour: {counter.source}")
            measured.append(Measurement(counter.name, grown[counter.path], "count", limit))
            if grown[counter.path] > counter.most:
                words = f"{counter.name} grew by {grown[counter.path]} within an hour"
                told.append((counter.outcome, words))
    outcome = next(
        (o for o in (Outcome.FAIL, Outcome.ERROR, Outcome.WARN) if o in [o for o, _ in told]),
        Outcome.PASS,
    )
    words = "; ".join(text for _, text in told) or f"active, {port.rate_gbps:g} Gb/s"
    return Finding(outcome, f"{port.name}: {words}", port.name, tuple(measured), detail=detail)


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


def _down(port: Port, former: _Former, detail: dict[str, str]) -> Finding:
    seconds = former.down_s(port)
    state = f"{port.state} ({port.physical or 'physical state unknown'})"
    measured = (Measurement("down", seconds, "s", Threshold(DROP_S, Bound.AT_MOST, "gpud")),)
    if not former.number(port, "active"):
        message = f"{port.name}: {state}, and never seen active: no cable?"
        return Finding(Outcome.SKIP, message, port.name, measured, detail=detail)
    if seconds < DROP_S:
        message = f"{port.name}: {state} since {seconds:.0f} s, was active before"
        return Finding(Outcome.WARN, message, port.name, measured, detail=detail)
    message = f"{port.name}: {state} for {seconds:.0f} s, was active before"
    return _fails(port.name, message, "fatal", measured, detail)


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
