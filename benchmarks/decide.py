"""How long does a decision take, and what does a cycle cost in which nothing happens?

Nodes in memory, with the labels of real ones; one in a hundred is in trouble: a ledger with three
records, tainted or held as far as the budget goes, and for half of those a repeat that the ledger
has not. CPU time, medians. The decision is
``Situation.decide`` with the controller's fleet and Observer, so that what it looks at is gathered
too. A first cycle after a start decides the same nodes without news.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from loguru import logger

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.large_node import large_node
from konduktor_health.adapters.kube.nodes import NodeDecoder
from konduktor_health.core.ledger import Ledger, Past, Record, render
from konduktor_health.core.record import Missing
from konduktor_health.model import Keys, NodeView, Policy, Remedy, Severity, Taint
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.agenda import Agenda
from konduktor_health.runtime.loop import Loop
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.replay.heard import DecodedBefore, of_fault
from konduktor_health.runtime.replay.past_clock import PastClock
from konduktor_health.runtime.replay.past_nodes import Inventory, PastNodes
from konduktor_health.runtime.report import Report
from konduktor_health.runtime.situation import Situation
from konduktor_health.runtime.sources import Sources
from konduktor_health.runtime.surges import SurgeWatch
from konduktor_health.timestamps import NS
from parsers.fault import Fault

SIZES = {"10k": (10_000, 50.0), "100k": (100_000, 500.0)}
IDLE = (1_000, 10_000, 100_000)
ROUNDS = 9
IDLE_CYCLES = 2_000
_NOW = 1_800_000_000 * NS
_ROUNDS_TO_REST = 50
_KEYS = Keys()
_TEXT = (
    "NVRM: Xid (PCI:0000:3b:00): {code}, pid=4711, name=python3, Ch 00000010, intr 00000000. " * 2
)


def measure(options: Options) -> Iterable[Figure]:
    """Milliseconds a cycle for two sizes; the idle cycle by size."""
    logger.disable("konduktor_health")
    sizes = {"10k": SIZES["10k"]} if options.quick else SIZES
    for name, (count, limit) in sizes.items():
        stage = _Stage(count)
        due = stage.troubled
        about = f"{count:,} nodes managed, {len(due):,} decided"
        took = [stage.decide(news=True) for _ in range(ROUNDS)]
        yield Figure(f"decide_{name}", 1000 * statistics.median(took), "ms", at_most(limit), about)
        took = [stage.decide(news=False) for _ in range(ROUNDS)]
        yield Figure(f"decide_{name}_first", 1000 * statistics.median(took), "ms", note="no news")
    counts = IDLE[:2] if options.quick else IDLE
    idle = {count: _Stage(count).idle_us() for count in counts}
    for count, took_us in idle.items():
        yield Figure(f"idle_cycle_{count // 1000}k", took_us, "us", note="nothing is due")
    yield Figure(
        "idle_cycle_ratio",
        max(idle.values()) / idle[IDLE[0]],
        "ratio",
        at_most(2),
        "the slowest to that of 1,000 nodes",
    )


class _Stage:
    """A fleet in memory and a loop on it."""

    def __init__(self, count: int) -> None:
        self.clock = PastClock(_NOW)
        views = _views(count)
        self.nodes = PastNodes(_KEYS, self.clock, Inventory(views, only=True))
        fleet = self.nodes.fleet
        self.troubled = [view.name for view in views if view.ledger is not None]
        self.observer = Observer(self.nodes, clock=self.clock, decoder=DecodedBefore)
        surges = SurgeWatch(self.clock)
        self.situation = Situation(self.nodes, fleet, self.observer, Policy(), self.clock, surges)
        wake = threading.Event()
        self.loop = Loop(
            sources=Sources([], clock=self.clock, poll_interval_s=2.0, wake=wake),
            situation=self.situation,
            fleet=fleet,
            observer=self.observer,
            applier=self.nodes,
            checkpoint=None,
            report=Report(Metrics()),
            clock=self.clock,
            wake=wake,
            agenda=Agenda(self.clock),
        )
        self._said = 0
        self.clock.go_to(_NOW + NS)
        for _ in range(_ROUNDS_TO_REST):  # what the start has to write is written
            self.nodes.restless = False
            self.loop.cycle([])
            if not self.nodes.restless:
                return
        raise RuntimeError("the fleet does not come to rest")

    def decide(self, *, news: bool) -> float:
        """CPU seconds of a decision about all in trouble; ``news``: half have logged again."""
        self._said += 1
        if news:
            self.observer.take([_repeat(name, self._said) for name in self.troubled[::2]])
        took = _cpu_s(lambda: self.situation.decide(self.troubled))
        self.observer.settle(self.troubled)
        return took

    def idle_us(self) -> float:
        """Microseconds of CPU time of a cycle in which nothing is due."""
        took = _cpu_s(lambda: [self.loop.cycle([]) for _ in range(IDLE_CYCLES)])
        return 1e6 * took / IDLE_CYCLES


def _views(count: int) -> tuple[NodeView, ...]:
    """Healthy nodes, and one in a hundred with a ledger; one in five of those is tainted."""
    decoder = NodeDecoder(_KEYS, "nvidia.com/gpu.present=true", "nvidia.com/gpu")
    pattern = decoder.view(large_node("pattern"))
    if pattern is None:
        raise ValueError("the pattern of a node cannot be decoded")
    views = []
    for number in range(count):
        name = f"gpu-{number:06d}"
        view = replace(
            pattern, name=name, uid=f"uid-{number}", boot_id=f"{number:032x}", aliases=()
        )
        if number % 100 == 0:
            tainted = number % 500 == 0
            view = replace(
                view,
                taints=(Taint(_KEYS.taint, "true", "NoSchedule"),) if tainted else (),
                ledger=render(_ledger(view, tainted=tainted)),
                health_label="faulty" if tainted else "suspect",
            )
        views.append(view)
    return tuple(views)


def _ledger(view: NodeView, *, tainted: bool) -> Ledger:
    worst = (Severity.FATAL, 79) if tainted else (Severity.DEGRADED, 63)
    return Ledger(
        uid=view.uid,
        boot_id=view.boot_id,
        written_ns=_NOW - 400 * NS,
        since_ns=_NOW - 3600 * NS,
        owned=("NoSchedule",) if tainted else (),
        tainted_ns=_NOW - 3600 * NS if tainted else 0,
        records=tuple(
            Record(
                device="0000:3b:00",
                fault_id=f"xid/{code}",
                severity=severity,
                remedy=Remedy.RESET_GPU,
                first_ns=_NOW - 7200 * NS,
                last_ns=_NOW - 600 * NS,
                count=17,
                log_ns=_NOW - 600 * NS,
                uptime_us=90_000 * 10**6,
                boot_id=view.boot_id,
                identity=f"{code:032x}",
                source="kmsg",
                text=_TEXT.format(code=code),
                rule=severity.value,
                reached=severity is worst[0],
                effect="NoSchedule" if tainted and code == 79 else "",
                episodes=tuple(
                    (_NOW - ago * 900 * NS, "python3", _NOW - ago * 900 * NS)
                    for ago in (4, 3, 2, 1)
                ),
                missing=tuple(Missing(what, _NOW - 600 * NS) for what in ("repair", "probe:boot")),
                attempts=1,
            )
            for severity, code in (worst, (Severity.APPLICATION, 31), (Severity.APPLICATION, 13))
        ),
        history=tuple(
            Past(
                "0000:3b:00",
                f"xid/{code}",
                _NOW - 90_000 * NS,
                _NOW - 80_000 * NS,
                _NOW - 90_000 * NS,
                boot_id=view.boot_id,
                identity=f"{code:032x}",
                count=3,
            )
            for code in (48, 94)
        ),
    )


def _repeat(name: str, number: int) -> LogEntry:
    """A repeat of Xid 31, later than what the ledger has counted."""
    fault = Fault(
        "xid/31",
        Severity.APPLICATION,
        Remedy.RESTART_APP,
        "0000:3b:00",
        node=name,
        time_ns=_NOW - 60 * NS + number,
        uptime_us=95_000 * 10**6 + number,
        text=_TEXT.format(code=31),
    )
    return of_fault(fault, "kmsg")


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(run({"decide": measure}))
