"""What must survive the controller, and when is it written? Log cursors, remembered nodes, surges.

Written to the ConfigMap at most every ``interval_s`` and on shutdown; sooner only for what seldom
changes and must not be lost (a surge begins or ends, a node is deleted with open records). A stored
cursor never passes a sighting that is not on its Node yet: a crash costs a re-read, never a fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.errors import Conflict, HealthError, LeadershipLost
from konduktor_health.ports import Cluster

VERSION = 1
MAX_REMEMBERED = 20_000
URGENT_S = 10.0  # between two writes of what is urgent
RETRY_S = 5.0  # after a failed write of what is pressing
_OWN = frozenset({"v", "floor", "sources", "managed"})  # what others keep has other names


@dataclass(frozen=True, slots=True)
class Stored:
    """What a controller finds when it starts."""

    sources: Mapping[str, Mapping[str, Any]]
    managed: frozenset[str]  # short hashes of Node UIDs
    floor_ns: int  # events before it never act
    kept: Mapping[str, Any] = field(default_factory=dict)  # what ``keep`` was given, by its key


class Part(Protocol):
    """Something else that is stored, under a name of its own. Called on the loop's thread."""

    def urgent(self) -> bool:
        """It has to be written soon."""
        ...

    def state(self) -> Any:
        """Small JSON that ``restore`` takes; empty: nothing is stored."""
        ...

    def saved(self) -> None:
        """What ``state`` gave last has been written."""
        ...

    def restore(self, state: Any) -> None:
        """Take up what was stored; damaged state counts as none."""
        ...


class Checkpoint:
    """Keeps the newest source states and writes them now and then."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        clock: Clock,
        interval_s: float,
        assert_leader: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._assert_leader = assert_leader
        self._clock = clock
        self._interval_s = interval_s
        self._sources: dict[str, Mapping[str, Any]] = {}
        self._written_at: float | None = None
        self._content: Mapping[str, Any] = {}
        self._floor_ns = 0
        self._kept: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}
        self._last: dict[str, Any] = {}  # what each part said last
        self._pressing = False

    def attach(self, name: str, part: Part) -> None:
        """Store what this part holds, under a name that is no other's (before ``load``)."""
        if name in _OWN:
            raise ValueError(f"{name} is the checkpoint's own")
        self._parts[name] = part

    def load(self, first_floor_ns: int) -> Stored:
        """What was stored. Damage counts as none; then ``first_floor_ns`` is the floor.

        Raises errors of the cluster port.
        """
        stored = self._cluster.read_state() or {}
        sources, managed, floor = (stored.get(key) for key in ("sources", "managed", "floor"))
        if isinstance(sources, Mapping):
            self._sources = {
                str(name): state for name, state in sources.items() if isinstance(state, Mapping)
            }
        # the floor of a first start lies before that of any later one
        stored_floor = floor if type(floor) is int else first_floor_ns
        self._floor_ns = min(stored_floor, first_floor_ns)
        hashes = managed if isinstance(managed, list) else []
        for name, part in self._parts.items():
            if name in stored:
                self._restore(name, part, stored[name])
        others = _OWN | self._parts.keys()
        self._kept = {str(key): stored[key] for key in stored if key not in others}
        return Stored(
            dict(self._sources), frozenset(map(str, hashes)), self._floor_ns, dict(self._kept)
        )

    def update(self, source: str, state: Mapping[str, Any]) -> None:
        """The newest state of a source whose entries have been taken."""
        self._sources[source] = state

    def keep(self, key: str, value: Any, soon: bool = False) -> None:
        """Store this JSON value too, from the next write on. ``soon``: it is not put off until
        the interval is over."""
        if key in _OWN:
            raise ValueError(f"{key} is the checkpoint's own")
        self._kept[key] = value
        if soon:
            self._written_at = None
            self._pressing = True

    def write_if_due(
        self,
        oldest_pending_ns: Callable[[], int | None],
        managed_uids: Callable[[], Iterable[str]],
    ) -> None:
        """Write once the interval is over; a failure is logged and tried again after the next.

        Both are asked only then. Raises LeadershipLost.
        """
        since = self._clock.monotonic() - (self._written_at or 0.0)
        interval_s = min(self._interval_s, RETRY_S) if self._pressing else self._interval_s
        if any(part.urgent() for part in self._parts.values()):
            interval_s = min(interval_s, URGENT_S)
        if self._written_at is not None and since < interval_s:
            return
        try:
            self.write(oldest_pending_ns(), managed_uids())
        except LeadershipLost:
            raise
        except HealthError as error:
            logger.bind(hint=error.hint).warning(f"checkpoint not written: {error}")

    def write(self, oldest_pending_ns: int | None, managed_uids: Iterable[str]) -> None:
        """Write the state. Raises LeadershipLost and errors of the cluster port."""
        hashes = sorted(short_hash(uid) for uid in managed_uids)[:MAX_REMEMBERED]
        content: dict[str, Any] = {
            **self._kept,
            "v": VERSION,
            "floor": self._floor_ns,
            "sources": {
                name: _held_back(state, oldest_pending_ns)
                for name, state in sorted(self._sources.items())
            },
            "managed": hashes,
        }
        for name, part in self._parts.items():
            if state := self._state(name, part):
                content[name] = state
        self._written_at = self._clock.monotonic()
        if content != self._content:
            self._write(content)
            self._content = content
        for part in self._parts.values():
            part.saved()
        self._pressing = False

    def _restore(self, name: str, part: Part, state: Any) -> None:
        """A part's bug must not keep a controller from starting."""
        self._last[name] = state
        try:
            part.restore(state)
        except Exception as error:
            logger.opt(exception=error).error(f"bug: stored {name} not taken up: {error!r}")

    def _state(self, name: str, part: Part) -> Any:
        """A part's bug must not keep the cursors from being stored: what it said last stays."""
        try:
            self._last[name] = part.state()
        except Exception as error:
            logger.opt(exception=error).error(f"bug: {name} stored as it was: {error!r}")
        return self._last.get(name)

    def _write(self, content: Mapping[str, Any]) -> None:
        """A conflict is somebody else's write: a person's, or that of a leader after us. Only the
        leader may write over it, so that is asked again."""
        self._assert_leader()
        try:
            self._cluster.write_state(content)
        except Conflict:
            self._assert_leader()
            self._cluster.write_state(content)


def short_hash(uid: str) -> str:
    """Eight hex digits that stand for a Node UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:8]


class RememberedUids(set[str]):
    """UIDs managed in this process, plus the hashes of those managed before it."""

    def __init__(self, hashes: Iterable[str] = ()) -> None:
        super().__init__()
        self.hashes = frozenset(hashes)

    def __contains__(self, uid: object) -> bool:
        return super().__contains__(uid) or short_hash(str(uid)) in self.hashes


def _held_back(state: Mapping[str, Any], oldest_pending_ns: int | None) -> Mapping[str, Any]:
    cursor = state.get("cursor")
    if oldest_pending_ns is None or not isinstance(cursor, int) or cursor <= oldest_pending_ns:
        return state
    return {**state, "cursor": oldest_pending_ns}
