"""What do the pods of an installed chart need, and how soon does ``echo`` end as a taint?

Runs in the namespaces of a real node; ``benchmarks.node`` starts it there, as
``python -m benchmarks.release OUTPUT SECONDS ROUNDS LIMIT``. The kernel log is the host's, so
other programs can write faults into it: a Node that carries another's fault is not measured.
Invariant: what is measured was alive, with the same processes, from the beginning to the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.process import cpu_s, memory_mib
from benchmarks.stage import pause
from benchmarks.watch import Watch, node_marks
from konduktor_health.settings import ReadingSettings
from tests.support.node.cluster import RealNode
from tests.support.node.release import NAMESPACE, PROBE, Release
from tests.support.servers import Loki

IMAGES = Path(__file__).parents[1] / "build" / "images"
LEDGER = "trainy.konduktor.ai/ledger"
_SETTLE_S = 5.0  # the Node's condition and the first checkpoint are written by then
_GIVE_UP_S = 30.0
_MOST_SAID = 900  # of an error that carries logs


@dataclass(frozen=True, slots=True)
class Use:
    """Of one container: MiB at the end of the idle time, the most so far, and CPU time."""

    rss_mib: float
    most_mib: float
    cpu_ms_per_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """``load``: of the machine, 1 minute, when the idle time ended. Times in seconds."""

    leader: Use
    standby: Use
    kmsg: Use
    echo_to_taint_s: Sequence[float]
    kubectl_s: Sequence[float]  # the part of it in which kubectl exec ran
    load: float

    @classmethod
    def read(cls, path: Path) -> Measured:
        """What write() wrote. Raises OSError, ValueError."""
        content = json.loads(path.read_text(encoding="utf-8"))
        uses = {name: Use(**content[name]) for name in ("leader", "standby", "kmsg")}
        return cls(**{**content, **uses})

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def measure(seconds: float, rounds: int) -> Measured:
    """Watch idle pods for so long, then taint and reset so often. Raises when it cannot."""
    with _installed() as release:
        leader = release.until_led()
        containers = _containers(release, leader)
        pause(_SETTLE_S)
        before = {name: _cpu_s(pids) for name, pids in containers.items()}
        began = time.monotonic()
        pause(seconds)
        lasted = time.monotonic() - began
        uses = {
            name: Use(
                sum(memory_mib(pid) for pid in pids),
                sum(memory_mib(pid, "VmHWM") for pid in pids),
                1000 * (_cpu_s(pids) - before[name]) / lasted,
            )
            for name, pids in containers.items()
        }
        load = os.getloadavg()[0]
        if faults := _devices(release):
            raise RuntimeError(f"not idle: faults of {faults} in the shared kernel log")
        times = [_echo_to_taint(release) for _ in range(rounds)]
        if _containers(release, release.until_led()) != containers:
            raise RuntimeError("the measured processes are not those that tainted")
    return Measured(
        **uses,
        echo_to_taint_s=[total for total, _ in times],
        kubectl_s=[kubectl for _, kubectl in times],
        load=load,
    )


@contextmanager
def _installed() -> Iterator[Release]:
    """The chart with its defaults and a kmsg container that pushes by itself, on a clear Node."""
    images = json.loads((IMAGES / "images.json").read_text(encoding="utf-8"))["images"]
    names = [str(image["name"]).rpartition(":")[0] for image in images]
    with ExitStack() as stack:
        node = RealNode(archives=[IMAGES / image["file"] for image in images])
        stack.callback(node.stop)
        loki = Loki(node.folder / "loki", listen="0.0.0.0")
        stack.callback(loki.kill)
        stack.callback(_end_undisturbed)
        node.start()
        loki.start()
        release = Release(node, loki, {name.rpartition("/")[2]: name for name in names})
        release.ensure()
        yield release


def _containers(release: Release, leader: str) -> dict[str, list[int]]:
    """Process ids of the three containers, as this process namespace numbers them."""
    pods = {str(pod["metadata"]["name"]): pod for pod in release.controllers()}
    if len(pods) != 2 or leader not in pods:
        raise RuntimeError(f"a leader and a standby are needed, not {sorted(pods)}")
    standby = next(name for name in pods if name != leader)
    probe = release.node.commands.ready_pods(NAMESPACE, PROBE, 1)[0]
    chosen = {
        "leader": container_id(pods[leader], "controller"),
        "standby": container_id(pods[standby], "controller"),
        "kmsg": container_id(probe, "kmsg"),  # the agent beside it: ``benchmarks.agent``
    }
    return {name: processes_of(found) for name, found in chosen.items()}


def container_id(pod: Mapping[str, Any], name: str) -> str:
    """Of the pod's container of this name, without the runtime's name. Raises ValueError."""
    statuses = pod["status"].get("containerStatuses", [])
    ids = [str(each.get("containerID", "")) for each in statuses if each["name"] == name]
    if len(ids) != 1:
        raise ValueError(f"{pod['metadata']['name']} has {len(ids)} containers {name}, not 1")
    found = ids[0].rpartition("://")[2]
    if not found:
        raise ValueError(f"{pod['metadata']['name']}: its container {name} was not started")
    return found


def processes_of(container: str, proc: Path = Path("/proc")) -> list[int]:
    """All processes in the container's cgroup. Raises LookupError when there is none."""
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            cgroups = (entry / "cgroup").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended
        if container in cgroups:
            found.append(int(entry.name))
    if not found:
        raise LookupError(f"no process of container {container[:12]}")
    return sorted(found)


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(cpu_s(pid) for pid in pids)


def _echo_to_taint(release: Release) -> tuple[float, float]:
    """Seconds from starting kubectl to the taint on a watch, and until kubectl had ended."""
    name = release.node.name
    release.clear()
    pause(random.uniform(0, ReadingSettings().poll_interval_s))
    with Watch(release.node.kube, "/api/v1/nodes", node_marks) as watch:
        pci, began = release.echo_xid()
        echoed = time.monotonic()
        seen = watch.times([f"taint {name}"], _GIVE_UP_S)[0]
    release.until_tainted_for(pci)
    if len(faults := _devices(release)) != 1:
        raise RuntimeError(f"faults of others in the shared kernel log: {faults}, ours is {pci}")
    return seen - began, echoed - began


def _devices(release: Release) -> list[str]:
    """Devices with an open fault on the Node."""
    notes = release.node.kube.node(release.node.name)["metadata"].get("annotations", {})
    records = json.loads(notes[LEDGER])["records"] if LEDGER in notes else []
    return [str(record["device"]) for record in records]


def _end_in_time(limit_s: float) -> None:
    """End by an exception, so that everything is removed: SIGTERM, deadline, parent gone."""

    def told(number: int, _: FrameType | None) -> None:
        raise TimeoutError(f"ended by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGALRM, told)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    os.read(0, 1)  # standard input: the parent holds the other end and writes nothing
    os.kill(os.getpid(), signal.SIGTERM)


def _end_undisturbed() -> None:
    """From now on nothing interrupts: whoever started this process waits, and then kills it."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main(output: str, seconds: str, rounds: str, limit_s: str) -> None:
    """In the namespaces: measure and write the result, or end with one line that says why not."""
    _end_in_time(float(limit_s))
    try:
        measure(float(seconds), int(rounds)).write(Path(output))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {str(error)[:_MOST_SAID]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
