"""A real OpenTelemetry collector ships container logs to a real Loki; the controller reads them."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from konduktor_health.adapters.loki.build import build_specs
from konduktor_health.adapters.loki.client import LokiClient
from konduktor_health.adapters.loki.reader import LokiSource
from konduktor_health.clock import SystemClock
from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from konduktor_health.settings import LokiSettings, Settings
from parsers import tables
from parsers.decode import Decoder
from parsers.record import unwrap
from probes.kmsg.hostclock import HostClocks, PrintkClock
from probes.kmsg.output import LineFormat
from probes.kmsg.record import KernelRecord
from tests.e2e.conftest import Stage
from tests.support.controller import NAMESPACE, cli, eventually, steadily
from tests.support.cri import ContainerLog
from tests.support.daemons import collector_kubeconfig, daemon_log
from tests.support.loglines import LOST, ago
from tests.support.otelcol import CONFIGURATION, OtelCollector
from tests.support.servers import Loki, RealKube

VALUES = CONFIGURATION.with_name("values.yaml")
BOOT_ID = "0123456789abcdef0123456789abcdef"
PROBE = "konduktor-health-probe"


class Site:
    """One node with its daemons' logs and its collector, and a Loki."""

    def __init__(self, kube: RealKube, loki: Loki, folder: Path) -> None:
        self.kube, self.loki, self.folder = kube, loki, folder
        self.node = f"gpu-{secrets.token_hex(4)}"
        self.pod_logs = folder / "pods"
        self.seq = 0
        self._clock = PrintkClock(HostClocks())
        self._format = LineFormat(BOOT_ID, self.node, self._clock)
        kube.create_node(self.node, boot_id=BOOT_ID)
        self.collector = OtelCollector(
            folder / "collector",
            loki_url=loki.url,
            kubeconfig=collector_kubeconfig(kube, folder / "collector.kubeconfig"),
            pod_logs=self.pod_logs,
            node=self.node,
        )

    def kmsg(self) -> ContainerLog:
        """The log of the kmsg container in a new pod."""
        return self._daemon(NAMESPACE, PROBE, "kmsg")

    def dmesg(self) -> ContainerLog:
        """The log of a new pod of Konduktor's own dmesg DaemonSet."""
        return self._daemon("dmesg-logging", "dmesg", "dmesg")

    def _daemon(self, namespace: str, daemonset: str, container: str) -> ContainerLog:
        return daemon_log(
            self.kube,
            self.pod_logs,
            self.node,
            namespace=namespace,
            daemonset=daemonset,
            container=container,
        )

    def line(self, text: str = LOST, *, facility: int = 0) -> str:
        """The line that the forwarder makes of a kernel record logged now."""
        self.seq += 1
        uptime_us = self._clock.uptime_us()
        return self._format.record(KernelRecord(self.seq, uptime_us, facility, 4, text)).text

    def lines(self, count: int) -> list[str]:
        return [self.line(f"nothing to see {number}") for number in range(count)]

    def heartbeat(self) -> str:
        return self._format.heartbeat(self.seq).text

    def shipped(self) -> list[str]:
        """What Loki has of the kmsg container, in the order of log times."""
        found = self.loki.query(f'{{k8s_daemonset_name="{PROBE}"}}', ago(600), ago(-60))
        return [text for _, text, _ in found]

    def sequences(self) -> list[int]:
        """Sequence numbers of the records in Loki."""
        return [json.loads(text)["seq"] for text in self.shipped()]

    def until_complete(self, timeout_s: float = 20.0) -> list[int]:
        """Wait until no record that was made is missing in Loki; what is there."""

        def complete() -> bool:
            return set(self.sequences()) == set(range(1, self.seq + 1))

        def what() -> str:
            missing = sorted(set(range(1, self.seq + 1)) - set(self.sequences()))
            return f"{missing} of {self.seq} missing; {self.collector.log_tail()}"

        eventually(complete, what, timeout_s)
        return self.sequences()

    def entries(self, count: int, *sources: dict[str, Any]) -> list[LogEntry]:
        """What the controller's reader makes of it; at least so many."""
        settings = Settings(sources=sources, watched_namespaces=())
        (wanted,) = build_specs(settings)
        clock, client = SystemClock(), self.client()
        source = LokiSource(
            client,
            wanted,
            settings.reading,
            clock=clock,
            literals=tables.recorded().literals,
            unwrap=unwrap,
        )
        found: list[LogEntry] = []

        def enough() -> bool:
            found.extend(source.poll().entries)
            return len(found) >= count

        try:
            eventually(enough, lambda: f"{count} entries, only {found}", interval_s=0.2)
        finally:
            client.close()
        return found

    def client(self) -> LokiClient:
        return LokiClient(LokiSettings(url=self.loki.url))


@pytest.fixture
def site(
    clean_kube: RealKube,
    loki_factory: Callable[..., Loki],  # its own: what the presets select has no test's label
    tmp_path: Path,
) -> Iterator[Site]:
    site = Site(clean_kube, loki_factory(), tmp_path)
    try:
        yield site
    finally:
        site.collector.kill()


def collector_sources() -> list[dict[str, Any]]:
    """The sources of the values file that comes with the collector's configuration."""
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    return list(values["settings"]["sources"])


def test_lines_of_the_kmsg_container_are_faults_of_their_node(site: Site) -> None:
    log = site.kmsg()
    site.collector.start()
    written = [site.heartbeat(), site.line(), site.line(facility=1)]
    log.write(written)
    written.append(site.line(f"{LOST} {chr(0x1F525) * 3900}"))
    log.write(written[-1:], piece_bytes=4096)  # P P P F, and a character cut through
    eventually(lambda: site.shipped() == written, site.collector.log_tail)

    entries = site.entries(4, *collector_sources())

    decoder = Decoder()
    assert [entry.record.heartbeat for entry in entries] == [True, False, False, False]
    faults = [fault for each in entries for fault in decoder.feed(each.record, each.node_name)]
    stamps = [json.loads(line)["uptime_us"] for line in written[1:]]
    assert [fault.fault_id for fault in faults] == ["xid/79"] * 3
    assert {(fault.node, fault.device, fault.boot_id) for fault in faults} == {
        (site.node, "0000:3b:00", BOOT_ID)
    }
    assert [fault.uptime_us for fault in faults] == stamps
    assert [fault.injected for fault in faults] == [False, True, False]
    assert {entry.trust for entry in entries} == {Trust.KERNEL}


def test_what_loki_indexes_is_what_the_sources_select_by(site: Site) -> None:
    log = site.kmsg()
    site.collector.start()
    log.write([site.line()])
    site.until_complete()

    client = site.client()
    (stream,) = client.series('{k8s_namespace_name=~".+"}', ago(600), ago(-60))
    client.close()

    labels = dict(stream)
    assert labels.pop("k8s_pod_name").startswith(PROBE)
    labels.pop("service_name")  # Loki's own guess, of no use here
    assert labels == {
        "k8s_namespace_name": NAMESPACE,
        "k8s_daemonset_name": PROBE,
        "k8s_container_name": "kmsg",
    }
    ((_, _, everything),) = site.loki.query(f'{{k8s_daemonset_name="{PROBE}"}}', ago(600), ago(-60))
    assert everything["k8s_node_name"] == site.node  # structured metadata: no label above


def test_nothing_is_lost_or_told_twice_by_rotation_and_restart(site: Site) -> None:
    log = site.kmsg()
    site.collector.start()
    log.write(site.lines(200))
    log.rotate()
    log.write(site.lines(50))
    site.until_complete()
    site.collector.stop()
    log.write(site.lines(50))
    log.rotate()  # nobody has read its end
    log.write(site.lines(50))
    site.collector.start()
    log.write(site.lines(50))
    assert site.until_complete() == list(range(1, 401))


def test_lines_wait_until_the_api_server_is_back(site: Site) -> None:
    log = site.kmsg()
    log.write(site.lines(10))
    site.kube.stop_apiserver()
    starting = threading.Thread(target=site.collector.start, daemon=True)
    starting.start()
    any_pod = '{k8s_pod_name=~".+"}'
    steadily(lambda: not site.loki.query(any_pod, ago(60), ago(-60)), "none is sent", 2.0)
    site.kube.start_apiserver()
    starting.join(40)
    assert site.until_complete() == list(range(1, 11))


def test_pod_that_is_gone_before_its_log_was_read_counts_as_ours(site: Site) -> None:
    log = site.kmsg()
    log.write([site.line()])
    site.kube.request(
        "DELETE",
        f"/api/v1/namespaces/{NAMESPACE}/pods/{log.folder.parent.name.split('_')[1]}",
        {"gracePeriodSeconds": 0},
    )
    site.collector.start()
    (entry,) = site.entries(1, *collector_sources())
    assert entry.node_name == site.node


def test_nothing_is_lost_while_loki_is_away_and_the_collector_restarts(site: Site) -> None:
    log = site.kmsg()
    site.collector.start()
    log.write(site.lines(20))
    site.until_complete()
    site.loki.kill()
    log.write(site.lines(300))
    time.sleep(1.0)  # noqa: TID251 - the collector reads, and fails to deliver
    site.collector.kill()
    log.write(site.lines(20))
    site.collector.start()
    log.write(site.lines(20))
    site.loki.start()
    site.until_complete(40)


def test_killed_collector_loses_nothing(site: Site) -> None:
    log = site.kmsg()
    for _ in range(3):
        site.collector.start()
        for _ in range(20):
            log.write(site.lines(10))
            time.sleep(0.02)  # noqa: TID251 - it reads meanwhile
        site.collector.kill()
    site.collector.start()
    site.until_complete()


def test_dmesg_daemonset_of_konduktor_is_read_by_its_preset(
    site: Site, stage_on: Callable[[RealKube, Loki], Stage]
) -> None:
    log = site.dmesg()
    site.collector.start()
    log.write(["[    0.000000] Linux version 6.1.0", f"[ 5000.500000] {LOST}"])
    stage = stage_on(site.kube, site.loki)
    site.kube.create_node("gpu-bystander")
    sources = [{"preset": "konduktor-otel"}]
    stage.controller(sources=sources, reading={"cluster": ""}).leading()
    stage.until_tainted(site.node)
    (record,) = json.loads(stage.annotation(site.node, "ledger") or "")["records"]
    assert (record["fault"], record["count"], record["uptime"]) == ("xid/79", 1, 5_000_500_000)
    assert record["trust"] == "kernel"


@contextmanager
def forwarding(site: Site, log: ContainerLog) -> Iterator[None]:
    """The real forwarder on the real kernel log: it pushes, and its stdout is a container's."""
    command = [sys.executable, "-m", "probes.cli", "kmsg", "--push", site.loki.url]
    command += ["--node", site.node, "--state", str(site.folder / "position.json")]
    forwarder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert forwarder.stdout is not None

    def copy() -> None:
        assert forwarder.stdout is not None
        for line in forwarder.stdout:
            log.write([line.rstrip("\n")])

    runtime = threading.Thread(target=copy, daemon=True)
    runtime.start()
    try:
        yield
    finally:
        forwarder.terminate()
        assert forwarder.wait(10) == 0
        runtime.join(10)
        forwarder.stdout.close()


@pytest.mark.root
def test_record_that_comes_by_push_and_by_collector_is_one_fault(
    site: Site, stage_on: Callable[[RealKube, Loki], Stage]
) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    site.kube.set_boot_id(site.node, boot_id)
    log = site.kmsg()
    site.collector.start()
    stage = stage_on(site.kube, site.loki)
    settings: dict[str, Any] = {
        "sources": [{"name": "push", "preset": "kmsg"}, *collector_sources()],
        "reading": {"cluster": ""},
        "policy": {"repeat_write_interval_s": 0},
    }
    bus = f"0000:{secrets.token_hex(1)}:00"

    def inject() -> None:
        Path("/dev/kmsg").write_text(f"<4>{LOST.replace('0000:3b:00', bus)}\n")

    def copies() -> tuple[int, int]:
        pushed = site.loki.query(f'{{job="konduktor-kmsg"}} |= "{bus}"', ago(600), ago(-60))
        return len(pushed), len([text for text in site.shipped() if bus in text])

    def arrived(*wanted: int) -> None:
        eventually(lambda: copies() == wanted, lambda: f"{wanted} in Loki: {copies()}")

    def record() -> tuple[int, bool]:
        """Count and injected mark of the one record."""
        ledger = json.loads(stage.annotation(site.node, "ledger") or '{"records":[]}')
        ours = [each for each in ledger["records"] if each["device"] == bus] or [{"count": 0}]
        return ours[0]["count"], ours[0].get("injected", False)

    with forwarding(site, log):
        eventually(site.shipped, "the first heartbeat")
        controller = stage.controller(**settings).leading()
        inject()
        stage.until_tainted(site.node)
        arrived(1, 1)
        steadily(lambda: record() == (1, True), "one fault", 1.0)
        inject()
        eventually(lambda: record()[0] == 2, "seen again")
        arrived(2, 2)
        steadily(lambda: record() == (2, True), "one repeat", 1.0)
        controller.kill()
        inject()  # both copies of this one are there before anybody reads
        arrived(3, 3)
    stage.controller(**settings).leading()
    eventually(lambda: record()[0] > 2, "the third is read")
    steadily(lambda: record() == (3, True), "one repeat", 1.0)

    # A collector that has lost its offsets ships everything again, after an operator's reset.
    done = cli("reset", site.node, "--kubeconfig", str(stage.folder / "kubeconfig"))
    assert done.returncode == 0, done.stderr
    site.collector.stop()
    shutil.rmtree(site.collector.storage)
    site.collector.start()
    arrived(3, 6)
    steadily(lambda: stage.tainted() == [], "a replay changes nothing", 1.5)
