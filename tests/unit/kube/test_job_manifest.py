"""A Job that tests a node reserves, tolerates, ends and can do what it has to, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.kube.job_manifest import Shape, job_manifest, job_name
from konduktor_health.jobs import WantedJob
from konduktor_health.model import Keys
from konduktor_health.settings import load
from konduktor_health.treatment import INVASIVE_CHECKS
from probes.check import Tier
from probes.cli import main as probe
from probes.registry import CHECKS

SHAPE = Shape(
    namespace="health",
    image="none.invalid/probe:1",
    requests={"cpu": "1"},
    limits={"memory": "2Gi"},
)
WANTED = WantedJob("gpu-a", "uid-a", "job-1", ("invasive",), {"nvidia.com/gpu": 8})


def pod(wanted: WantedJob = WANTED, shape: Shape = SHAPE) -> dict[str, Any]:
    return dict(job_manifest(wanted, shape)["spec"]["template"]["spec"])


def container(wanted: WantedJob = WANTED, shape: Shape = SHAPE) -> dict[str, Any]:
    (only,) = pod(wanted, shape)["containers"]
    return dict(only)


def test_it_reserves_all_gpus_through_the_scheduler_on_that_node() -> None:
    spec = pod()
    assert "nodeName" not in spec
    assert spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gpu-a"]}]}
        ]
    }
    resources = container()["resources"]
    assert resources["limits"] == {"memory": "2Gi", "nvidia.com/gpu": "8"}
    assert resources["requests"] == {"cpu": "1", "nvidia.com/gpu": "8"}


def test_it_tolerates_our_taint_and_those_that_are_named_and_no_cordon() -> None:
    keys = Keys(prefix="example.com")
    spec = pod(shape=replace(SHAPE, keys=keys, tolerations=("nvidia.com/gpu",)))
    assert spec["tolerations"] == [
        {"key": "example.com/faulty", "operator": "Exists"},
        {"key": "nvidia.com/gpu", "operator": "Exists"},
    ]


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_one_name_for_each_node_uid_and_one_that_kubernetes_takes(one: str, other: str) -> None:
    assert (job_name(one) == job_name(other)) == (one == other)
    assert len(job_name(one)) <= 52  # the pod's name has more behind it
    assert job_name(one).replace("-", "").isalnum()


def test_it_ends_is_tried_once_and_goes_away() -> None:
    spec = job_manifest(WANTED, replace(SHAPE, longest_s=120, ttl_s=5))["spec"]
    ends = ("backoffLimit", "completions", "parallelism", "activeDeadlineSeconds")
    assert [spec[key] for key in ends] == [0, 1, 1, 120]
    assert spec["ttlSecondsAfterFinished"] == 5
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_it_has_no_credentials_no_capability_and_of_the_host_three_directories() -> None:
    spec, own = pod(), container()
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    security = own["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert "privileged" not in security
    host = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    assert host == {
        "agent": "/var/lib/konduktor-health/agent",
        "delivered": "/var/lib/konduktor-health/agent/delivered",
        "jobs": "/var/lib/konduktor-health/jobs",
    }
    writable = {m["name"] for m in own["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"delivered", "jobs", "scratch", "shm"}


def test_privileged_is_said_only_where_the_site_wants_it() -> None:
    security = container(shape=replace(SHAPE, privileged=True))["securityContext"]
    assert security["privileged"] is True
    assert "capabilities" not in security


def test_every_volume_is_mounted_and_every_mount_has_its_volume() -> None:
    for shape in (SHAPE, replace(SHAPE, user_checks="own")):
        volumes = {each["name"] for each in pod(shape=shape)["volumes"]}
        mounts = {each["name"] for each in container(shape=shape)["volumeMounts"]}
        assert volumes == mounts


def test_its_command_is_one_that_the_probe_understands(capsys: pytest.CaptureFixture[str]) -> None:
    for probes in (("invasive",), ("gpu-memory", "invasive"), ("dcgm-2", "dcgm-4")):
        arguments = container(replace(WANTED, probes=probes))["args"]
        with pytest.raises(SystemExit):
            probe([*arguments, "--root=/dev/null/none"])
        assert "no such directory" in capsys.readouterr().err  # all before it is well


def test_checks_of_the_tier_are_named_beside_it_and_alone() -> None:
    both = container(replace(WANTED, probes=("dcgm-4", "invasive")))["args"]
    assert both[:3] == ["run", "dcgm-4", "--tier=invasive"]
    alone = container(replace(WANTED, probes=("gpu-memory",)))["args"]
    assert "--tier=invasive" not in alone


def test_what_the_controller_takes_for_invasive_checks_are_those_of_the_tier() -> None:
    shipped = {check.spec.name for check in CHECKS if check.spec.tier is Tier.INVASIVE}
    assert shipped - {"nccl-pair"} == INVASIVE_CHECKS  # which needs a partner


def test_labels_are_ours_and_a_shard_says_which() -> None:
    labels = job_manifest(WANTED, SHAPE)["metadata"]["labels"]
    assert "trainy.konduktor.ai/shard" not in labels
    sharded = job_manifest(WANTED, replace(SHAPE, shard="a"))["metadata"]["labels"]
    assert sharded == labels | {"trainy.konduktor.ai/shard": "a"}


def test_what_the_settings_say_is_in_the_pod() -> None:
    jobs = load(flags={"probes": {"jobs": {"enabled": True, "image": "i"}}}, environ={}).probes.jobs
    assert jobs.requests == {"cpu": "1", "memory": "2Gi"}
    shape = replace(
        SHAPE,
        pull_policy="Always",
        pull_secrets=("registry",),
        service_account="probe",
        priority_class="low",
        runtime_class="nvidia",
    )
    spec, own = pod(shape=shape), container(shape=shape)
    assert own["imagePullPolicy"] == "Always"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    named = {
        "serviceAccountName": "probe",
        "priorityClassName": "low",
        "runtimeClassName": "nvidia",
    }
    assert {key: spec[key] for key in named} == named
    assert not {"imagePullSecrets", *named} & pod().keys()
