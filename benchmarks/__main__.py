"""All benchmarks: ``python -m benchmarks [NAME...] [--quick]`` (``make bench``).

Prints a table and writes build/bench.json. docs/reference/benchmarks.md says how each figure
is measured.
"""

from __future__ import annotations

import sys

from benchmarks import burst, demo, kmsg, latency, node, scan, steady
from benchmarks.command import RESULTS, run

ALL = {
    "scan": scan.measure,
    "demo": demo.measure,
    "kmsg": kmsg.measure,
    "latency": latency.measure,
    "burst": burst.measure,
    "steady": steady.measure,
    "node": node.measure,
}

if __name__ == "__main__":
    sys.exit(run(ALL, results=RESULTS))
