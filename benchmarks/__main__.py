"""All benchmarks: ``python -m benchmarks [NAME...] [--quick]`` (``make bench``).

Prints a table and writes build/bench.json. docs/reference/benchmarks.md says how each figure
is measured.
"""

from __future__ import annotations

import sys

from benchmarks import (
    agent,
    burst,
    decide,
    demo,
    fleet,
    kmsg,
    latency,
    node,
    probes,
    replay,
    scan,
    steady,
)
from benchmarks.command import RESULTS, run

ALL = {
    "scan": scan.measure,
    "decide": decide.measure,
    "replay": replay.measure,
    "demo": demo.measure,
    "kmsg": kmsg.measure,
    "agent": agent.measure,
    "latency": latency.measure,
    "burst": burst.measure,
    "steady": steady.measure,
    "fleet_memory": fleet.measure_memory,
    "outage": fleet.measure_outage,
    "node": node.measure,
    "probes": probes.measure,
}

if __name__ == "__main__":
    sys.exit(run(ALL, results=RESULTS))
