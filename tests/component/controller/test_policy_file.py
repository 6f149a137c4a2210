"""The controller as a process with a policy file, which changes while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.controller import eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, ago, otel
from tests.support.mounts import Mount

BROKEN = "konduktor_health_policy_broken "
LOADED = 'konduktor_health_policy_loads_total{outcome="ok"}'
LOST = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, GPU has fallen off the bus."
ONE = "version: 1\nbudget: {max_nodes: 1}\n"
ALL = """\
version: 1
budget: {enabled: false}
rules:
  - {name: odd, match: {when: code == 1}, mode: observe}
"""


def reasons(cluster: Embedded, name: str) -> list[str]:
    """Of the Node's conditions."""
    (node,) = [n for n in cluster.api.store.list("nodes") if n["metadata"]["name"] == name]
    return [each.get("reason", "") for each in node["status"].get("conditions", [])]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with ExitStack() as stack:
        made = Embedded(stack, tmp_path)
        yield made
        assert made.api.failures == []


def test_a_policy_that_changes_frees_what_it_held_without_a_restart(
    cluster: Embedded, tmp_path: Path
) -> None:
    mount = Mount(tmp_path)
    mount.put(ONE)
    with cluster.controller(policy_file=str(mount.path)) as controller:
        controller.leading()
        assert controller.metric(LOADED) == 1
        cluster.loki.push(STREAM, [otel("gpu-a", LOST, ns=ago(2))])
        eventually(lambda: cluster.tainted() == ["gpu-a"], "the budget has one place")
        cluster.loki.push(STREAM, [otel("gpu-b", LOST, ns=ago(1))])
        eventually(lambda: "BudgetExhausted" in reasons(cluster, "gpu-b"), "held")
        mount.put("version: 1\nbudget: {enabled: maybe}\n")
        eventually(lambda: controller.metric(BROKEN) == 1, "the file is told to be wrong")
        assert "2:19: budget.enabled: not true or false" in controller.tail()
        assert controller.readiness()[0] == 200
        assert cluster.tainted() == ["gpu-a"], "the policy before it holds"
        mount.put(ALL)
        eventually(lambda: cluster.tainted() == ["gpu-a", "gpu-b"], "decided again")
        assert controller.metric(BROKEN) == 0


def test_a_wrong_policy_at_the_start_ends_with_2_and_says_where(
    cluster: Embedded, tmp_path: Path
) -> None:
    mount = Mount(tmp_path)
    mount.put("version: 1\nrules: [{name: x, match: {when: code = 1}, mode: act}]\n")
    controller = cluster.controller(policy_file=str(mount.path)).start()
    assert controller.wait() == 2
    assert "2:38: rules[0].match.when: Syntax error" in controller.tail()
    assert "Traceback" not in controller.tail()
