"""How many log lines a second does ``parsers.scan`` read?

A mixed kernel log (``benchmarks.scan_log``) is written once and read from the file, on one core.
Beside it, in the same run, stands what can hardly be beaten without native code: two bare
``bytes.find`` passes over a reused buffer, which find two of the texts and decode nothing. CPU
time; the best of several passes for a rate, since what disturbs only ever slows down, and for
the ratio the median of the pairs, each timed side by side.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import scan_log
from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_least, at_most
from konduktor_health.adapters.hyperscan_search import fastest
from parsers.blocks import BLOCK_BYTES, MakeFinder
from parsers.folds import FoldFinder
from parsers.scan import scan_all, scan_stream

LINES = 10_000_000
QUICK_LINES = 1_000_000
ROUNDS = 4
FAULT_LINES = 20_000
SAMPLE = 100_000
_IMPORTS = 7
_IMPORT = (
    "import time; t = time.process_time(); import parsers.scan; print(time.process_time() - t)"
)


def measure(options: Options) -> Iterable[Figure]:
    """Rates over the mixed log and over faults alone, beside bare searches; memory; import."""
    count = QUICK_LINES if options.quick else LINES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kern.log"
        size = scan_log.write(path, count)
        yield from _mixed(path, count, f"{count:,} lines of {size / count:.0f} bytes")
        yield _with_extra(path, count)
        yield _differing(path)
    faults = scan_log.faults(FAULT_LINES)
    took = [_seconds(lambda: _told(io.BytesIO(faults))) for _ in range(2 * ROUNDS)]
    about = "faults only: 80 % Xid, 20 % SXid, every wrapper"
    yield Figure("scan_faults", FAULT_LINES / min(took), "lines/s", at_least(200_000), about)
    yield Figure("scan_import", _import_ms(), "ms", at_most(50), "import parsers.scan")


def _mixed(path: Path, count: int, about: str) -> Iterable[Figure]:
    passes: dict[str, Callable[[], int]] = {
        "find": lambda: _bare(path),
        "gpu": lambda: _of_file(path, gpu_only=True, number=False),
        "gpu_numbered": lambda: _of_file(path, gpu_only=True, number=True),
        "all": lambda: _of_file(path, gpu_only=False, number=True),
    }
    before = _rss_mib()
    took: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(ROUNDS):
        for name, each in passes.items():
            took[name].append(_seconds(each))
    grown = _rss_mib() - before
    rates = {name: count / min(seconds) for name, seconds in took.items()}
    yield Figure("scan_find", rates["find"], "lines/s", note="two bare find passes, no decoding")
    yield Figure("scan_gpu", rates["gpu"], "lines/s", at_least(8e6), f"GPU rules; {about}")
    for name in ("gpu", "gpu_numbered"):
        pairs = zip(took["find"], took[name], strict=True)
        ratio = statistics.median(bare / ours for bare, ours in pairs)
        yield Figure(f"scan_{name}_to_find", ratio, "ratio", note="to the two bare passes")
    yield Figure("scan_gpu_numbered", rates["gpu_numbered"], "lines/s", note="lines counted too")
    yield Figure("scan_all", rates["all"], "lines/s", at_least(0.8e6), "all rules, lines counted")
    yield Figure("scan_memory", grown, "MiB", at_most(4), f"VmRSS grown; before {before:.0f} MiB")


def _with_extra(path: Path, count: int) -> Figure:
    """All rules with the finder of extra ``fast``."""
    name, bar = "scan_all_fast", at_least(5e6)
    if importlib.util.find_spec("hyperscan") is None:
        return Figure(name, None, "lines/s", bar, "extra fast is not installed")

    def read() -> int:
        return _of_file(path, gpu_only=False, number=True, finder=fastest)

    took = min(_seconds(read) for _ in range(ROUNDS))
    return Figure(name, count / took, "lines/s", bar, "as scan_all, with extra fast")


def _of_file(path: Path, *, gpu_only: bool, number: bool, finder: MakeFinder = FoldFinder) -> int:
    with path.open("rb", buffering=0) as file:
        found = scan_stream(file.readinto, gpu_only=gpu_only, number=number, finder=finder)
        return sum(1 for _ in found)


def _told(stream: io.BytesIO) -> int:
    return sum(1 for _ in scan_stream(stream.readinto))


def _bare(path: Path) -> int:
    buffer, found = bytearray(BLOCK_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            for text in (b"Xid (", b"fallen off the bus"):
                at = buffer.find(text)
                while at >= 0:
                    found += 1
                    at = buffer.find(text, at + 1)
    return found


def _differing(path: Path) -> Figure:
    """The fast way against the reference, which takes every line apart."""
    with path.open("rb") as file:
        sample = b"".join(itertools.islice(file, SAMPLE)) + scan_log.faults(FAULT_LINES)
    lines = (line.decode("utf-8", "surrogateescape") for line in sample.split(b"\n"))
    slow, differing = list(scan_all(lines)), 0
    for finder in (FoldFinder, fastest):
        fast = list(scan_stream(io.BytesIO(sample).readinto, finder=finder))
        differing += abs(len(fast) - len(slow))
        differing += sum(1 for ours, other in zip(fast, slow, strict=False) if ours != other)
    return Figure(
        "scan_differing", differing, "faults", at_most(0), f"of {len(slow):,} of the reference"
    )


def _seconds(work: Callable[[], int]) -> float:
    began = time.process_time()
    if not work():
        raise ValueError("nothing was found: the lines are no faults")
    return time.process_time() - began


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _import_ms() -> float:
    """The best of several fresh processes, with compiled modules, as an installed package has."""
    command = [sys.executable, "-c", _IMPORT]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    each = [
        subprocess.check_output(command, timeout=60, text=True, env=environ)
        for _ in range(_IMPORTS)
    ]
    return 1000 * min(float(text) for text in each)


if __name__ == "__main__":
    sys.exit(run({"scan": measure}))
