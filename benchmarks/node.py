"""How large are the images, and what do the pods need on a real node?

A real kubelet runs the chart's pods from the images of this checkout. The node needs namespaces
of its own, so ``benchmarks.release`` measures there, in another process; root is needed. What
cannot be measured here is a figure without a value, and its note says why.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import Options, run
from benchmarks.figures import Bar, Figure, at_most
from benchmarks.release import IMAGES, Measured, Use
from tests.servers import debs
from tests.support.processes import missing_binaries

SECONDS = 180.0
QUICK_SECONDS = 20.0
ROUNDS = 10
QUICK_ROUNDS = 3
CONTROLLER = at_most(120)  # MiB
KMSG = at_most(45)
_ROOT = Path(__file__).parents[1]
_BUILD_LIMIT_S = 900.0
_START_LIMIT_S = 240.0  # the node, the chart, and the end of both
_ROUND_LIMIT_S = 45.0
_CLEAN_UP_S = 60.0
_MIB = 1024 * 1024
_SIZES = {"konduktor-health": "controller", "konduktor-health-probe": "probe"}


def measure(options: Options) -> Iterable[Figure]:
    """Sizes of both images, memory and CPU time of the pods, seconds from echo to taint."""
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if reason := _missing() or _build_images():
        yield from sizes([], reason)
        yield from pods(None, seconds, reason)
        return
    images = json.loads((IMAGES / "images.json").read_text(encoding="utf-8"))["images"]
    yield from sizes(images)
    yield from pods(_measured(seconds, rounds), seconds)


def sizes(images: Sequence[Mapping[str, Any]], reason: str = "") -> Iterable[Figure]:
    """Of each image, as images.json says; without ``images`` the ``reason`` why."""
    found = {str(image["name"]).rpartition(":")[0].rpartition("/")[2]: image for image in images}
    for name, short in _SIZES.items():
        for kind in ("archive", "unpacked"):
            image = found.get(name)
            value = None if image is None else int(image[f"{kind}_bytes"]) / _MIB
            note = f"base: {image['base']}" if image is not None else reason
            yield Figure(f"image_{short}_{kind}", value, "MiB", note=note)


def pods(measured: Measured | None, seconds: float, reason: str = "") -> Iterable[Figure]:
    """Of idle pods and of the fault that proved them alive; the ``reason`` when not measured."""
    uses: list[tuple[str, Use | None, Bar, str]] = [
        ("controller", measured.leader if measured else None, CONTROLLER, "leads"),
        ("standby", measured.standby if measured else None, CONTROLLER, "stands by"),
        ("kmsg", measured.kmsg if measured else None, KMSG, "pushes to Loki"),
    ]
    for name, use, bar, what in uses:
        rss = use.rss_mib if use else None
        note = f"{what}, idle; highest so far {use.most_mib:.0f} MiB" if use else reason
        yield Figure(f"node_{name}_vmrss", rss, "MiB", bar, note)
    for name, use, _, _ in uses:
        cpu = use.cpu_ms_per_s if use else None
        yield Figure(f"node_{name}_cpu", cpu, "ms per s", note=_span(measured, seconds) or reason)
    yield from _taints(measured, reason)


def finish(command: Sequence[str], log: Path, limit_s: float) -> None:
    """Run to the end, in a process group of its own. RuntimeError: failed, or not in time.

    Its standard input ends when this process does, however that ends.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done within {limit_s:g} s: {_end_of(log)}") from None
        finally:
            _end(process)
            if process.stdin is not None:
                process.stdin.close()
    if code:
        raise RuntimeError(f"exit code {code}: {_end_of(log)}")


def _span(measured: Measured | None, seconds: float) -> str:
    return f"over {seconds:g} s; load at their end {measured.load:.1f}" if measured else ""


def _taints(measured: Measured | None, reason: str) -> Iterable[Figure]:
    if measured is None:
        yield Figure("node_echo_to_taint", None, "s", note=reason)
        yield Figure("node_echo_to_taint_worst", None, "s", note=reason)
        return
    times, kubectl = measured.echo_to_taint_s, statistics.median(measured.kubectl_s)
    note = f"median of {len(times)}; kubectl exec took {kubectl:.2f} s of it"
    yield Figure("node_echo_to_taint", statistics.median(times), "s", note=note)
    yield Figure("node_echo_to_taint_worst", max(times), "s")


def _missing() -> str:
    """Why a real node cannot run here; "" when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if programs := [name for name in ("unshare", "ip", "buildah") if shutil.which(name) is None]:
        return f"not installed: {', '.join(programs)} (make packages)"
    if missing := missing_binaries("node"):
        return f"not built: {', '.join(missing)} (make servers)"
    return "" if debs.find() else "no Debian packages of the node (make debs)"


def _build_images() -> str:
    """Build what is not up to date; "" or why that failed."""
    command = [sys.executable, str(_ROOT / "deploy" / "docker" / "build.py"), "--plain"]
    with tempfile.TemporaryDirectory(prefix="konduktor-bench-") as folder:
        try:
            finish(command, Path(folder, "log"), _BUILD_LIMIT_S)
        except RuntimeError as error:
            return f"no images: {error}"
    return ""


def _measured(seconds: float, rounds: int) -> Measured:
    """Run ``benchmarks.release`` in namespaces. Raises RuntimeError with the end of what it said.

    Always in new ones: a process that is in a node's namespaces may have a node there already.
    """
    limit_s = _START_LIMIT_S + seconds + rounds * _ROUND_LIMIT_S
    with tempfile.TemporaryDirectory(prefix="konduktor-bench-") as folder:
        output = Path(folder, "measured.json")
        script = str(_ROOT / "tests" / "servers" / "node" / "namespaces.sh")
        inside = [str(output), str(seconds), str(rounds), str(limit_s)]
        command = [script, sys.executable, "-m", "benchmarks.release", *inside]
        finish(command, Path(folder, "log"), limit_s + _CLEAN_UP_S)
        return Measured.read(output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, upon which it removes what it made; SIGKILL when that takes too long."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            process.wait(_CLEAN_UP_S)
        except subprocess.TimeoutExpired:
            continue
        return


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-12:])[-900:]


if __name__ == "__main__":
    sys.exit(run({"node": measure}))
