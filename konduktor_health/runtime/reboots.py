"""Which nodes have booted, and was somebody at them? Followed by the watch, judged a little later.

A reboot is judged ``SETTLE_S`` after it was noticed: one of many that come at once is a common
cause (a power cut, an upgrade), which is told once and writes no Node. Thread-safe: the watch
tells, the loop asks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.observation import may_be_shown
from konduktor_health.core.reboots import BootChange, attended, unexpected_reboot
from konduktor_health.model import Fault, NodeView, Policy
from konduktor_health.timestamps import NS

SETTLE_S = 120.0
MOST_WAITING = 20_000
Boots = Callable[[Iterable[str]], Mapping[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class _Noticed:
    at_s: float  # monotonic
    change: BootChange


class Reboots:
    """Boot changes that were noticed within the last minutes."""

    def __init__(self, boots: Boots, *, clock: Clock, policy: Policy) -> None:
        """``boots``: when a node's previous boot was last seen and the new one noticed
        (``Fleet.boots``); the fleet is told of a change before this is."""
        self._boots = boots
        self._clock = clock
        self._policy = policy
        self._lock = threading.Lock()
        self._attended: dict[str, tuple[str, int]] = {}  # node -> who was there last, and when
        self._waiting: deque[_Noticed] = deque(maxlen=MOST_WAITING)
        self._recent: deque[tuple[float, str]] = deque(maxlen=MOST_WAITING)
        self._mass = False

    def use(self, policy: Policy) -> None:
        """Judge by this policy from now on."""
        self._policy = policy

    def changed(self, old: NodeView | None, new: NodeView | None) -> None:
        """Callback of the feed."""
        now_ns, policy = self._clock.now_ns(), self._policy
        if new is None:
            if old is not None:
                with self._lock:
                    self._attended.pop(old.name, None)
            return
        with self._lock:
            if old is not None and old.uid == new.uid:
                who = attended(old, policy, now_ns)
                if who:
                    self._attended[new.name] = (who, now_ns)
            change = self._change(old, new, now_ns)
            if change is None:
                return
            now_s = self._clock.monotonic()
            self._waiting.append(_Noticed(now_s, change))
            if not change.attended:
                self._recent.append((now_s, change.node))

    def faults(
        self, nodes: Mapping[str, NodeView], ledger_of: Callable[[NodeView], Ledger], managed: int
    ) -> list[Fault]:
        """Reboots that nobody asked for and whose time to be judged has come."""
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        with self._lock:
            ripe: list[BootChange] = []
            while self._waiting and now_s - self._waiting[0].at_s >= SETTLE_S:
                ripe.append(self._waiting.popleft().change)
            if not ripe:
                return []
            mass = self._is_mass(now_s, managed)
        found: list[Fault] = []
        for change in ripe:
            view = nodes.get(change.node)
            late = now_ns - change.noticed_ns > self._policy.reboot_doubt_s * NS
            if view is None or late:  # seen while another replica led, which has told it
                continue
            fault = unexpected_reboot(view, ledger_of(view), change, self._policy, now_ns)
            if fault is not None:
                found.append(fault)
        if mass and found and not self._mass:
            logger.bind(nodes=len({fault.node for fault in found})).warning(
                "many nodes have booted at once: a common cause is likely, no Node is written"
            )
        self._mass = mass
        return [] if mass else found

    def _change(self, old: NodeView | None, new: NodeView, now_ns: int) -> BootChange | None:
        if old is None:
            return self._while_away(new, now_ns)
        booted = old.uid == new.uid and old.boot_id and new.boot_id and old.boot_id != new.boot_id
        if not booted:
            return None
        changed_ns, noticed_ns = self._boots([new.name]).get(new.name, (now_ns, now_ns))
        who = attended(new, self._policy, now_ns) or self._lately(new.name, now_ns)
        return BootChange(new.name, new.uid, new.boot_id, changed_ns, noticed_ns, who)

    def _while_away(self, new: NodeView, now_ns: int) -> BootChange | None:
        """A node's ledger knows the boot that it was written in. Of other nodes nobody can tell
        whether they have booted while no controller ran."""
        ledger, _ = read_ledger(new) if new.ledger is not None else (Ledger(), False)
        if not ledger.boot_id or not new.boot_id or ledger.boot_id == new.boot_id:
            return None
        who = attended(new, self._policy, now_ns)
        return BootChange(new.name, new.uid, new.boot_id, ledger.written_ns, now_ns, who)

    def _lately(self, name: str, now_ns: int) -> str:
        who, at_ns = self._attended.get(name, ("", 0))
        return who if who and now_ns - at_ns < self._policy.reboot_doubt_s * NS else ""

    def _is_mass(self, now_s: float, managed: int) -> bool:
        """As many nodes have booted within the surge window as make a surge."""
        policy = self._policy
        while self._recent and now_s - self._recent[0][0] > policy.surge_window_s:
            self._recent.popleft()
        many = max(policy.surge_min_nodes, may_be_shown(managed, policy.surge_percent))
        return policy.surge_enabled and len({name for _, name in self._recent}) >= many
