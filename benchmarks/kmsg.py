"""How much memory and CPU does the kernel-log forwarder need on a node?

It follows this machine's kernel log from the ring's beginning and pushes to a real Loki.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.command import Options, run
from benchmarks.figures import Figure
from benchmarks.process import cpu_s, memory_mib
from benchmarks.stage import pause
from tests.support.servers import Loki

DEVICE = Path("/dev/kmsg")
SECONDS = 10.0
QUICK_SECONDS = 4.0


def measure(options: Options) -> Iterable[Figure]:
    """VmRSS and CPU time after some seconds; nothing is measured where the log is not readable."""
    try:
        DEVICE.open("rb").close()
    except OSError as error:
        yield Figure("kmsg_vmrss", None, "MiB", note=f"kernel log: {error.strerror}")
        return
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with tempfile.TemporaryDirectory(prefix="konduktor-bench-") as folder:
        loki = Loki(Path(folder))
        loki.start()
        try:
            rss, cpu = _forward(loki.url, seconds)
        finally:
            loki.stop()
    yield Figure("kmsg_vmrss", rss, "MiB", note=f"after {seconds:g} s, pushing to Loki")
    yield Figure("kmsg_cpu", cpu, "s", note="CPU time, start and the whole ring included")


def _forward(loki: str, seconds: float) -> tuple[float, float]:
    command = [sys.executable, "-m", "probes.cli", "kmsg", "--from-start", "--no-stdout"]
    with subprocess.Popen(
        [*command, "--node", "bench", "--push", loki],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        pause(seconds)
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
            raise RuntimeError(f"konduktor-probe kmsg ended with {process.returncode}: {said}")
        try:
            return memory_mib(process.pid), cpu_s(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    sys.exit(run({"kmsg": measure}))
