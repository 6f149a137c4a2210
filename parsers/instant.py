"""When was a record printed, and were two records printed close together?

Also the bounded memory for what spans records: the least recently used entry goes first, so
that no stream, however hostile, makes it grow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

# Where lines carry no time at all (a bare file), closeness is counted in candidate records.
_ORDINAL_BOUND = 64
# Log time follows uptime with the shipper's delay; more than this apart is another boot.
_SHIPPING_S = 3600


@dataclass(slots=True)
class Instant:
    """When a record was printed, as far as it is known. Never changed once it is made."""

    time_ns: int = 0  # log time; 0 when unknown
    uptime_us: int | None = None
    boot_id: str = ""
    ordinal: int = 0  # how many records came before it

    def apart_s(self, other: Instant) -> float | None:
        """Seconds between the two, in either order; None if they cannot be compared."""
        if self.boot_id and other.boot_id and self.boot_id != other.boot_id:
            return float("inf")
        by_clock = None
        if self.time_ns and other.time_ns:
            by_clock = abs(self.time_ns - other.time_ns) / 1e9
        if self.uptime_us is None or other.uptime_us is None:
            return by_clock
        if by_clock is not None and by_clock > _SHIPPING_S:
            return by_clock
        return abs(self.uptime_us - other.uptime_us) / 1e6

    def near(self, other: Instant, seconds: float) -> bool:
        """True if at most ``seconds`` lie between them, in either order."""
        apart = self.apart_s(other)
        if apart is None:
            return abs(self.ordinal - other.ordinal) <= _ORDINAL_BOUND
        return apart <= seconds


class Recent(Generic[_K, _V]):
    """A mapping of at most ``capacity`` entries; the least recently used one is dropped."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: _K) -> bool:
        """Whether there is an entry; does not count as a use."""
        return key in self._entries

    def get(self, key: _K) -> _V | None:
        """The entry, which is then the most recently used one; None if there is none."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def values(self) -> list[_V]:
        """The entries, the least recently used one first."""
        return list(self._entries.values())

    def oldest(self) -> _V | None:
        """The least recently used entry; None if there is none."""
        return next(iter(self._entries.values()), None)

    def drop(self, key: _K) -> None:
        """Forget an entry, if there is one."""
        self._entries.pop(key, None)

    def put(self, key: _K, value: _V) -> None:
        """Store an entry, dropping the least recently used one where there is no room."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
