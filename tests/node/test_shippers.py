"""helm upgrade: right and wrong values, no gap; and two shippers of one line count it once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.support.chart import NAME, ROOT
from tests.support.controller import eventually, steadily
from tests.support.loglines import ago
from tests.support.node.release import CONTROLLER, NAMESPACE, Release
from tests.support.node.watching import ReadyWatch
from tests.support.otelcol import OtelCollector

OTEL = ROOT / "deploy/shippers/konduktor-otel/values.yaml"
OWN = '{job="konduktor-kmsg"}'


def test_upgrade_that_the_schema_refuses_changes_nothing(release: Release) -> None:
    before = sorted(pod["metadata"]["name"] for pod in release.controllers())
    refused = release.upgrade_without_waiting({"settings": {"policy": {"budget_percent": 500}}})
    assert refused.returncode != 0
    assert "budget_percent" in refused.stderr
    assert sorted(pod["metadata"]["name"] for pod in release.controllers()) == before


def test_upgrade_that_only_the_controller_can_refuse_leaves_the_old_pods_at_work(
    release: Release,
) -> None:
    commands = release.node.commands
    before = {pod["metadata"]["name"] for pod in release.controllers()}
    wrong = {"settings": {"lease": {"duration_s": 5.0, "renew_deadline_s": 9.0}}}
    with ReadyWatch(commands, NAMESPACE, CONTROLLER) as watch:
        done = release.upgrade_without_waiting(wrong)
        assert done.returncode == 0, done.stderr

        def exit_code() -> int:
            for pod in release.controllers():
                for one in pod["status"].get("containerStatuses", []):
                    ended = one["state"].get("terminated") or one["lastState"].get("terminated")
                    if pod["metadata"]["name"] not in before and ended:
                        return int(ended["exitCode"])
            return 0

        assert eventually(exit_code, "the new pod's end") == 2  # wrong settings
        assert release.leader() in before
        pci, _ = release.echo_xid()
        release.until_tainted_for(pci)
        commands.helm("rollback", NAME, "-n", NAMESPACE, "--wait", "--timeout", "60s")
    release.until_ready()
    assert {pod["metadata"]["name"] for pod in release.controllers()} == before
    assert watch.fewest >= 2


@pytest.fixture
def collector(release: Release) -> Iterator[OtelCollector]:
    collector = OtelCollector(
        release.node.folder / "collector",
        loki_url=release.loki.url,
        kubeconfig=release.node.commands.kubeconfig,
        pod_logs=release.node.kubelet.logs,
        node=release.node.name,
    )
    try:
        collector.start()
        yield collector
    finally:
        collector.stop()


def test_upgrade_to_two_shippers_has_no_gap_and_a_line_shipped_twice_counts_once(
    release: Release, collector: OtelCollector
) -> None:
    source = yaml.safe_load(OTEL.read_text(encoding="utf-8"))["settings"]["sources"][0]
    both = {
        "settings": {"sources": [source, {"preset": "kmsg"}]},
        "probe": {"kmsg": {"push": {"enabled": True}}},
    }
    before = {pod["metadata"]["name"] for pod in release.controllers()}
    with ReadyWatch(release.node.commands, NAMESPACE, CONTROLLER) as watch:
        release.upgrade(both, shipper=OTEL)
    assert not before & {pod["metadata"]["name"] for pod in release.controllers()}
    assert watch.looks > 5
    assert watch.fewest >= 2

    leader = release.until_led()
    pci, _ = release.echo_xid()
    shipped = {
        "kmsg": eventually(lambda: _logged_at(release, OWN, pci), f"{pci}, pushed"),
        source["name"]: eventually(
            lambda: _logged_at(release, source["selector"], pci), f"{pci}, by the collector"
        ),
    }
    record = release.until_tainted_for(pci)
    assert record["count"] == 1

    def both_read() -> bool:
        return all(_read_up_to(release, leader, name) >= at for name, at in shipped.items())

    eventually(both_read, lambda: f"both sources read: {shipped} {release.metrics(leader)[-4000:]}")
    steadily(lambda: release.record(pci).get("count") == 1, f"{pci} is counted once", 6)


def _logged_at(release: Release, selector: str, pci: str) -> float:
    """Log time of the only line about a GPU, Unix seconds; 0 while it is not there."""
    found = release.loki.query(f'{selector} |= "{pci}"', ago(120), ago(-60))
    assert len(found) <= 1
    return found[0][0] / 1e9 if found else 0.0


def _read_up_to(release: Release, pod: str, source: str) -> float:
    """Log time of the newest line that a source has given, Unix seconds."""
    start = f'konduktor_health_source_newest_timestamp_seconds{{source="{source}"}} '
    lines = [line for line in release.metrics(pod).splitlines() if line.startswith(start)]
    return float(lines[0].removeprefix(start)) + 1e-3 if lines else 0.0  # it may be rounded
