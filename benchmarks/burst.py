"""How fast does a burst of faults on 200 nodes become taints, conditions and Events?

One push holds a fatal line for each node; budget, rate and surge are off. Several rounds, each
on nodes that have never been written to, at a random phase of the poll; the worst one counts.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.process import cpu_s, pid_of
from benchmarks.stage import NO_LIMITS, Stage, pause, stage
from benchmarks.watch import Watch, event_marks, node_marks

NODES = 200
ROUNDS = 5
QUICK_ROUNDS = 2
POLL_S = 1.0
_GIVE_UP_S = 30.0


class Round(NamedTuple):
    """Seconds after Loki's 204, and taints a second between the first and the last."""

    all_taints_s: float
    all_told_s: float
    taints_per_s: float


def measure(options: Options) -> Iterable[Figure]:
    """The worst round's figures."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with stage() as on:
        groups = [on.kube.create_nodes(NODES, f"round{n}", boot_id="bench") for n in range(rounds)]
        on.kube.create_node("first", boot_id="bench")
        on.push_faults(["first"])
        with (
            Watch(on.kube, "/api/v1/nodes", node_marks) as nodes,
            Watch(on.kube, "/api/v1/namespaces/default/events", event_marks) as events,
        ):
            process = on.controller({"reading": {"poll_interval_s": POLL_S}, "policy": NO_LIMITS})
            nodes.times(["taint first"], _GIVE_UP_S)
            cpu = cpu_s(pid_of(process))
            done = [_round(on, names, nodes, events) for names in groups]
            cpu = cpu_s(pid_of(process)) - cpu
    about = f"worst of {rounds} bursts of {NODES} nodes"
    yield Figure("burst_all_taints", max(r.all_taints_s for r in done), "s", at_most(3), about)
    yield Figure(
        "burst_all_conditions_and_events", max(r.all_told_s for r in done), "s", at_most(10)
    )
    yield Figure(
        "burst_taint_rate",
        min(r.taints_per_s for r in done),
        "taints/s",
        at_least(100),
        f"{NODES} / (last taint - first taint)",
    )
    yield Figure(
        "burst_cpu",
        1000 * cpu / (rounds * NODES),
        "ms per node",
        note="the controller's, for taint, condition and Event",
    )


def _round(on: Stage, names: list[str], nodes: Watch, events: Watch) -> Round:
    pause(1.0 + random.uniform(0, POLL_S))
    on.push_faults(names)
    pushed = time.monotonic()
    taints = nodes.times([f"taint {name}" for name in names], _GIVE_UP_S)
    told = nodes.times([f"condition {name}" for name in names], _GIVE_UP_S)
    told += events.times([f"event {name}" for name in names], _GIVE_UP_S)
    return Round(max(taints) - pushed, max(told) - pushed, len(names) / (max(taints) - min(taints)))


if __name__ == "__main__":
    sys.exit(run({"burst": measure}))
