"""Jobs and the test of storage in the chart: off by default; with them, settings and rights fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from konduktor_health.adapters.kube.job_manifest import COMPONENT, MANAGED_BY
from konduktor_health.job_settings import JobSettings
from konduktor_health.settings import load
from tests.support.chart import NAME, PROBE, ROOT, Helm, Object, kinds, one
from tests.support.rbac import rights
from tests.support.rbac.rights import Grant
from tests.support.rbac.scene import CONTROLLER

pytestmark = pytest.mark.e2e

JOBS: dict[str, Any] = {"settings": {"probes": {"jobs": {"enabled": True}}}}
VOLUMES: dict[str, Any] = {"settings": {"probes": {"pvc": {"storage_class": "fast"}}}}


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


def jobs_of(found: list[Object], folder: Path) -> JobSettings:
    """The settings of Jobs, as the controller reads them."""
    file = folder / "settings.yaml"
    file.write_text(one(found, "ConfigMap", f"{NAME}-settings")["data"]["settings.yaml"])
    return load(file, environ={}).probes.jobs


def granted(found: list[Object]) -> set[Grant]:
    return set(rights.grants(found, CONTROLLER))


def test_by_default_there_are_no_jobs_and_no_right_to_make_any(helm: Helm, tmp_path: Path) -> None:
    found = helm.template()
    assert not jobs_of(found, tmp_path).enabled
    assert not {"jobs", "persistentvolumeclaims", "storageclasses"} & {
        grant.resource for grant in granted(found)
    }
    assert not [kind for kind in kinds(found) if kind[1].endswith("-invasive")]


def test_the_chart_fills_in_what_it_knows(helm: Helm, tmp_path: Path) -> None:
    values = {
        **JOBS,
        "imageRegistry": "registry.example.com",
        "imagePullSecrets": [{"name": "registry"}],
        "probe": {
            "image": {"tag": "9", "pullPolicy": "Always"},
            "stateDirectory": "/srv/health",
            "agent": {"runtimeClassName": "nvidia", "userChecks": "own"},
        },
    }
    jobs = jobs_of(helm.template(values), tmp_path)
    assert jobs.image == "registry.example.com/konduktor-health-probe:9"
    assert (jobs.image_pull_policy, jobs.image_pull_secrets) == ("Always", ("registry",))
    assert (jobs.service_account, jobs.priority_class) == (PROBE, f"{NAME}-invasive")
    assert (jobs.runtime_class, jobs.state_directory) == ("nvidia", "/srv/health")
    assert (jobs.user_checks, jobs.privileged) == ("own", False)


def test_what_is_said_in_the_settings_goes_before_it(helm: Helm, tmp_path: Path) -> None:
    own = {"enabled": True, "image": "mine:1", "priority_class": "own", "most": 3}
    jobs = jobs_of(helm.template({"settings": {"probes": {"jobs": own}}}), tmp_path)
    assert (jobs.image, jobs.priority_class, jobs.most) == ("mine:1", "own", 3)
    assert jobs.service_account == PROBE


def test_the_directories_are_those_of_the_agent(helm: Helm, tmp_path: Path) -> None:
    found = helm.template({**JOBS, "probe": {"stateDirectory": "/srv/health"}})
    daemonset = one(found, "DaemonSet", PROBE)["spec"]["template"]["spec"]
    (agent,) = [each for each in daemonset["containers"] if each["name"] == "agent"]
    assert f"--state={jobs_of(found, tmp_path).state_directory}/agent" in agent["args"]


def test_a_test_never_preempts_and_everything_else_goes_before_it(helm: Helm) -> None:
    loud = {**JOBS, "priorityClasses": {"preemptionPolicy": "PreemptLowerPriority"}}
    made = one(helm.template(loud), "PriorityClass", f"{NAME}-invasive")
    assert (made["preemptionPolicy"], made["value"]) == ("Never", -1)
    named = {**JOBS, "priorityClasses": {"jobs": {"name": "idle", "value": -5}}}
    assert one(helm.template(named), "PriorityClass", "idle")["value"] == -5
    none = helm.template({**JOBS, "priorityClasses": {"create": False}})
    assert not [kind for kind, _ in kinds(none) if kind == "PriorityClass"]


def test_two_classes_of_one_name_are_refused(helm: Helm) -> None:
    same = {"jobs": {"name": "x"}, "probe": {"name": "x"}}
    assert "Give jobs a name of its own" in helm.refused({**JOBS, "priorityClasses": same})


def test_the_pods_of_jobs_speak_to_nobody(helm: Helm) -> None:
    policy = one(helm.template(JOBS), "NetworkPolicy", f"{NAME}-invasive")["spec"]
    labels = policy["podSelector"]["matchLabels"]
    assert set(labels.values()) == {COMPONENT, MANAGED_BY}
    assert (policy["policyTypes"], policy["ingress"], policy["egress"]) == (
        ["Ingress", "Egress"],
        [],
        [],
    )


@pytest.mark.parametrize("events", [True, False])
def test_rights_come_with_the_setting_and_are_those_that_the_page_lists(
    helm: Helm, events: bool
) -> None:
    quiet = {"pod_events": {"enabled": events}}
    bare = granted(helm.template({"settings": quiet}))
    both = {"jobs": {"enabled": True}, "pvc": {"storage_class": "fast"}}
    found = granted(helm.template({"settings": {**quiet, "probes": both}}))
    more = {(g.verb, g.group, g.resource, g.name, bool(g.namespace)) for g in found - bare}
    less = {(g.verb, g.resource, bool(g.namespace)) for g in bare - found}
    page = (ROOT / "docs/reference/rbac.md").read_text(encoding="utf-8")
    table = page.split("### Jobs and storage")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z]+)` \| ([a-z, ]+) \| (.*?) \|", table, re.M)
    listed = {(verb, res, scope) for res, verbs, scope in rows for verb in verbs.split(", ")}
    told = {(verb, resource, _scope(named, there)) for verb, _, resource, named, there in more}
    if events:
        listed -= {("list", "pods", "cluster")}  # is there already
    assert told == listed
    assert less == (set() if events else {("list", "pods", True)})
    assert {g.group for g in found if g.resource == "jobs"} == {"batch"}


def _scope(name: str, in_namespace: bool) -> str:
    if name:
        return "StorageClass `probes.pvc.storage_class`"
    return "`probes.namespace`" if in_namespace else "cluster"


def test_storage_alone_gives_no_right_on_jobs(helm: Helm) -> None:
    found = granted(helm.template(VOLUMES))
    assert {g.resource for g in found - granted(helm.template())} == {
        "persistentvolumeclaims",
        "storageclasses",
    }


def test_a_change_of_what_the_chart_fills_in_rolls_the_controller(helm: Helm) -> None:
    def checksum(**probe: Any) -> str:
        found = helm.template({**JOBS, "probe": probe})
        meta = one(found, "Deployment")["spec"]["template"]["metadata"]
        return str(meta["annotations"]["checksum/settings"])

    assert checksum(image={"tag": "1"}) != checksum(image={"tag": "2"})
    assert checksum(image={"tag": "1"}) == checksum(image={"tag": "1"})


def test_settings_are_yaml_of_one_object(helm: Helm) -> None:
    data = one(helm.template(JOBS), "ConfigMap", f"{NAME}-settings")["data"]["settings.yaml"]
    assert yaml.safe_load(data)["probes"]["jobs"]["enabled"] is True
