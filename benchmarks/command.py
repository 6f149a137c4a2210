"""How is a benchmark asked for on the command line, alone or with all others?

Exit codes: 0 every bar holds, 1 a bar does not hold or a benchmark did not come to its end,
2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, print_table, store

_MOST_SAID = 1000  # of an error that carries a log
RESULTS = Path(__file__).parents[1] / "build" / "bench.json"


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked of the benchmarks. ``None``: the benchmark's own default."""

    quick: bool = False
    seconds: float | None = None  # steady state, idle pods: how long they are watched
    nodes: int | None = None  # steady state: how many nodes there are


Benchmark = Callable[[Options], Iterable[Figure]]


def run(
    benchmarks: Mapping[str, Benchmark],
    argv: Sequence[str] | None = None,
    *,
    results: Path | None = None,
) -> int:
    """Measure, print the table, write ``results`` where given. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure against real servers on loopback."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmarks)}")
    parser.add_argument("--quick", action="store_true", help="shorter runs, coarser figures")
    parser.add_argument("--seconds", type=float, help="watch so long (steady: 330, node: 180)")
    parser.add_argument("--nodes", type=int, help="nodes in steady state (1000)")
    parser.add_argument("--output", type=Path, default=results, help="JSON file to write")
    given = parser.parse_args(argv)
    unknown = set(given.names) - set(benchmarks)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    options = Options(given.quick, given.seconds, given.nodes)
    chosen = {
        name: each for name, each in benchmarks.items() if name in given.names or not given.names
    }
    return _measure(chosen, options, given.output)


def _measure(benchmarks: Mapping[str, Benchmark], options: Options, output: Path | None) -> int:
    console = Console(width=160 if not sys.stdout.isatty() else None, highlight=False)
    figures: list[Figure] = []
    failed: list[str] = []
    loads = [os.getloadavg()[0]]
    for name, benchmark in benchmarks.items():
        began = time.monotonic()
        sys.stderr.write(f"{name} ...\n")
        try:
            figures.extend(benchmark(options))
        except Exception as error:  # the others are still worth measuring
            failed.append(name)
            sys.stderr.write(f"{name}: not measured: {str(error)[:_MOST_SAID]}\n")
        loads.append(os.getloadavg()[0])
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s, load {loads[-1]:.1f}\n")
    figures.append(_load(loads))
    print_table(figures, console)
    if output is not None:
        store(figures, output)
    broken = [figure.name for figure in figures if figure.holds is False]
    for what, names in (("bars that do not hold", broken), ("not measured", failed)):
        if names:
            console.print(f"{what}: {', '.join(names)}")
    return 1 if broken or failed else 0


def _load(loads: Sequence[float]) -> Figure:
    """Figures of a busy machine are worth less: the load goes with them."""
    return Figure(
        "machine_load",
        max(loads),
        "processes",
        note=f"highest 1-minute load seen, {os.cpu_count()} CPUs; before: {loads[0]:.1f}",
    )
