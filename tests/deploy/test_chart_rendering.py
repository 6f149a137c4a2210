"""What the chart renders: generated files in step, no value ignored, settings that load."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from deploy import generate
from deploy.chart.annotated import Value, values
from konduktor_health import __version__
from konduktor_health.adapters.kube.cluster import STATE_NAME
from konduktor_health.errors import ConfigError
from konduktor_health.settings import Settings, load
from tests.support.chart import (
    CHART,
    MANIFESTS,
    NAME,
    PROBE,
    SHIPPERS,
    Helm,
    Object,
    kinds,
    objects,
    one,
    pod_of,
)
from tests.support.chart_programs import settings_of
from tests.support.chart_values import EVERYTHING
from tests.support.processes import binary
from tests.support.rbac import rights

pytestmark = pytest.mark.e2e

RULES = "version: 1\nentries:\n  xid/43: {severity: fatal, remedy: reset_gpu}\n"


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(tmp_path)


def pod_annotations(found: list[Object]) -> Object:
    annotations: Object = one(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return annotations


# ---------------------------------------------------------------- files


def test_generated_files_are_in_step() -> None:
    helm = binary("helm")
    assert generate.stale({**generate.from_values(), **generate.from_chart(helm)}) == []


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("files", [[], *([each] for each in SHIPPERS)])
def test_lint_has_nothing_to_say(helm: Helm, files: list[Path]) -> None:
    assert "0 chart(s) failed" in helm.lint(files)


def test_every_value_is_described_and_unknown_ones_are_refused() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    definitions = schema["$defs"]

    def nameless(path: str, node: Any) -> Iterator[str]:
        if "properties" in node:
            if "additionalProperties" not in node:
                yield f"{path}: takes anything"
            for name, child in node["properties"].items():
                if child is False:
                    continue
                about = definitions[child["$ref"].rsplit("/", 1)[1]] if "$ref" in child else {}
                if not (child.get("description") or about.get("description")):
                    yield f"{path}.{name}: no description"
                yield from nameless(f"{path}.{name}", child)

    roots = {"": schema, **definitions}
    assert [each for path, node in roots.items() for each in nameless(path, node)] == []


def test_lint_has_nothing_to_say_when_every_value_is_given(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.lint([helm.values(EVERYTHING)])


def test_the_manifests_are_the_chart_and_a_namespace(helm: Helm) -> None:
    applied = objects((MANIFESTS / f"{NAME}.yaml").read_text())
    assert kinds(applied) == kinds(helm.template()) | {("Namespace", NAME)}
    assert applied[0]["kind"] == "Namespace"
    assert "Helm" not in (MANIFESTS / f"{NAME}.yaml").read_text()
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    named = {each["name"]: each["newTag"] for each in kustomization["images"]}
    assert named == {NAME: __version__, PROBE: __version__}


# ---------------------------------------------------------------- values


def at(content: Mapping[str, Any], path: str) -> Any:
    here: Any = content
    for key in path.split("."):
        here = here[key]
    return here


def replaced(content: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    new = replaced(content.get(key, {}), rest, value) if rest else value
    return {**content, key: new}


def test_no_value_is_ignored(helm: Helm) -> None:
    """Each value, alone or among all the others, makes a difference."""
    known = values((CHART / "values.yaml").read_text())
    bare, full = helm.template(), helm.template(EVERYTHING)

    def ignored(value: Value) -> bool:
        if value.default is True:  # switched on, and so are all the others
            return helm.template(replaced({}, value.path, False)) == bare
        given = at(EVERYTHING, value.path)
        assert given != value.default, f"{value.path} has its default in EVERYTHING"
        return (
            helm.template(replaced(EVERYTHING, value.path, value.default)) == full
            and helm.template(replaced({}, value.path, given)) == bare
        )

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(ignored, known))
    assert [
        value.path for value, is_ignored in zip(known, verdicts, strict=True) if is_ignored
    ] == []


def test_nothing_of_a_part_that_is_switched_off_is_left(helm: Helm) -> None:
    found = helm.template(
        {
            "probe": {"enabled": False},
            "rbac": {"create": False},
            "serviceAccount": {"create": False, "name": "given"},
            "priorityClasses": {"create": False},
            "networkPolicy": {"enabled": False},
            "metrics": {"service": {"enabled": False}},
            "controller": {"podDisruptionBudget": {"enabled": False}},
            "settings": {"http": {"enabled": False}},
        }
    )
    assert kinds(found) == {("ConfigMap", f"{NAME}-settings"), ("Deployment", NAME)}
    pod = pod_of(one(found, "Deployment"))
    assert "priorityClassName" not in pod
    assert pod["serviceAccountName"] == "given"
    assert not {"ports", "readinessProbe", "livenessProbe"} & pod["containers"][0].keys()


@pytest.mark.parametrize("what", ["rules", "policy"])
@pytest.mark.parametrize("given", [{"content": RULES}, {"existingConfigMap": "mine"}])
def test_the_controller_finds_the_files_of_the_site(
    helm: Helm, given: dict[str, str], what: str
) -> None:
    name = given.get("existingConfigMap", f"{NAME}-{what}")
    found = helm.template({what: given})
    pod = pod_of(one(found, "Deployment"))
    (container,) = pod["containers"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == what]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == what]
    variable = one_named(container["env"], f"KONDUKTOR_HEALTH_{what.upper()}_FILE")
    assert volume["configMap"] == {"name": name}
    assert variable["value"] == f"{mount['mountPath']}/{what}.yaml"
    assert "subPath" not in mount
    if "content" in given:
        assert one(found, "ConfigMap", name)["data"] == {f"{what}.yaml": RULES}


def one_named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [each for each in entries if each["name"] == name]
    return found


@pytest.mark.parametrize("what", ["rules", "policy"])
def test_another_file_of_the_site_does_not_roll_the_pods(helm: Helm, what: str) -> None:
    first, second = (helm.template({what: {"content": RULES + end}}) for end in ("", "# more"))
    assert one(first, "Deployment") == one(second, "Deployment")


def test_another_release_has_other_names_and_selects_only_its_own(helm: Helm) -> None:
    """But for Lease and state, which are the controller's and one per namespace."""
    first, second = helm.template(), helm.template(release="second", namespace="elsewhere")
    assert not kinds(first) & kinds(second)
    selector = one(second, "Deployment", "second-konduktor-health")["spec"]["selector"]
    assert selector != one(first, "Deployment")["spec"]["selector"]
    for each in second:
        for subject in each.get("subjects", []):
            assert subject["namespace"] == "elsewhere"


@pytest.mark.parametrize("release", ["123", "true", "gpu.health", "a" * 53])
def test_every_name_of_a_release_makes_names_that_are_text_and_fit(
    helm: Helm, release: str
) -> None:
    for each in helm.template(release=release, namespace="456"):
        metadata = each["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == release
        assert metadata.get("namespace", "456") in ("456", "default")
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"])


def test_a_pods_own_label_outranks_the_common_one(helm: Helm) -> None:
    """And is there once: a key that is there twice is refused by the API server."""
    common, own = {"team": "infra", "a": "b"}, {"team": "gpu"}
    found = helm.template(
        {"labels": common, "controller": {"podLabels": own}, "probe": {"podLabels": own}}
    )
    for kind, name in (("Deployment", NAME), ("DaemonSet", PROBE)):
        labels = one(found, kind, name)["spec"]["template"]["metadata"]["labels"]
        assert (labels["team"], labels["a"]) == ("gpu", "b")


def test_no_egress_rule_is_open_because_a_list_is_empty(helm: Helm) -> None:
    """A rule without ports and peers would allow everything."""
    empty: tuple[list[int] | None, ...] = ([], None)
    for ports in empty:
        found = helm.template({"networkPolicy": {"restrictEgress": True, "kubernetesPorts": ports}})
        rules = [
            rule
            for each in found
            if each["kind"] == "NetworkPolicy"
            for rule in each["spec"]["egress"]
        ]
        # of each kind of pod: DNS, Loki, and agents
        assert len(rules) == 6
        assert all(rule.get("ports") or rule.get("to") for rule in rules)


# ---------------------------------------------------------------- settings


def test_every_setting_reaches_the_controller_as_it_was_given(helm: Helm, tmp_path: Path) -> None:
    """Large numbers too: a template language may turn 2000000000 into 2e+09, which is no int."""
    given = Settings().model_dump(mode="json", exclude={"loki": {"password"}})
    settings = settings_of(helm.template({"settings": given}), tmp_path)
    assert settings.model_dump() == Settings().model_dump()


def test_a_setting_left_out_renders_as_its_default(helm: Helm) -> None:
    """Templates that follow a setting (taint, Lease, port, Loki) know the model's default."""
    given = Settings().model_dump(mode="json", exclude={"loki": {"password"}})

    def without_settings(found: list[Object]) -> list[Object]:
        pod_annotations(found).pop("checksum/settings")
        return [each for each in found if each["kind"] != "ConfigMap"]

    explicit = without_settings(helm.template({"settings": given}))
    assert explicit == without_settings(helm.template())


def test_without_settings_the_defaults_hold(helm: Helm, tmp_path: Path) -> None:
    """But for the agents, which are those of this release."""
    expected = Settings().model_dump()
    selector = f"app.kubernetes.io/instance={NAME},{expected['probes']['selector']}"
    expected["probes"] |= {"daemonset": PROBE, "selector": selector}
    assert settings_of(helm.template(), tmp_path).model_dump() == expected


def test_the_controller_asks_the_agents_where_the_chart_has_them(
    helm: Helm, tmp_path: Path
) -> None:
    agent = {"port": 9999, "lightSeconds": 30, "invasiveSeconds": 0}
    found = helm.template({"fullnameOverride": "gpu", "probe": {"agent": agent}})
    (settings,) = [
        each
        for each in found
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "gpu-settings"
    ]
    path = tmp_path / "settings.yaml"
    path.write_text(settings["data"]["settings.yaml"])
    probes = load(path).probes
    assert (probes.daemonset, probes.port, probes.light_interval_s) == ("gpu-probe", 9999, 30)
    assert not probes.run_invasive
    daemon_set = one(found, "DaemonSet", "gpu-probe")
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert all(
        labels[key] == value
        for key, _, value in (each.partition("=") for each in probes.selector.split(","))
    )


def test_no_pod_is_given_the_variables_of_a_service(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the Service konduktor-health would be taken for settings, and refused."""
    found = helm.template()
    one(found, "Service")
    monkeypatch.setenv("KONDUKTOR_HEALTH_PORT", "tcp://10.0.0.1:8080")
    with pytest.raises(ConfigError):
        settings_of(found, tmp_path)
    for kind, name in (("Deployment", NAME), ("DaemonSet", PROBE)):
        assert pod_of(one(found, kind, name))["enableServiceLinks"] is False


def test_credentials_come_from_secrets_and_reach_the_settings(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = helm.template(
        {
            "lokiAccess": {
                "passwordSecret": {"name": "loki-password"},
                "tokenSecret": {"name": "loki-token"},
                "headersSecret": {"name": "loki-headers"},
                "ca": {"configMap": "loki-ca"},
            }
        }
    )
    pod = pod_of(one(found, "Deployment"))
    secrets = {"loki-password": "pw", "loki-headers": '{"X-Api-Key": "k"}'}
    for each in pod["containers"][0]["env"]:
        reference = each.get("valueFrom", {}).get("secretKeyRef", {})
        monkeypatch.setenv(each["name"], each.get("value") or secrets[reference["name"]])
    loki = settings_of(found, tmp_path).loki
    assert (loki.password, loki.headers) == (SecretStr("pw"), {"X-Api-Key": "k"})
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    files = {}  # path in the pod: object that it is of
    for volume in pod["volumes"][1:]:
        source = volume.get("secret") or volume.get("configMap")
        (item,) = source["items"]
        files[f"{mounts[volume['name']]}/{item['path']}"] = (
            source.get("secretName") or source["name"]
        )
    assert files == {str(loki.token_file): "loki-token", str(loki.ca_file): "loki-ca"}


def test_a_changed_setting_rolls_the_controller_and_not_the_probe(helm: Helm) -> None:
    first, second = helm.template(), helm.template({"settings": {"policy": {"budget_percent": 5}}})
    assert pod_annotations(first) != pod_annotations(second)
    assert one(first, "DaemonSet", PROBE) == one(second, "DaemonSet", PROBE)


def test_rights_follow_the_settings_that_name_lease_and_namespace(helm: Helm) -> None:
    found = helm.template(
        {"settings": {"cluster": {"namespace": "state"}, "lease": {"name": "our-lease"}}}
    )
    role = one(found, "Role")
    assert role["metadata"]["namespace"] == "state"
    named = {
        rule["resources"][0]: rule["resourceNames"]
        for rule in role["rules"]
        if "resourceNames" in rule
    }
    assert named == {"leases": ["our-lease"], "configmaps": [STATE_NAME]}


def test_rights_on_pods_go_with_the_setting_that_uses_them(helm: Helm) -> None:
    def rights_of(found: list[Object]) -> set[tuple[str, str, str]]:
        account = rights.Account(NAME, NAME)
        return {(g.verb, g.resource, g.namespace) for g in rights.grants(found, account)}

    told = rights_of(helm.template())
    silent = rights_of(helm.template({"settings": {"pod_events": {"enabled": False}}}))
    assert told - silent == {("list", "pods", ""), ("create", "events", "")}
    # the agents' pods are listed either way
    assert silent - told == {("create", "events", "default"), ("list", "pods", NAME)}


def test_rights_for_agents_go_with_the_setting_that_uses_them(helm: Helm) -> None:
    def rights_of(found: list[Object]) -> set[str]:
        return {str(g) for g in rights.grants(found, rights.Account(NAME, NAME))}

    asked = rights_of(helm.template())
    none = rights_of(helm.template({"settings": {"probes": {"enabled": False}}}))
    assert asked - none == {
        "get daemonsets konduktor-health-probe",
        "watch pods",
        "create secrets",
        "get secrets konduktor-health-signing",
        "update secrets konduktor-health-signing",
        "get configmaps konduktor-health-probe-keys",
        "update configmaps konduktor-health-probe-keys",
    }


def test_agents_are_those_of_the_release_whatever_it_is_called(helm: Helm) -> None:
    found = helm.template({"fullnameOverride": "other", "settings": {"probes": {"workers": 4}}})
    text = one(found, "ConfigMap", "other-settings")["data"]["settings.yaml"]
    probes = yaml.safe_load(text)["probes"]
    assert (probes["daemonset"], probes["workers"]) == ("other-probe", 4)
    assert one(found, "DaemonSet", "other-probe")
    grants = {str(g) for g in rights.grants(found, rights.Account(NAME, "other"))}
    assert "get daemonsets other-probe" in grants


def test_rights_follow_the_shard(helm: Helm) -> None:
    shard = {"label": "example.com/shard", "value": "a"}
    found = helm.template(
        {"settings": {"shard": shard}, "rbac": {"operatorRole": {"create": True}}}
    )
    roles = [each for each in found if each["kind"] == "Role"]
    for name in (NAME, f"{NAME}-operator"):
        named = {
            rule["resources"][0]: rule["resourceNames"]
            for role in roles
            for rule in role["rules"]
            if role["metadata"]["name"] == name and "resourceNames" in rule
        }
        assert named == {"leases": ["konduktor-health-a"], "configmaps": [f"{STATE_NAME}-a"]}
    settings = one(found, "ConfigMap", "konduktor-health-settings")["data"]["settings.yaml"]
    assert yaml.safe_load(settings)["shard"] == shard
