"""How long is it from Loki's 204 to the taint on the API server?

Poll interval 1 s; one fatal line a push, each for another node, at a uniformly random phase of
the poll; the end is the taint's arrival on a watch of the benchmark's own.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterable

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.stage import NO_LIMITS, pause, stage
from benchmarks.watch import Watch, node_marks

POLL_S = 1.0
PUSHES = 100
QUICK_PUSHES = 20
_SETTLE_S = 0.1  # condition and Event of the node before are written by then
_GIVE_UP_S = 15.0


def measure(options: Options) -> Iterable[Figure]:
    """Median, 95th percentile and worst of all pushes."""
    pushes = QUICK_PUSHES if options.quick else PUSHES
    phase = random.Random()
    with stage() as on:
        names = on.kube.create_nodes(pushes + 1, boot_id="bench")
        on.push_faults(names[:1])  # a stream that exists, as in any running cluster
        with Watch(on.kube, "/api/v1/nodes", node_marks) as watch:
            on.controller({"reading": {"poll_interval_s": POLL_S}, "policy": NO_LIMITS})
            watch.times([f"taint {names[0]}"], _GIVE_UP_S)
            took = []
            for name in names[1:]:
                pause(_SETTLE_S + phase.uniform(0, POLL_S))
                on.push_faults([name])
                pushed = time.monotonic()
                took.append(watch.times([f"taint {name}"], _GIVE_UP_S)[0] - pushed)
    about = f"{pushes} pushes, poll interval {POLL_S:g} s"
    yield Figure("latency_median", statistics.median(took), "s", at_most(0.8), about)
    yield Figure("latency_p95", statistics.quantiles(took, n=20)[-1], "s")
    yield Figure("latency_worst", max(took), "s", at_most(1.6))


if __name__ == "__main__":
    sys.exit(run({"latency": measure}))
