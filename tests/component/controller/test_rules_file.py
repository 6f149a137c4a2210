"""The controller as a process with a rules file, which changes while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, ago, otel
from tests.support.mounts import Mount

BROKEN = "konduktor_health_rules_broken "
LOADED = 'konduktor_health_rules_loads_total{outcome="ok"}'
FAN = "acme_fan tray4: fan 2 stopped"
NOTHING = "version: 1\n"
RULES = """\
version: 1
kernel:
  - fault_id: kernel/acme-fan
    patterns: ['acme_fan [a-z0-9]+: fan [0-9]+ stopped']
    severity: fatal
    remedy: reboot
    meaning: A fan stopped
    examples: [{text: 'acme_fan tray4: fan 2 stopped'}]
"""


def settings(mount: Mount) -> dict[str, Any]:
    """Three nodes would have a budget of one."""
    return {"rules_file": str(mount.path), "policy": {"budget_enabled": False}}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with ExitStack() as stack:
        made = Embedded(stack, tmp_path)
        yield made
        assert made.api.failures == []


def test_rules_that_change_are_used_without_a_restart_and_wrong_ones_are_not(
    cluster: Embedded, tmp_path: Path
) -> None:
    mount = Mount(tmp_path)
    mount.put(NOTHING)
    with cluster.controller(**settings(mount)) as controller:
        controller.leading()
        assert controller.metric(LOADED) == 1
        mount.put(RULES)
        eventually(lambda: controller.metric(LOADED) == 2, "the rules are taken up")
        cluster.loki.push(STREAM, [otel("gpu-a", FAN, ns=ago(1))])
        eventually(lambda: cluster.tainted() == ["gpu-a"], "tainted by the site's rule")
        mount.put("version: 1\nkernel: {}\n")
        eventually(lambda: controller.metric(BROKEN) == 1, "the file is told to be wrong")
        assert "kernel: a mapping, not a list of rules" in controller.tail()
        assert controller.readiness()[0] == 200
        cluster.loki.push(STREAM, [otel("gpu-b", FAN, ns=ago(1))])
        eventually(lambda: cluster.tainted() == ["gpu-a", "gpu-b"], "the rules before it hold")
        mount.put(RULES)
        eventually(lambda: controller.metric(BROKEN) == 0, "right again")
        assert controller.terminate()[0] == 0


def test_lines_that_no_rule_asked_for_before_are_found_by_reading_again(
    cluster: Embedded, tmp_path: Path
) -> None:
    mount = Mount(tmp_path)
    mount.put(NOTHING)
    with cluster.controller(**settings(mount)) as controller:
        controller.leading()
        cluster.loki.push(STREAM, [otel("gpu-a", FAN, ns=ago(2)), otel("gpu-b", ns=ago(1))])
        eventually(lambda: cluster.tainted() == ["gpu-b"], "the log is read past the line")
        mount.put(RULES)
        eventually(lambda: cluster.tainted() == ["gpu-a", "gpu-b"], "found in the overlap")


def test_a_wrong_file_at_the_start_ends_the_controller(cluster: Embedded, tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    mount.put("version: 7\n")
    controller = cluster.controller(rules_file=str(mount.path)).start()
    assert controller.wait() == 2
    assert "version: not 1 (got 7)" in controller.tail()
    assert "Traceback" not in controller.tail()
