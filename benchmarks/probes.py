"""What does a round over 10,000 agents cost the controller?

The agents are simulated by processes of their own, which answer on loopback with reports as large
as those of nodes with 8 GPUs; their CPU time is told apart. The controller's part is the whole of
what it does in a round: find who is due, ask, validate, take up results, find failures. Measured is
CPU time of all its threads, on one core: wall time is longer by what the simulators take.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.process import cpu_s, memory_mib
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.collector import Collector
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.schedule import Pace
from konduktor_health.clock import SystemClock
from konduktor_health.model import NodeView
from probes.report import Measured, Report, Result, Run
from tests.support.agents import MemoryNodes, MemoryPods
from tests.support.builders import BOOT, node

AGENTS = 10_000
QUICK_AGENTS = 1000
SIMULATORS = 2
ROUND_S = 30.0  # of one core, for 10,000 agents
MOST_MIB = 250.0
_GPUS = 8
_LIGHT, _HOURLY, _BOOT = 12, 4, 2  # checks on each GPU
_FIRST = 0x7F010001  # 127.1.0.1
_LONGEST_S = 300.0
_ASKED_EVERY_S = 300.0  # setting probes.interval_s
Phase = Synchronized  # which round it is
_NAME = b"gpu-000000"  # what each agent calls itself is put here,
_RUN = b"light-00000000"  # and its newest run


def measure(options: Options) -> Iterable[Figure]:
    """CPU time of a round with new runs, of one without, and memory."""
    count = options.nodes or (QUICK_AGENTS if options.quick else AGENTS)
    phase = multiprocessing.get_context("spawn").Value("i", 0)
    with _simulators(phase) as (port, simulators):
        began = [cpu_s(pid) for pid in simulators]
        found = _collect(count, port, phase)
        theirs = sum(cpu_s(pid) for pid in simulators) - sum(began)
    share = count / AGENTS
    size = len(_body()) / 1024
    yield Figure(
        "probes_round_cpu",
        round(found.changed_cpu_s / share, 2),
        "s",
        at_most(ROUND_S),
        f"{count:,} agents with new runs, {size:.0f} KiB each; {found.changed_wall_s:.1f} s on the"
        f" clock; simulators {theirs:.1f} s in all rounds; scaled to {AGENTS:,}",
    )
    yield Figure(
        "probes_unchanged_cpu",
        round(found.unchanged_cpu_s / share, 2),
        "s",
        None,
        f"the same without new runs (304); {found.unchanged_wall_s:.1f} s on the clock",
    )
    yield Figure(
        "probes_memory",
        round(found.rss_mib, 1),
        "MiB",
        at_most(MOST_MIB),
        f"of the whole process, with {count:,} Nodes; {found.start_mib:.1f} before the first round",
    )
    yield Figure(
        "probes_core_share",
        round(100 * found.changed_cpu_s / share / _ASKED_EVERY_S, 1),
        "%",
        None,
        f"of one core with {AGENTS:,} agents, asked every {_ASKED_EVERY_S:g} s; 100,000 are ten"
        " shards with so much each",
    )


@dataclass(frozen=True, slots=True)
class _Found:
    start_mib: float
    rss_mib: float
    changed_cpu_s: float
    changed_wall_s: float
    unchanged_cpu_s: float
    unchanged_wall_s: float


# ---------------------------------------------------------------- the controller's part


def _collect(count: int, port: int, phase: Phase[int]) -> _Found:
    """Rounds of a collector in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_rounds, args=(count, port, phase, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(_LONGEST_S):
            raise TimeoutError(f"{count} agents were not asked within {_LONGEST_S:g} s")
        found = ours.recv()
    finally:
        process.terminate()
        process.join()
    assert isinstance(found, _Found)
    return found


def _rounds(count: int, port: int, phase: Phase[int], out: Connection) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    names = [f"gpu-{number:06d}" for number in range(count)]
    views: list[NodeView] = [node(name) for name in names]
    agents = {
        name: AgentPod(name, name, name, _address(number), port, ready=True)
        for number, name in enumerate(names)
    }
    clock = SystemClock()
    pods = MemoryPods(agents)
    collector = Collector(
        pods,
        AgentHttp(clock, may_ask=lambda _address: True),
        MemoryNodes(*views),
        clock=clock,
        pace=Pace(workers=16, close_s=3600.0, wide_s=3600.0, timeout_s=30.0),
        closely=lambda _view: False,
        jitter=lambda: 1.0 - 1e-9,  # nobody is due until we say so
    )
    collector._agents_changed(names)
    collector.start(threading.Event())
    start_mib = memory_mib(os.getpid())
    costs = []
    for number, what in enumerate(("ok", "ok", "unchanged")):
        phase.value = number
        costs.append(_round(collector, names, what))
    (changed, unchanged) = costs[1:]
    rss = memory_mib(os.getpid())
    out.send(_Found(start_mib, rss, changed[0], changed[1], unchanged[0], unchanged[1]))


def _round(collector: Collector, names: list[str], what: str) -> tuple[float, float]:
    """Ask all of them once. Returns CPU time and wall time, seconds."""
    before = collector.census().answers.get(what, 0)
    cpu, wall = time.process_time(), time.monotonic()
    for name in names:
        collector.hasten(name)
    while (answers := collector.census().answers).get(what, 0) - before < len(names):
        if sum(answers.values()) != answers.get("ok", 0) + answers.get("unchanged", 0):
            raise RuntimeError(f"answers: {dict(answers)}")
        threading.Event().wait(0.5)
    return time.process_time() - cpu, time.monotonic() - wall


# ---------------------------------------------------------------- the agents


@contextmanager
def _simulators(phase: Phase[int]) -> Iterator[tuple[int, list[int]]]:
    """Processes that answer for all agents; their port and process ids."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("0.0.0.0", 0), reuse_port=True) as first:
        port = first.getsockname()[1]
    made: list[SpawnProcess] = []
    try:
        for _ in range(SIMULATORS):
            ready, theirs = context.Pipe()
            process = context.Process(target=_simulate, args=(port, phase, theirs), daemon=True)
            process.start()
            made.append(process)
            ready.recv()
        yield port, [process.pid for process in made if process.pid is not None]
    finally:
        for process in made:
            process.terminate()
            process.join()


def _simulate(port: int, phase: Phase[int], ready: Connection) -> None:
    """Answer for the agent of each address: a report with a run that is new in each phase, or that
    it is unchanged in the last one."""
    server = socket.create_server(("0.0.0.0", port), backlog=4096, reuse_port=True)
    server.setblocking(False)
    body = _body()
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    ready.send("ready")
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                _accept(server, selector)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            request = connection.recv(4096)
            address = connection.getsockname()[0]
            selector.unregister(connection)
            if request:
                connection.setblocking(True)
                connection.sendall(_answer(body, address, phase.value))
            connection.close()


def _accept(server: socket.socket, selector: selectors.BaseSelector) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)


def _answer(body: bytes, address: str, number: int) -> bytes:
    if number == 2:
        return b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n"
    index = int.from_bytes(socket.inet_aton(address), "big") - _FIRST
    said = body.replace(_NAME, b"gpu-%06d" % index).replace(_RUN, b"light-%08d" % number)
    head = b'HTTP/1.1 200 OK\r\netag: "1"\r\nconnection: close\r\ncontent-length: %d\r\n\r\n'
    return head % len(said) + said


def _address(number: int) -> str:
    return socket.inet_ntoa((_FIRST + number).to_bytes(4, "big"))


def _body() -> bytes:
    """A report of a node with 8 GPUs."""
    now_ns = time.time_ns() - 60 * 10**9

    def results(many: int, kind: str) -> tuple[Result, ...]:
        limit = {"value": 20.0, "bound": "at_least", "source": "H100 SXM, PCIe 5 x16"}
        measured = Measured.model_validate(
            {"name": "h2d", "value": 25.1, "unit": "GB/s", "threshold": limit}
        )
        return tuple(
            Result(
                check=f"{kind}-{number}",
                tier="boot" if kind == "boot" else "light",
                outcome="pass",
                message="25.1 GB/s, at least 20 GB/s",
                device=f"0000:{gpu:x}b:00",
                measurements=(measured,),
                backend="nvml",
                ended_ns=now_ns,
                duration_s=0.4,
                detail={"uuid": f"GPU-{gpu:032x}"},
            )
            for number in range(many)
            for gpu in range(_GPUS)
        )

    def one(run_id: str, cadence: str, many: int) -> Run:
        times = {"began_ns": now_ns, "ended_ns": now_ns}
        return Run(run_id=run_id, cadence=cadence, results=results(many, cadence), **times)

    runs = (
        one("boot-1", "boot", _BOOT),
        one("hourly-1", "hourly", _HOURLY),
        one(_RUN.decode(), "light", _LIGHT),
    )
    report = Report(node=_NAME.decode(), boot_id=BOOT, backend="nvml", runs=runs)
    return report.model_dump_json().encode()


if __name__ == "__main__":
    sys.exit(run({"probes": measure}))
