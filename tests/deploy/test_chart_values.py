"""A mistake in the values is refused before anything is sent, in words that name the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import Helm, one, pod_of

pytestmark = pytest.mark.e2e


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("replicaCount", 3, ["'replicaCount' not allowed"]),
        ("settings.polcy", {}, ["/settings", "'polcy' not allowed"]),
        ("settings.policy.budget_percent", 200, ["/settings/policy/budget_percent", "100"]),
        ("settings.policy.injection", "maybe", ["/settings/policy/injection", "'report'"]),
        (
            "settings.sources",
            [{"preset": "promtail"}],
            ["/settings/sources/0/preset", "'promtail-journal'"],
        ),
        ("settings.debug", "yes", ["/settings/debug", "want boolean"]),
        ("settings.http.port", 0, ["/settings/http/port", "want 1"]),
        (
            "settings.cluster.node_selector",
            "pool in (a, b)",
            ["settings.cluster.node_selector", '"pool in (a" is not an equality term'],
        ),
        ("controller.replicas", 0, ["/controller/replicas", "want 1"]),
        ("controller.replicas", "two", ["/controller/replicas", "want integer"]),
        ("controller.image.digest", "0123abcd", ["/controller/image/digest", "sha256:"]),
        ("controller.image.pullPolicy", "Allways", ["/controller/image/pullPolicy", "'Always'"]),
        (
            "controller.tolerations",
            [{"key": "a", "operator": "Exist"}],
            ["/controller/tolerations/0/operator", "'Exists'"],
        ),
        (
            "controller.podLabels",
            {"app.kubernetes.io/name": "mine"},
            ["/controller/podLabels/app.kubernetes.io~1name"],
        ),
        ("lokiAccess.tokenSecret", "loki-token", ["/lokiAccess/tokenSecret", "want object"]),
        ("controller", None, ["missing property 'controller'"]),
        ("probe.kmsg", None, ["/probe", "missing property 'kmsg'"]),
        ("lokiAccess.ca", None, ["/lokiAccess", "missing property 'ca'"]),
        ("settings.loki", None, ["/settings/loki", "want object"]),
        ("probe.nodes", "gpus", ["/probe/nodes", "'gpu', 'all'"]),
        ("probe.maxUnavailable", "0%", ["/probe/maxUnavailable", "'0%'"]),
        ("probe.stateDirectory", "konduktor", ["/probe/stateDirectory", "'konduktor'"]),
        ("probe.kmsg.push.url", "loki:3100", ["/probe/kmsg/push/url", "'loki:3100'", "https?://"]),
        ("probe.kmsg.push.labels", {"a-b": "c"}, ["/probe/kmsg/push/labels", "a-b"]),
        ("fullnameOverride", "gpu.health", ["/fullnameOverride", "'gpu.health'"]),
        ("imageRegistry", "https://registry", ["/imageRegistry", "'https://registry'"]),
        ("lokiAccess.tokenSecret.key", "a: b", ["/lokiAccess/tokenSecret/key", "'a: b'"]),
        ("settings.loki.url", "loki:3100", ["/settings/loki/url", "'loki:3100'", "https?://"]),
        ("settings.loki.tenant", "a\nb", ["/settings/loki/tenant"]),
        ("settings.cluster.key_prefix", "a: b", ["/settings/cluster/key_prefix", "'a: b'"]),
        ("settings.reading.cluster_label", "a-b", ["/settings/reading/cluster_label", "'a-b'"]),
        ("settings.reading.cluster_label", "node", ["/settings/reading/cluster_label"]),
        ("settings.shard", {"label": "a/b", "value": "A100"}, ["/settings/shard/value", "'A100'"]),
        ("settings.shard", {"value": "a"}, ['"a" is the value of no label', "shard.label"]),
        ("controller.minReadySeconds", 700, ["/controller/minReadySeconds", "want 300"]),
        ("controller.podAnnotations", {"checksum/settings": "x"}, ["checksum~1settings"]),
        ("probe.stateDirectory", "/var/lib/../x", ["/probe/stateDirectory", "'/var/lib/../x'"]),
        ("probe.kmsg.push.labels", {"node": "x"}, ["/probe/kmsg/push/labels/node"]),
        # what a schema cannot explain
        (
            "settings.loki.password",
            "hunter2",
            ["settings.loki.password", "lokiAccess.passwordSecret.name"],
        ),
        (
            "settings.loki.headers",
            {"Authorization": "Bearer hunter2"},
            ["settings.loki.headers.Authorization", "lokiAccess.headersSecret.name"],
        ),
        (
            "settings.loki.url",
            "https://me:hunter2@loki.example.com",
            ["settings.loki.url", "lokiAccess.passwordSecret.name"],
        ),
        (
            "controller.extraEnv",
            [{"name": "KONDUKTOR_HEALTH_LOKI__PASSWORD", "value": "hunter2"}],
            ["controller.extraEnv", "lokiAccess.passwordSecret.name"],
        ),
        ("settings.http.host", "127.0.0.1", ["settings.http.host", "the kubelet's probes"]),
        (
            "priorityClasses",
            {"controller": {"name": "high"}, "probe": {"name": "high"}},
            ["priorityClasses: two classes of one name"],
        ),
        (
            "probe.kmsg",
            {"stdout": False, "push": {"enabled": False}},
            ["probe.kmsg", "the kernel log goes nowhere"],
        ),
        (
            "lokiAccess.ca",
            {"configMap": "a", "secret": "b"},
            ["lokiAccess.ca", "exclude each other"],
        ),
        (
            "rules",
            {"content": "version: 1", "existingConfigMap": "mine"},
            ["rules", "exclude each other"],
        ),
        (
            "policy",
            {"content": "version: 1", "existingConfigMap": "mine"},
            ["policy", "exclude each other"],
        ),
        (
            "metrics",
            {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}},
            ["metrics.serviceMonitor.enabled needs metrics.service.enabled"],
        ),
    ],
)
def test_a_mistake_is_named(helm: Helm, path: str, value: Any, says: list[str]) -> None:
    message = helm.refused(nested(path, value))
    for text in says:
        assert text in message
    assert "hunter2" not in message


def test_two_ways_to_give_a_token_are_refused(helm: Helm) -> None:
    message = helm.refused(
        {
            "settings": {"loki": {"token_file": "/token"}},
            "lokiAccess": {"tokenSecret": {"name": "loki"}},
        }
    )
    assert "settings.loki.token_file and lokiAccess.tokenSecret.name: give one of them" in message


def test_no_port_and_something_that_scrapes_it_is_refused(helm: Helm) -> None:
    message = helm.refused(
        {"settings": {"http": {"enabled": False}}, "metrics": {"scrapeAnnotations": True}}
    )
    assert "settings.http.enabled is false" in message


def test_a_chart_that_includes_this_one_may_pass_its_globals(helm: Helm) -> None:
    assert helm.template({"global": {"imageRegistry": "elsewhere.example.com"}})


def test_a_list_or_mapping_is_cleared_by_null(helm: Helm) -> None:
    """`settings:` with every line below it commented out is null, too."""
    cleared = {
        "settings": None,
        "gpuNodeLabels": None,
        "labels": None,
        "imagePullSecrets": None,
        "controller": {"nodeSelector": None, "tolerations": None, "resources": None},
        "probe": {
            "nodeSelector": None,
            "tolerations": None,
            "affinity": None,
            "kmsg": {"extraEnv": None, "resources": None, "push": {"labels": None}},
        },
        "networkPolicy": {"metricsFrom": None, "restrictEgress": True, "extraEgress": None},
    }
    found = helm.template(cleared)
    settings = one(found, "ConfigMap", "konduktor-health-settings")["data"]["settings.yaml"]
    assert set(yaml.safe_load(settings)) == {"probes"}  # which the chart fills in by itself
    pod = pod_of(one(found, "Deployment"))
    assert "nodeSelector" not in pod
    assert [each["key"] for each in pod["tolerations"]] == ["trainy.konduktor.ai/faulty"]
