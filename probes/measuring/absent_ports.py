"""What does it mean that an RDMA port is not there any more? By what its PCI function says.

Only a function that is gone from the bus, does not answer on it, or that no driver holds, accuses,
and only when it lasts: a firmware update takes a card from the bus for a while
(``mlxfwreset``), a driver container compiles for minutes. A port that is in a pod's network
namespace, in a virtual machine, or part of a bond, is in order; one of which nothing more is known
than a name is told as a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.check import Bound, Finding, Measurement, Outcome, Threshold
from probes.measuring.ports_before import PortsBefore, Record, text
from probes.tools.rdma import Port
from probes.tools.rdma_functions import Whereabouts, whereabouts

#: Gone or silent for so long is lost: as a port that is down (gpud).
GONE_S = 240.0
#: Without a driver for so long is a fault: a driver container builds its modules in the meantime.
UNBOUND_S = 1800.0
_LIMITS = {
    Whereabouts.GONE: (GONE_S, "is gone from the PCI bus"),
    Whereabouts.SILENT: (GONE_S, "does not answer on the PCI bus"),
    Whereabouts.UNBOUND: (UNBOUND_S, "is held by no driver"),
}
_IN_ORDER = {
    Whereabouts.LENT: "is given to a virtual machine",
    Whereabouts.ELSEWHERE: "is in another network namespace: a pod has it",
}


def absent_findings(
    root: str, records: tuple[Record, ...], ports: list[Port], former: PortsBefore
) -> Iterator[Finding]:
    """One finding for each port that is not there and was."""
    taken = {port.name for port in ports} | {port.device for port in ports}
    for record in records:
        address, name = text(record, "address"), text(record, "name")
        where = whereabouts(root, address)
        device = address if name in taken and address else name
        yield _judge(device, name, address, where, former.absent_s(record), ports)


def _judge(
    device: str, name: str, address: str, where: Whereabouts, absent_s: float, ports: list[Port]
) -> Finding:
    detail = {"pci": address, "where": where.value}
    subject = f"{name} (PCI {address})" if address else name
    if where in _IN_ORDER:
        return Finding(Outcome.SKIP, f"{subject} {_IN_ORDER[where]}", device, detail=detail)
    if where in _LIMITS:
        most_s, words = _LIMITS[where]
        limit = Threshold(
            most_s, Bound.AT_MOST, "of this check: what takes a card away for a while"
        )
        measured = (Measurement("absent", absent_s, "s", limit),)
        if absent_s < most_s:
            message = f"{subject} is missing since {absent_s:.0f} s: it {words}"
            return Finding(Outcome.WARN, message, device, measured, detail=detail)
        message = f"{subject} is missing (was here before): it {words} for {absent_s:.0f} s"
        return Finding(Outcome.FAIL, message, device, measured, severity="fatal", detail=detail)
    if where is Whereabouts.UNREGISTERED and (bond := _bond(address, ports)):
        message = f"{subject} is part of {bond}"
        return Finding(Outcome.SKIP, message, device, detail=detail)
    why = (
        "its driver holds it, and offers no RDMA: switched off, or failed (the kernel's log tells)"
        if where is Whereabouts.UNREGISTERED
        else "renamed, in a pod or gone: its PCI address was never seen, so nobody is accused"
    )
    return Finding(Outcome.WARN, f"{subject} is not there any more: {why}", device, detail=detail)


def _bond(address: str, ports: list[Port]) -> str:
    """The adapter that stands for the functions of a card that are bonded (RoCE LAG): it is called
    ``mlx5_bond_0``, and is of another function of the same card."""
    card = address.rpartition(".")[0]
    return next(
        (
            each.device
            for each in ports
            if "bond" in each.device and each.address.rpartition(".")[0] == card
        ),
        "",
    )
