"""What does the controller do while nothing happens, and what does it need for that?

1,000 nodes as large as real ones, whose kubelets send heartbeats; kernel lines without faults
arrive; five nodes are tainted and three are held by the budget from before. Counted is what
the API server's audit log shows.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.audit import AuditLog, Request
from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.large_node import large_node
from benchmarks.process import cpu_s, memory_mib, pid_of
from benchmarks.stage import Stage, pause, stage
from benchmarks.watch import OUR_TAINT, Watch, node_marks
from tests.support.loglines import otel

NODES = 1000
SECONDS = 330.0
QUICK_SECONDS = 60.0
TAINTED, HELD = 5, 3
HEARTBEAT_S = 300.0  # kubelets report an unchanged status this often
LINES_PER_S = 20
CHECKPOINT_S = 300.0
_TIMER_SLACK_S = 1.0  # arrival times of two writes 300 s apart differ by a little less or more
_SETTLE_S = 5.0


def measure(options: Options) -> Iterable[Figure]:
    """Writes of each kind, memory and CPU time."""
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    count = options.nodes or NODES
    with TemporaryDirectory(prefix="konduktor-bench-") as folder:
        audit = AuditLog(Path(folder))
        with stage(audit.flags) as on:
            names = _create_nodes(on, count)
            faulty = names[: TAINTED + HELD]
            on.push_faults(faulty)
            with Watch(on.kube, "/api/v1/nodes", node_marks) as watch:
                started = time.time()
                process = on.controller({"policy": {"budget_max_nodes": TAINTED}})
                watch.times([f"condition {name}" for name in faulty], 30)
            _check_held(on, faulty)
            with _life(on, names):
                pause(_SETTLE_S)
                pid = pid_of(process)
                began, cpu = time.time(), cpu_s(pid)
                pause(seconds)
                cpu, ended = cpu_s(pid) - cpu, time.time()
                rss, most = memory_mib(pid), memory_mib(pid, "VmHWM")
            everything = audit.requests()
            _check_awake(on, names[-1])
    window = [each for each in everything if began <= each.at_s <= ended]
    leases = [each for each in window if each.writes and each.resource == "leases"]
    others = [each for each in window if each.writes and not _expected(each)]
    yield Figure(
        "steady_other_writes",
        len(others),
        "requests",
        at_most(0),
        _about(others) or f"in {seconds:g} s with {count:,} nodes",
    )
    checkpoints = [each.at_s for each in everything if _is_checkpoint(each)]
    yield Figure(
        "steady_checkpoints_in_5_min",
        _most_at_once(checkpoints),
        "requests",
        at_most(1),
        f"the most in any 5 minutes; {len(checkpoints)} in {ended - started:.0f} s since the start",
    )
    yield Figure("steady_lease_writes", 60 * len(leases) / seconds, "per minute")
    reads = sum(not each.writes for each in window)
    yield Figure("steady_reads", 60 * reads / seconds, "per minute", note="of the API server")
    yield Figure("steady_vmrss", rss, "MiB", at_most(120), f"highest so far {most:.0f} MiB")
    yield Figure("steady_cpu", 1000 * cpu / seconds, "ms per s", note=f"{cpu:.1f} s of CPU time")


def _check_held(on: Stage, faulty: Sequence[str]) -> None:
    tainted = sum(
        any(taint["key"] == OUR_TAINT for taint in on.kube.taints(name)) for name in faulty
    )
    if tainted != TAINTED:
        raise RuntimeError(f"{tainted} nodes are tainted, not {TAINTED}: the stage is not set")


def _check_awake(on: Stage, name: str) -> None:
    """Quiet, not dead: one more fault is held by the budget, and the Node says so."""
    with Watch(on.kube, "/api/v1/nodes", node_marks) as watch:
        on.push_faults([name])
        watch.times([f"condition {name}"], 30)


def _expected(request: Request) -> bool:
    return request.resource == "leases" or _is_checkpoint(request)


def _is_checkpoint(request: Request) -> bool:
    return request.writes and request.resource == "configmaps"


def _about(requests: Sequence[Request]) -> str:
    kinds = sorted({f"{each.verb} {each.resource} {each.name}" for each in requests})
    return ", ".join(kinds[:3])


def _most_at_once(times: Sequence[float]) -> int:
    span_s = CHECKPOINT_S - _TIMER_SLACK_S
    return max((sum(t <= u < t + span_s for u in times) for t in times), default=0)


@contextmanager
def _life(on: Stage, names: Sequence[str]) -> Iterator[None]:
    """Heartbeats of all nodes in turn, and kernel lines that are no faults."""
    stop = threading.Event()
    workers = [
        threading.Thread(target=_beat, args=(on, names, stop), daemon=True),
        threading.Thread(target=_chatter, args=(on, names, stop), daemon=True),
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join(10)


def _beat(on: Stage, names: Sequence[str], stop: threading.Event) -> None:
    while True:
        for name in names:
            if stop.wait(HEARTBEAT_S / len(names)):
                return
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now}
            on.kube.request(
                "PATCH",
                f"/api/v1/nodes/{name}/status",
                {"status": {"conditions": [ready]}},
                content_type="application/strategic-merge-patch+json",
            )


def _chatter(on: Stage, names: Sequence[str], stop: threading.Event) -> None:
    while not stop.wait(1.0):
        texts = ("cni0: port 1 entered forwarding state", "mlx5_core 0000:1a:00.0 eth0: Link up")
        on.push(
            [otel(random.choice(names), random.choice(texts)) for _ in range(LINES_PER_S)],
        )


def _create_nodes(on: Stage, count: int) -> list[str]:
    names = [f"gpu-node-{number:04d}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: on.kube.create_node(large_node(name)), names))
    return names


if __name__ == "__main__":
    sys.exit(run({"steady": measure}))
