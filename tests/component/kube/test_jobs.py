"""Jobs that test nodes, on the sandbox and a real server: made once, seen, deleted exactly."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from konduktor_health.adapters.kube import KubeInvasiveJobs, build_jobs
from konduktor_health.adapters.kube.job_manifest import Shape, job_manifest, job_name
from konduktor_health.errors import ClusterForbidden, Conflict, NotFound
from konduktor_health.job_ports import InvasiveJobs
from konduktor_health.jobs import InvasiveJob, JobState, WantedJob
from konduktor_health.settings import Settings, load
from tests.component.kube.conftest import GPU, Side
from tests.support.kube_rest import MERGE

JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
STAMP = "2027-01-15T08:00:00Z"
_numbers = itertools.count()


def settings(side: Side, user: str = "", **more: Any) -> Settings:
    side.settings(user)  # writes the kubeconfig
    path = side.directory / f"{user or 'default'}.kubeconfig"
    jobs = {"enabled": True, "image": "none.invalid/probe:1"}
    flags: dict[str, Any] = {
        "cluster": {"kubeconfig": str(path), "namespace": "default"},
        "probes": {"namespace": "default", "jobs": jobs},
    }
    return load(flags=flags | more, environ={})


def adapter(side: Side, user: str = "", **more: Any) -> KubeInvasiveJobs:
    http, _ = side.adapter(user)
    return build_jobs(settings(side, user, **more), http)


def wanted(side: Side, node: str = "gpu-a", **fields: Any) -> WantedJob:
    uid = f"uid-{side.kind}-{next(_numbers)}"
    side.cleanups.append(lambda: side.rest.call("DELETE", f"{JOBS}/{job_name(uid)}"))
    values = {"run_id": "job-0123456789abcdef", "probes": ("invasive",), "gpus": {GPU: 8}}
    return WantedJob(node, uid, **(values | fields))


def made(jobs: KubeInvasiveJobs, want: WantedJob) -> InvasiveJob:
    """The Job as it is listed."""
    (found,) = [job for job in jobs.jobs() if job.node_uid == want.node_uid]
    return found


def set_status(side: Side, want: WantedJob, **status: Any) -> None:
    path = f"{JOBS}/{job_name(want.node_uid)}/status"
    side.rest.patch(path, {"status": status}, MERGE)


def condition(kind: str, **fields: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "lastTransitionTime": STAMP, **fields}


def conforms(jobs: KubeInvasiveJobs) -> InvasiveJobs:
    """For mypy: the adapter is what the port asks for."""
    return jobs


def test_the_manifest_says_nothing_that_the_api_does_not_know(side: Side) -> None:
    shape = Shape(
        namespace="default",
        image="none.invalid/probe:1",
        shard="a",
        pull_policy="Always",
        pull_secrets=("registry",),
        service_account="probe",
        priority_class="",
        runtime_class="nvidia",
        requests={"cpu": "1"},
        limits={"memory": "2Gi"},
        tolerations=("nvidia.com/gpu",),
        user_checks="checks",
    )
    want = wanted(side)
    for privileged in (False, True):
        one = Shape(**{**_fields(shape), "privileged": privileged})
        path = f"{JOBS}?fieldValidation=Strict&dryRun=All"
        answer = side.rest.ok("POST", path, job_manifest(want, one))
        assert answer["spec"]["backoffLimit"] == 0


def _fields(shape: Shape) -> dict[str, Any]:
    return {name: getattr(shape, name) for name in shape.__slots__}


def test_a_job_is_made_once_and_tells_what_it_is_for(side: Side) -> None:
    jobs, want = adapter(side), wanted(side)
    jobs.make(want)
    job = made(jobs, want)
    assert (job.node, job.run_id, job.state) == ("gpu-a", want.run_id, JobState.PENDING)
    assert (job.ending, job.ended) == (False, False)
    with pytest.raises(Conflict):
        jobs.make(want)


def test_how_far_it_has_come_is_in_its_status(side: Side) -> None:
    jobs, want = adapter(side), wanted(side)
    jobs.make(want)
    set_status(side, want, startTime=STAMP, active=1, ready=0)
    assert made(jobs, want).state is JobState.PENDING
    set_status(side, want, active=1, ready=1)
    assert made(jobs, want).state is JobState.RUNNING
    set_status(
        side,
        want,
        active=0,
        ready=0,
        succeeded=1,
        completionTime=STAMP,
        conditions=[condition("SuccessCriteriaMet"), condition("Complete")],
    )
    assert made(jobs, want).state is JobState.DONE


def test_why_it_failed_is_told(side: Side) -> None:
    jobs, want = adapter(side), wanted(side)
    jobs.make(want)
    why = {"reason": "DeadlineExceeded", "message": "Job was active longer than\n allowed"}
    set_status(
        side,
        want,
        startTime=STAMP,
        failed=1,
        conditions=[condition("FailureTarget", **why), condition("Failed", **why)],
    )
    job = made(jobs, want)
    assert job.state is JobState.FAILED
    assert job.message == "DeadlineExceeded: Job was active longer than  allowed"


def test_only_the_very_job_that_was_seen_is_deleted_and_gone_is_done(side: Side) -> None:
    jobs, want = adapter(side), wanted(side)
    jobs.make(want)
    job = made(jobs, want)
    jobs.remove(InvasiveJob(job.name, "another-uid", job.node, job.node_uid, job.run_id))
    assert made(jobs, want).uid == job.uid
    jobs.remove(job)
    assert not [each for each in jobs.jobs() if each.uid == job.uid and not each.ending]
    jobs.remove(job)


def test_a_shard_sees_its_own_jobs_and_no_others(side: Side) -> None:
    shard: dict[str, Any] = {"shard": {"label": "example.com/shard", "value": "a"}}
    plain, of_a = adapter(side), adapter(side, **shard)
    one, two = wanted(side), wanted(side, "gpu-b")
    plain.make(one)
    of_a.make(two)
    assert {job.node_uid for job in of_a.jobs()} == {two.node_uid}
    assert two.node_uid not in {job.node_uid for job in plain.jobs()}
    assert made(plain, one).node == "gpu-a"


def test_all_that_pods_can_have_of_the_gpus_is_reserved_whole_ones_and_slices(side: Side) -> None:
    name = side.node()
    resources = {"cpu": "64", GPU: "6", "nvidia.com/mig-1g.10gb": "7", "example.com/other": "3"}
    side.patch(name, {"status": {"capacity": resources, "allocatable": resources}}, "/status")
    assert adapter(side).gpus_of(name) == {GPU: 6, "nvidia.com/mig-1g.10gb": 7}
    none = {"cpu": "64", GPU: "0", "nvidia.com/mig-1g.10gb": None, "example.com/other": None}
    side.patch(name, {"status": {"allocatable": none}}, "/status")
    assert adapter(side).gpus_of(name) == {}
    with pytest.raises(NotFound):
        adapter(side).gpus_of("no-such-node")


def pod(side: Side, name: str, body: dict[str, Any], **status: Any) -> None:
    meta = {"name": name, **body.pop("metadata", {})}
    container = {"name": "c", "image": "i", "resources": {"limits": {GPU: "1"}}}
    spec = {"containers": [container], **body}
    side.rest.ok("POST", PODS, {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec})
    side.cleanups.append(lambda: side.rest.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0"))
    if status:
        side.rest.patch(f"{PODS}/{name}/status", {"status": status}, MERGE)


def test_who_holds_gpus_is_told_but_for_our_own_test_and_those_that_have_ended(side: Side) -> None:
    name = side.node()
    ours = {"labels": {"app.kubernetes.io/component": "invasive-test"}}
    pod(side, f"runs-{name}", {"nodeName": name})
    pod(side, f"ours-{name}", {"nodeName": name, "metadata": ours})
    pod(side, f"over-{name}", {"nodeName": name}, phase="Succeeded")
    pod(side, f"waits-{name}", {})
    held = adapter(side).holding_gpus(name)
    assert [(each.namespace, each.name) for each in held] == [("default", f"runs-{name}")]


def owned(job: InvasiveJob) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job.uid}
    return {
        "metadata": {
            "labels": {"job-name": job.name},
            "ownerReferences": [{**owner, "controller": True}],
        }
    }


def test_why_a_pod_does_not_run_is_told_by_the_scheduler_or_the_kubelet(side: Side) -> None:
    jobs, want = adapter(side), wanted(side)
    jobs.make(want)
    job = made(jobs, want)
    assert jobs.why_not_running(job) == "its Job has no pod"
    name = f"p{next(_numbers)}"
    no_room = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    no_room["message"] = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu."
    pod(side, name, owned(job), phase="Pending", conditions=[no_room])
    said = f"its pod does not run: Unschedulable: {no_room['message']}"
    assert jobs.why_not_running(job) == said
    waiting = {"reason": "ErrImagePull", "message": "not found"}
    status = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    kubelet = [{**status, "state": {"waiting": waiting}}]
    side.rest.patch(f"{PODS}/{name}/status", {"status": {"containerStatuses": kubelet}}, MERGE)
    assert jobs.why_not_running(job) == "its pod does not run: ErrImagePull: not found"
    side.rest.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running"}}, MERGE)
    assert jobs.why_not_running(job) == ""


def test_the_last_words_of_a_pod_that_failed_are_told(side: Side) -> None:
    jobs, want = adapter(side), wanted(side)
    jobs.make(want)
    job = made(jobs, want)
    assert jobs.why_failed(job) == ""
    name = f"p{next(_numbers)}"
    pod(side, name, owned(job))
    said = "x" * 300 + "konduktor-probe run: no such\tcheck"
    ended = {"exitCode": 2, "message": said, "reason": "Error", "finishedAt": STAMP}
    status = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    body = {"phase": "Failed", "containerStatuses": [{**status, "state": {"terminated": ended}}]}
    side.rest.patch(f"{PODS}/{name}/status", {"status": body}, MERGE)
    told = jobs.why_failed(job)
    assert told.startswith("exit code 2: x")
    assert told.endswith("xkonduktor-probe run: no such check")
    assert len(told) < 200


def test_a_right_that_is_missing_is_named(real_side: Side) -> None:
    side = real_side
    jobs = adapter(side, "nobody")
    with pytest.raises(ClusterForbidden, match="list jobs in namespace default") as listed:
        jobs.jobs()
    assert "grant verb 'list' on resource 'jobs'" in listed.value.hint
    with pytest.raises(ClusterForbidden, match="create jobs in namespace default"):
        jobs.make(wanted(side))
