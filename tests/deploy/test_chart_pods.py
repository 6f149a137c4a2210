"""The pods that the chart renders: hardened, placed, and started with what the programs take."""

from __future__ import annotations

from pathlib import Path

import pytest

from konduktor_health.adapters.kube.exec import KMSG_SELECTOR
from konduktor_health.adapters.loki import build_specs
from konduktor_health.runtime.shutdown import DEADLINE_S
from konduktor_health.settings import LeaseSettings
from parsers.fault import Trust
from probes.kmsg.command import FLUSH_S
from tests.support.chart import NAME, PROBE, ROOT, Helm, one, pod_of
from tests.support.chart_programs import (
    agent_options,
    container_of,
    kmsg_options,
    settings_of,
)
from tests.support.chart_values import EVERYTHING

pytestmark = pytest.mark.e2e
OUR_TAINT = {"key": "trainy.konduktor.ai/faulty", "operator": "Exists"}


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


# ---------------------------------------------------------------- pods


def test_the_controller_pod_is_hardened(helm: Helm) -> None:
    pod = pod_of(one(helm.template(), "Deployment"))
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all("hostPath" not in volume for volume in pod["volumes"])


def test_the_forwarder_has_no_token_and_nothing_of_the_host_but_the_device(helm: Helm) -> None:
    found = helm.template({"probe": {"agent": {"enabled": False}}})
    pod = pod_of(one(found, "DaemonSet", PROBE))
    assert pod["automountServiceAccountToken"] is False
    assert one(found, "ServiceAccount", PROBE)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    security = pod["containers"][0]["securityContext"]
    assert security["capabilities"] == {
        "drop": ["ALL"],
        "add": ["SYSLOG", "CHOWN", "SETGID", "SETPCAP", "SETUID"],
    }
    assert security["readOnlyRootFilesystem"] is True
    assert [volume["hostPath"]["path"] for volume in pod["volumes"]] == [
        "/var/lib/konduktor-health/kmsg"
    ]
    bound = {
        subject["name"]
        for each in helm.template({"rbac": {"operatorRole": {"create": True}}})
        for subject in each.get("subjects", [])
    }
    assert bound == {NAME}  # not the probe's


def test_the_agent_sees_the_host_and_can_change_nothing_of_it_but_its_state(helm: Helm) -> None:
    pod = pod_of(one(helm.template(), "DaemonSet", PROBE))
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    agent = container_of(one(helm.template(), "DaemonSet", PROBE), "agent")
    assert agent["securityContext"]["readOnlyRootFilesystem"] is True
    of_host = {each["name"] for each in pod["volumes"] if "hostPath" in each}
    writable = {each["name"] for each in agent["volumeMounts"] if not each.get("readOnly")}
    assert writable & of_host == {"agent-state"}
    seen = {each["mountPath"] for each in agent["volumeMounts"] if each["name"] in of_host}
    assert seen == {"/host/proc", "/var/lib/konduktor-health/agent"}
    kmsg = container_of(one(helm.template(), "DaemonSet", PROBE), "kmsg")
    assert [each["name"] for each in kmsg["volumeMounts"] if each["name"] in of_host] == ["state"]


def test_every_option_of_the_agent_is_one_that_it_knows(helm: Helm) -> None:
    options = agent_options(helm.template(EVERYTHING))
    assert options.listen == ":9999"
    assert options.root == "/host/proc/1/root"
    assert (options.light_interval, options.hourly_interval) == ("30", "600")
    assert options.invasive_interval == "0"
    assert options.state == "/var/lib/gpu-health/agent"
    assert options.compat_autopilot is True
    assert options.log_level == "debug"
    pod = pod_of(one(helm.template(EVERYTHING), "DaemonSet", "gpu-nodes-probe"))
    sources = {each["name"]: each.get("configMap", {}) for each in pod["volumes"]}
    assert sources["keys"] == {"name": "our-keys", "optional": True}
    assert sources["user-checks"]["name"] == "our-checks"
    assert pod["runtimeClassName"] == "nvidia"


def test_the_kmsg_pod_is_found_by_inject(helm: Helm) -> None:
    daemon_set = one(helm.template({"probe": {"podLabels": {"a": "b"}}}), "DaemonSet", PROBE)
    label, _, value = KMSG_SELECTOR.partition("=")
    assert daemon_set["spec"]["template"]["metadata"]["labels"][label] == value
    assert pod_of(daemon_set)["containers"][0]["name"] == "kmsg"


def test_both_pods_tolerate_our_taint_whatever_else_is_said(helm: Helm) -> None:
    for given, expected in (
        ({}, OUR_TAINT),
        (
            {
                "settings": {"cluster": {"key_prefix": "gpu.example.com"}},
                "controller": {"tolerations": []},
                "probe": {"tolerations": []},
            },
            {"key": "gpu.example.com/faulty", "operator": "Exists"},
        ),
    ):
        found = helm.template(given)
        for kind, name in (("Deployment", NAME), ("DaemonSet", PROBE)):
            assert expected in pod_of(one(found, kind, name))["tolerations"]


def test_the_probe_runs_on_managed_nodes(helm: Helm) -> None:
    found = helm.template(
        {
            "settings": {"cluster": {"node_selector": "pool=gpu, !spot,tier!=test,x==y,gpu"}},
            "gpuNodeLabels": ["example.com/gpu"],
        }
    )
    affinity = pod_of(one(found, "DaemonSet", PROBE))["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [
        {
            "matchExpressions": [
                {"key": "pool", "operator": "In", "values": ["gpu"]},
                {"key": "spot", "operator": "DoesNotExist"},
                {"key": "tier", "operator": "NotIn", "values": ["test"]},
                {"key": "x", "operator": "In", "values": ["y"]},
                {"key": "gpu", "operator": "Exists"},
            ]
        },
        {"matchExpressions": [{"key": "example.com/gpu", "operator": "Exists"}]},
    ]
    assert "affinity" not in pod_of(
        one(helm.template({"probe": {"nodes": "all"}}), "DaemonSet", PROBE)
    )


def test_pods_have_the_time_that_their_programs_take_to_end(helm: Helm) -> None:
    found = helm.template()
    assert pod_of(one(found, "Deployment"))["terminationGracePeriodSeconds"] > DEADLINE_S
    assert pod_of(one(found, "DaemonSet", PROBE))["terminationGracePeriodSeconds"] > FLUSH_S


def test_a_new_leader_that_cannot_read_is_seen_before_the_roll_goes_on(helm: Helm) -> None:
    deployment = one(helm.template(), "Deployment")
    probe = pod_of(deployment)["containers"][0]["readinessProbe"]
    seen_s = probe["periodSeconds"] * probe["failureThreshold"] + LeaseSettings().retry_s
    assert deployment["spec"]["minReadySeconds"] > seen_s


# ---------------------------------------------------------------- the forwarder


def test_the_forwarder_pushes_where_the_controller_reads(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "settings": {
            "loki": {"url": "http://loki.example.com:3100", "tenant": "east: #1"},
            "reading": {"cluster": "east", "cluster_label": "site"},
        },
        "probe": {"kmsg": {"push": {"labels": {"rack": "a 1"}}}},
    }
    options = kmsg_options(helm.template(given), monkeypatch)
    assert options.node == "gpu-1"
    assert options.state == "/var/lib/konduktor-health/kmsg/position.json"
    assert options.stdout
    assert options.push is not None
    assert options.push.url == "http://loki.example.com:3100"
    assert options.push.tenant == "east: #1"
    assert options.push.labels == {"rack": "a 1", "site": "east"}


def test_every_option_of_the_forwarder_is_one_that_it_knows(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the files are those of the pod
    monkeypatch.setattr("probes.kmsg.loki.PushTarget", lambda *_: None)
    options = kmsg_options(helm.template(EVERYTHING), monkeypatch)
    assert options.heartbeat_s == 30
    assert options.stdout is False
    assert options.push is not None
    assert options.push.token_file == "/etc/loki-token/token"
    assert options.push.ca_file == "/etc/loki-ca/ca.crt"
    assert options.push.buffer_bytes == 16 * 1024 * 1024


# ---------------------------------------------------------------- shippers


def test_a_cluster_without_a_shipper_has_its_own_push(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = helm.template(files=[ROOT / "deploy/shippers/none/values.yaml"])
    options = kmsg_options(found, monkeypatch)
    settings = settings_of(found, tmp_path)
    spec = build_specs(settings)[0]
    assert options.push is not None
    assert (options.push.url, options.stdout) == (settings.loki.url, False)
    assert (spec.selector, spec.trust) == ('{job="konduktor-kmsg"}', Trust.KERNEL)
    assert not settings.sources[0].optional


def test_the_otel_stack_ships_what_kmsg_prints(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = helm.template(files=[ROOT / "deploy/shippers/konduktor-otel/values.yaml"])
    options = kmsg_options(found, monkeypatch)
    assert (options.push, options.stdout) == (None, True)
    spec, *others = build_specs(settings_of(found, tmp_path))
    assert all(other.pod for other in others)
    daemon_set = one(found, "DaemonSet", PROBE)
    for label, value in (
        ("k8s_namespace_name", daemon_set["metadata"]["namespace"]),
        ("k8s_daemonset_name", daemon_set["metadata"]["name"]),
        ("k8s_container_name", pod_of(daemon_set)["containers"][0]["name"]),
    ):
        assert f'{label}="{value}"' in spec.selector
    assert (spec.trust, spec.node_from[0]) == (Trust.KERNEL, "metadata:k8s_node_name")
