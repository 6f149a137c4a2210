"""What does a large fleet cost in memory, and what is written while Loki is down?

``fleet_memory``: a controller's VmRSS with 1,000 and with 10,000 Nodes of about 14 KB on the
embedded API, and with 10,000 on a real kube-apiserver. ``outage``: the embedded Loki ends while a
controller watches 10,000 Nodes, eight of them in trouble; counted is what the API server was asked
to write.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.large_node import large_node
from benchmarks.process import memory_mib, pid_of
from benchmarks.stage import pause, stage
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.loki import LokiServer
from tests.support.controller import NAMESPACE, ControllerProcess, eventually
from tests.support.loglines import STREAM, otel
from tests.support.real_kube import RealKube

SMALL, LARGE = 1_000, 10_000
QUICK_SMALL, QUICK_LARGE = 500, 2_000
OUTAGE_S, QUICK_OUTAGE_S = 120.0, 20.0
TROUBLED = 8
_SETTLE_S = 10.0  # lists are freed, pages given back
_LISTED_S = 180.0


def measure_memory(options: Options) -> Iterable[Figure]:
    """The slope on the embedded API, the whole on the real one."""
    small, large = _sizes(options)
    rss: dict[int, float] = {}
    for count in (small, large):
        with _embedded(count) as (_, _, process):
            pause(_SETTLE_S)
            rss[count] = memory_mib(pid_of(process))
    slope = 1024 * (rss[large] - rss[small]) / (large - small)
    about = f"{rss[small]:.1f} MiB with {small:,} nodes, {rss[large]:.1f} with {large:,}"
    yield Figure("fleet_memory_per_node", slope, "KiB", at_most(4), about)
    with stage() as on:
        _fill(on.kube, large)
        process = on.controller({})
        _await_nodes(process, large)
        pause(_SETTLE_S)
        pid = pid_of(process)
        most = memory_mib(pid, "VmHWM")
        note = f"{large:,} nodes, real kube-apiserver; highest so far {most:.0f} MiB"
        yield Figure("fleet_memory", memory_mib(pid), "MiB", at_most(180), note)


def measure_outage(options: Options) -> Iterable[Figure]:
    """Writes of Nodes, and of anything but the Lease."""
    seconds = options.seconds or (QUICK_OUTAGE_S if options.quick else OUTAGE_S)
    _, large = _sizes(options)
    with _embedded(large, troubled=TROUBLED) as (api, loki, process):
        pause(_SETTLE_S)
        api.requests.clear()
        loki.stop()
        pause(seconds)
        noticed = process.metric('konduktor_health_source_ok{source="konduktor-otel"}') == 0
        writes = api.requests.writes()
    if not noticed:
        raise RuntimeError("the controller has not noticed that Loki is down")
    nodes = sum("/nodes/" in each.path for each in writes)
    other = sum("/leases/" not in each.path and "/nodes/" not in each.path for each in writes)
    about = f"{seconds:g} s without Loki, {large:,} nodes, {TROUBLED} in trouble"
    yield Figure("outage_node_writes", nodes, "requests", at_most(0), about)
    yield Figure("outage_other_writes", other, "requests", note="beside the Lease's")


def _sizes(options: Options) -> tuple[int, int]:
    return (QUICK_SMALL, QUICK_LARGE) if options.quick else (SMALL, options.nodes or LARGE)


@contextmanager
def _embedded(
    count: int, troubled: int = 0
) -> Iterator[tuple[KubeApi, LokiServer, ControllerProcess]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="konduktor-bench-")))
        api = KubeApi()
        api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        names = [f"gpu-node-{number:05d}" for number in range(count)]
        for name in names:
            api.store.create("nodes", large_node(name))
        api.start()
        stack.callback(api.stop)
        loki = stack.enter_context(LokiServer())
        if troubled:
            loki.push(STREAM, [otel(name) for name in names[:troubled]])
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig(), encoding="utf-8")
        process = ControllerProcess(
            folder,
            kubeconfig=kubeconfig,
            loki=loki.url,
            settings={
                "reading": {"poll_interval_s": 2.0},
                "cluster": {"timeout_s": 5.0},
                "lease": {"duration_s": 15.0, "renew_deadline_s": 10.0, "retry_s": 2.0},
                "policy": {"surge_enabled": False},
            },
        )
        stack.enter_context(process)
        _await_nodes(process, count)
        process.leading()
        if troubled:
            eventually(
                lambda: process.metric("konduktor_health_conditions_written_total") >= troubled,
                lambda: f"{troubled} nodes told: {process.tail()}",
                60.0,
            )
        yield api, loki, process


def _await_nodes(process: ControllerProcess, count: int) -> None:
    eventually(
        lambda: process.metric("konduktor_health_managed_nodes") >= count,
        lambda: f"{count} nodes: {process.tail()}",
        _LISTED_S,
        0.5,
    )


def _fill(kube: RealKube, count: int) -> None:
    names = [f"gpu-node-{number:05d}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda name: kube.create_node(large_node(name)), names):
            pass


if __name__ == "__main__":
    sys.exit(run({"fleet_memory": measure_memory, "outage": measure_outage}))
