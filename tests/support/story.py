"""A World in which time passes: nodes say that they live, boot, are proven by probes, and
controllers take over from each other as they do when they start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.ledger import Ledger
from konduktor_health.model import ProbeResult, ProbeStatus, Snapshot
from konduktor_health.ports import Gap, LogEntry, Poll, SourceStatus
from konduktor_health.runtime.sources import Delivery
from konduktor_health.timestamps import NS
from parsers.record import LogRecord, unwrap
from tests.support.world import LOST, World

GPU = "0000:3b:00"
GPUS = (GPU, "0000:86:00")
LOOKBACK_S = 900.0  # reading.first_lookback
NODE_WRITES = ("edit", "condition")


def xid(code: int, device: str = GPU, *, pid: int = 1) -> str:
    """A line of the driver."""
    return f"NVRM: Xid (PCI:{device}): {code}, pid={pid}, name=x, text"


class Story(World):
    """Uses the real policy's defaults unless rules are given."""

    def __init__(self, nodes: int = 20, **more: Any) -> None:
        self.agents: set[str] = set()
        self.probed: dict[str, list[ProbeResult]] = {}
        self.booted_ns: dict[str, int] = {}
        super().__init__(nodes, **more)

    def _build(self, **more: Any) -> None:
        super()._build(**more)
        self.loop.situation = replace(self.loop.situation, complete=self._with_proofs)

    def _with_proofs(self, snapshot: Snapshot) -> Snapshot:
        probed = {name: tuple(results) for name, results in self.probed.items()}
        return replace(snapshot, probes=probed, agents=frozenset(self.agents))

    def taken_over(self) -> Story:
        """A new process takes up what was stored, in the order of ``Controller``."""
        self.restarted()
        stored = self.checkpoint.load(self.clock.now_ns() - int(LOOKBACK_S * NS))
        self.observer.floor_ns = stored.floor_ns
        self.fleet.recall(stored.managed)
        self.feed.sync()
        return self

    def line(self, name: str, text: str = LOST, *, ago_s: float = 0.0, **fields: Any) -> LogEntry:
        """A kernel line; its uptime is that of the node's boot."""
        if name in self.booted_ns:
            time_ns = self.clock.now_ns() - int(ago_s * NS)
            uptime_s = (time_ns - self.booted_ns[name]) / NS
            fields = {"record": unwrap(f"[{uptime_s:12.6f}] {text}"), **fields}
        return super().line(name, text, ago_s=ago_s, **fields)

    def reboot(self, name: str) -> None:
        """The Node reports another boot."""
        self.booted_ns[name] = self.clock.now_ns()
        self.change(name, boot_id=f"{len(self.booted_ns):08x}{self.clock.now_ns():024x}")

    def live(
        self,
        seconds: float,
        *entries: LogEntry,
        every_s: float = 60.0,
        silent: Collection[str] = (),
    ) -> None:
        """So long, with a heartbeat of each node; these lines come at the first of them."""
        end_s = self.clock.monotonic() + seconds
        beats = LogRecord(text="heartbeat", heartbeat=True)
        while self.clock.monotonic() < end_s:
            self.clock.advance(min(every_s, end_s - self.clock.monotonic()))
            names = [name for name in self.cluster.nodes if name not in silent]
            told = [super(Story, self).line(name, record=beats) for name in names]
            self.hear(*entries, *told)
            entries = ()

    def outage(self, seconds: float, *, every_s: float = 60.0) -> Gap:
        """So long, the log cannot be read. Returns what was not read."""
        start_ns, end_s = self.clock.now_ns(), self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s:
            self.clock.advance(min(every_s, end_s - self.clock.monotonic()))
            gap = Gap(start_ns, self.clock.now_ns(), "unavailable")
            self._polled(SourceStatus("kmsg", ok=False, cursor_ns=start_ns, gaps=(gap,)))
        return Gap(start_ns, self.clock.now_ns(), "unavailable")

    def recovered(self, gap: Gap, *entries: LogEntry) -> None:
        """The log is read again, and the gap with it."""
        closed = replace(gap, permanent=True)
        status = SourceStatus("kmsg", ok=True, cursor_ns=self.clock.now_ns(), gaps=(closed,))
        self._polled(status, *entries)

    def _polled(self, status: SourceStatus, *entries: LogEntry) -> None:
        self.loop.cycle([Delivery(status.name, Poll(entries, status), None)])
        self.feed.sync()

    def probe(
        self, name: str, tier: str, status: ProbeStatus = ProbeStatus.PASS, **fields: Any
    ) -> None:
        """An agent on the node has run a tier of probes just now, on each GPU."""
        self.agents.add(name)
        now_ns = self.clock.now_ns()
        run_id = f"{tier}{now_ns}{len(self.probed.get(name, ()))}"
        self.probed.setdefault(name, []).extend(
            ProbeResult(
                f"{tier}-check", tier, status, now_ns, run_id=run_id, **({"device": gpu} | fields)
            )
            for gpu in GPUS
        )
        self.agenda.add([name])

    def prove(self, name: str, *tiers: str) -> None:
        """A pass of each of these tiers, a minute apart; default: all that a fatal fault needs."""
        for tier in tiers or ("boot", "light", "light", "light", "invasive"):
            self.live(60)
            self.probe(name, tier)
            self.turn()

    def ledger(self, name: str) -> Ledger:
        return read_ledger(self.cluster.nodes[name])[0]

    def faults(self, name: str) -> list[str]:
        """Open faults of the node."""
        return [record.fault_id for record in self.ledger(name).records]

    def node_writes(self) -> list[str]:
        """Writes to Nodes since the list was cleared."""
        return [each for each in self.cluster.writes if each.startswith(NODE_WRITES)]
