"""What was seen of RDMA ports in earlier runs, and which port of today is which of then?

A port is known again by the PCI address of its adapter and its number; then by the node GUID, where
the bus was counted anew; by its name only where no address was kept (files of older agents,
``ibstat``). An adapter with another GUID at the same address is another card, of which nothing is
known yet. After a boot, new ports stand for as many of their kind that are not found: cards were
exchanged, or a virtual machine was given others.

Invariants: what a port could do is of all boots, times and counters are of one. What was kept is
from the disk and may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from probes.tools.rdma import Port
from probes.tools.rdma_counters import Growth

_MOST_NAMES = 4
#: Ports that are not there any more: so many are remembered.
MOST_ABSENT = 64

Record = Mapping[str, object]


class PortsBefore:
    """What earlier runs kept, compared with the ports that are there now."""

    def __init__(
        self, before: Mapping[str, object], boot_id: str, now_s: float, ports: list[Port]
    ) -> None:
        self.now_s = now_s
        self._boot_id, self._ports = boot_id, ports
        self._same_boot = before.get("boot_id") == boot_id
        kept = before.get("ports")
        records = {
            str(key): {"name": str(key), **each}
            for key, each in (kept.items() if isinstance(kept, dict) else ())
            if isinstance(each, dict)
        }
        self._of: dict[str, Record] = {}
        left = list(records.values())
        for same in (_same_address, _same_guid, _same_name):
            for port in ports:
                found = next((each for each in left if same(port, each)), None)
                if found is not None and port.name not in self._of:
                    left.remove(found)
                    self._of[port.name] = {} if _another_card(port, found) else found
        if not self._same_boot:
            for port in ports:
                stood = next((each for each in left if _same_kind(port, each)), None)
                if stood is not None and port.name not in self._of:
                    left.remove(stood)
        #: Records of ports that are not there.
        self.absent: tuple[Record, ...] = tuple(left[:MOST_ABSENT])

    def names(self, port: Port) -> frozenset[str]:
        """All that a port is called, or was."""
        return frozenset({port.device, port.name, port.address, *self._names(port)}) - {""}

    def number(self, port: Port, name: str) -> float:
        """The best value of a port; 0: none is known."""
        value = self._of.get(port.name, {}).get(name)
        return float(value) if isinstance(value, int | float) and 0 <= value < 1e6 else 0.0

    def down_s(self, port: Port) -> float:
        """For how long it has been down, as far as it is known."""
        return self._for_s(self._of.get(port.name, {}), "down_since")

    def low_s(self, port: Port) -> float:
        """For how long it has been worse than it was, as far as it is known."""
        return self._for_s(self._of.get(port.name, {}), "low_since")

    def absent_s(self, record: Record) -> float:
        """For how long a port has not been there, as far as it is known."""
        return self._for_s(record, "absent_since")

    def growth(self, port: Port) -> Growth:
        """Of its counters."""
        kept = self._of.get(port.name, {}).get("counters") if self._same_boot else None
        return Growth(kept, self.now_s)

    def kept(self, low: frozenset[str]) -> dict[str, object]:
        """What to keep of all ports that were ever seen. ``low``: names of those that are worse
        than they were."""
        after: dict[str, object] = {}
        for record in self.absent:
            since = round(self.now_s - self.absent_s(record), 1)
            after[_key_of(record)] = {
                **{k: v for k, v in record.items() if k not in ("counters", "down_since")},
                "absent_since": since,
            }
        for port in self._ports:
            was_active = self.number(port, "active") > 0
            active_rate = port.rate_gbps or 0.0 if port.active else 0.0
            record = self._of.get(port.name, {})
            address = port.address or text(record, "address")
            after[f"{address}/{port.number}" if address else port.name] = {
                "name": port.name,
                "names": self._names(port),
                "address": address,
                "guid": port.guid or text(record, "guid"),
                "number": port.number,
                "kind": port.kind,
                "active": int(port.active or was_active),
                "rate": max(active_rate, self.number(port, "rate")),
                "width": max(port.pcie_width or 0, int(self.number(port, "width"))),
                "speed": max(port.pcie_speed or 0.0, self.number(port, "speed")),
                "down_since": None if port.active else round(self.now_s - self.down_s(port), 1),
                "low_since": (
                    round(self.now_s - self.low_s(port), 1) if port.name in low else None
                ),
                "counters": self.growth(port).values(port.counters),
            }
        return {"boot_id": self._boot_id, "ports": after}

    def _names(self, port: Port) -> list[str]:
        """What it was called, the newest last."""
        record = self._of.get(port.name, {})
        before = record.get("names")
        kept = before if isinstance(before, list) else []
        known = [each for each in kept if isinstance(each, str)]
        known = [each for each in (*known, text(record, "name")) if each and each != port.name]
        return list(dict.fromkeys(known))[-_MOST_NAMES:]

    def _for_s(self, record: Record, name: str) -> float:
        since = record.get(name)
        if not self._same_boot or not isinstance(since, int | float):
            return 0.0
        return max(0.0, self.now_s - since)


def text(record: Record, name: str) -> str:
    """A word of a record; "" where there is none."""
    value = record.get(name)
    return value[:64] if isinstance(value, str) else ""


def names_of(record: Record) -> frozenset[str]:
    """All that an absent port is called, or was; its adapter's name too."""
    return frozenset(_names_of(record)) - {""}


def _names_of(record: Record) -> Iterator[str]:
    yield text(record, "address")
    others = record.get("names")
    for name in (record.get("name"), *(others if isinstance(others, list) else ())):
        if isinstance(name, str):
            yield from (name, name.partition("/")[0])


def _key_of(record: Record) -> str:
    address = text(record, "address")
    return f"{address}/{_number(record)}" if address else text(record, "name")


def _number(record: Record) -> int:
    number = record.get("number")
    if isinstance(number, int):
        return number
    _, slash, last = text(record, "name").partition("/")
    return int(last) if slash and last.isascii() and last.isdigit() else 1


def _same_address(port: Port, record: Record) -> bool:
    return bool(port.address) and (port.address, port.number) == (
        text(record, "address"),
        _number(record),
    )


def _same_guid(port: Port, record: Record) -> bool:
    return bool(port.guid) and (port.guid, port.number) == (text(record, "guid"), _number(record))


def _same_name(port: Port, record: Record) -> bool:
    """Only where one of the two has no address: names are handed out anew."""
    known = port.address and text(record, "address")
    return not known and port.name == text(record, "name")


def _same_kind(port: Port, record: Record) -> bool:
    return text(record, "kind") in ("", port.kind)


def _another_card(port: Port, record: Record) -> bool:
    guid = text(record, "guid")
    return bool(guid and port.guid and guid != port.guid)
