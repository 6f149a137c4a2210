"""The controller's rights are exactly what it calls: nothing refused, nothing granted in vain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, eventually
from tests.support.loglines import otel
from tests.support.rbac import rights
from tests.support.rbac.audit import Audit
from tests.support.rbac.rights import Grant
from tests.support.rbac.scene import CONTROLLER, LEASE, LEASE_NAME, STATE, STATE_NAME, Scene
from tests.support.servers import RealKube

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "deploy" / "manifests" / "konduktor-health.yaml"
OBJECTS = rights.load(MANIFEST)
GRANTS = rights.grants(OBJECTS, CONTROLLER)


@pytest.fixture
def scene(clean_kube: RealKube, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(clean_kube, tmp_path, stack)


# ---------------------------------------------------------------- both directions


def test_whole_life_uses_every_right_and_needs_no_other(
    kube_factory: Callable[..., RealKube], tmp_path: Path
) -> None:
    audit = Audit(tmp_path)
    with ExitStack() as stack:
        scene = Scene(kube_factory(flags=audit.flags), tmp_path, stack)
        scene.accounts.install(OBJECTS, CONTROLLER)
        scene.act_as(CONTROLLER)
        live(scene)
    made = audit.requests(CONTROLLER)
    assert [one for one in made if one.status in (401, 403)] == []
    calls = {one.call for one in made if one.call}
    assert calls, "the audit log knows nothing of the account"
    in_vain = [str(grant) for grant in GRANTS if not any(grant.covers(call) for call in calls)]
    assert in_vain == [], "granted and never used"
    uncovered = [call for call in calls if not any(grant.covers(call) for grant in GRANTS)]
    assert uncovered == [], "allowed by another role than ours"


def live(scene: Scene) -> None:
    """A whole life: start, fault, second replica, Loki trouble, takeover, reset, one pass, end."""
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        scene.kube.create_node(name)
    pod = scene.gpu_pod("gpu-a")
    scene.daemonset()
    first = scene.controller(policy={"budget_percent": 100}).leading()
    scene.push(otel("gpu-a"))
    shown(scene, "gpu-a")
    eventually(lambda: scene.told(pod) == ["GpuFault"], lambda: f"pod told: {scene.logs()[-2000:]}")
    version = eventually(lambda: version_of_state(scene), "the state is stored")
    scene.push(otel("gpu-c", "nvidia: loading"))
    eventually(lambda: version_of_state(scene) != version, "the state is stored again")

    eventually(scene.public_keys, "the public key is published")
    short = {"key_days": 1e-5}  # a second: the one that takes over replaces the key
    second = scene.controller(policy={"budget_percent": 100}, probes=short).ready()
    assert first.metric("konduktor_health_leader") == 1
    assert second.metric("konduktor_health_leader") == 0
    scene.loki.faults.status(500, times=4)
    eventually(lambda: first.readiness()[0] == 503, "not ready while Loki fails")
    first.ready()
    first.terminate()
    second.leading()
    eventually(lambda: len(scene.public_keys()) == 2, "the key is replaced")
    scene.push(otel("gpu-b"))
    shown(scene, "gpu-b")

    one = scene.run("reset", "gpu-a")
    rest = scene.run("reset", "--all")
    for done, node in ((one, "gpu-a"), (rest, "gpu-b")):
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{node}: removed taint" in done.stdout
        assert "(403)" not in done.stdout
        assert not scene.tainted(node)
        assert {"FatalFault", "Reset"} <= set(scene.reasons(node))
    scene.kube.request("DELETE", "/api/v1/nodes/gpu-c")
    assert second.terminate()[0] == 0
    for arguments in (("run", "--once"), ("run", "--once", "--dry-run")):
        done = scene.run(*arguments)
        assert done.returncode == 0, done.stderr


def shown(scene: Scene, node: str) -> None:
    """Taint, condition and Event are there."""
    eventually(lambda: scene.tainted(node), lambda: f"{node} tainted: {scene.logs()[-2000:]}")
    eventually(lambda: scene.condition(node) == "FatalFault", f"{node} has the condition")
    eventually(lambda: "FatalFault" in scene.reasons(node), f"{node} has the Event")


def version_of_state(scene: Scene) -> str:
    return str(scene.state().get("metadata", {}).get("resourceVersion", ""))


# ---------------------------------------------------------------- each right is missed


@dataclass(frozen=True, slots=True)
class Missed:
    """What is seen when a right is missing.

    ``not_ready``: /readyz says so (else the log does, while the rest goes on); ``tainted``: a
    fault still taints; ``counted``: as a write that failed; ``reset``: exit code of ``arguments``;
    ``says``: part of its answer; ``left``: what an earlier controller has left behind.
    """

    not_ready: bool = False
    tainted: bool = False
    counted: bool = False
    reset: int = 0
    arguments: tuple[str, ...] = ("reset", "gpu-z")
    says: str = "removed taint"
    left: str = ""


#: By what the right says (``Grant``).
MISSED = {
    "get nodes": Missed(counted=True, reset=4, says="error: not allowed to get nodes gpu-z"),
    "list nodes": Missed(
        not_ready=True,
        reset=4,
        arguments=("reset", "--all"),
        says="error: not allowed to list nodes",
    ),
    "watch nodes": Missed(not_ready=True, tainted=True),
    "patch nodes": Missed(
        counted=True, reset=1, says="not reset: not allowed to patch nodes gpu-z"
    ),
    "patch nodes/status": Missed(
        counted=True,
        tainted=True,
        says="condition not written: not allowed to patch nodes/status gpu-z",
    ),
    "create events": Missed(
        counted=True,
        tainted=True,
        says="Event not published: not allowed to create events",
    ),
    "list pods": Missed(tainted=True),
    "get leases konduktor-health": Missed(not_ready=True),
    "create leases": Missed(not_ready=True),
    "update leases konduktor-health": Missed(not_ready=True, left="lease"),
    "get configmaps konduktor-health-state": Missed(not_ready=True),
    "create configmaps": Missed(tainted=True),
    "update configmaps konduktor-health-state": Missed(tainted=True, left="state"),
    # without them logs still count, and what asks for probes waits
    "get daemonsets konduktor-health-probe": Missed(tainted=True),
    "watch pods": Missed(tainted=True, left="agents"),
    "get secrets konduktor-health-signing": Missed(tainted=True, left="agents"),
    "create secrets": Missed(tainted=True, left="agents"),
    "update secrets konduktor-health-signing": Missed(tainted=True, left="keys"),
    "get configmaps konduktor-health-probe-keys": Missed(tainted=True, left="agents"),
    "update configmaps konduktor-health-probe-keys": Missed(tainted=True, left="keys"),
}


def test_every_right_has_an_effect_of_its_own() -> None:
    assert sorted(map(str, GRANTS)) == sorted(MISSED)


def test_page_of_rights_lists_exactly_these() -> None:
    page = (ROOT / "docs" / "reference" / "rbac.md").read_text(encoding="utf-8")
    table = page.split("## The controller")[1].split("## ")[0]
    rows = re.findall(r"^\| `([a-z/]+)` \| ([a-z, ]+) \| (.*?) \|", table, re.M)
    listed = {
        (verb, resource, scope) for resource, verbs, scope in rows for verb in verbs.split(", ")
    }
    assert listed == {(grant.verb, grant.resource, scope_of(grant)) for grant in GRANTS}


def scope_of(grant: Grant) -> str:
    """As the page says it."""
    match grant:
        case Grant(name="konduktor-health"):
            return "Lease `lease.name`"
        case Grant(name="konduktor-health-state"):
            return "ConfigMap `konduktor-health-state`"
        case Grant(name="konduktor-health-probe-keys"):
            return "ConfigMap `konduktor-health-probe-keys`"
        case Grant(name="konduktor-health-signing"):
            return "Secret `konduktor-health-signing`"
        case Grant(name="konduktor-health-probe"):
            return "DaemonSet `probes.daemonset`"
        case Grant(namespace=""):
            return "cluster"
        case Grant(resource="pods" | "secrets"):
            return "`probes.namespace`"
        case Grant(namespace="konduktor-health"):
            return "`cluster.namespace`"
    return f"namespace `{grant.namespace}`"


@pytest.mark.parametrize("grant", GRANTS, ids=str)
def test_missing_right_is_named_and_mended_without_a_restart(scene: Scene, grant: Grant) -> None:
    missed = MISSED[str(grant)]
    scene.accounts.install(
        [
            *rights.kept(OBJECTS, "Namespace", "ServiceAccount"),
            *rights.without(OBJECTS, CONTROLLER, grant),
        ],
        CONTROLLER,
        missing=[grant],
    )
    scene.act_as(CONTROLLER)
    before(scene, missed)
    scene.push(otel("gpu-a"))
    controller = scene.controller()

    needle = f"not allowed to {grant}"
    eventually(lambda: needle in said(controller, missed), lambda: f"{needle}: {scene.logs()}")
    assert f"grant verb '{grant.verb}' on resource '{grant.resource}'" in said(controller, missed)
    if missed.not_ready:
        assert controller.readiness()[0] == 503
    else:
        controller.ready()
    if missed.tainted:
        eventually(lambda: scene.tainted("gpu-a"), "the rest goes on")
    else:
        assert not scene.tainted("gpu-a")
    if missed.counted:
        assert controller.metric("konduktor_health_write_errors_total") > 0
    done = scene.run(*missed.arguments)
    assert (done.returncode, missed.says in done.stdout + done.stderr) == (missed.reset, True), done
    assert controller.running()

    scene.accounts.install(OBJECTS, CONTROLLER)
    shown(scene, "gpu-a")
    eventually(lambda: scene.state().get("data", {}).get("sources"), "the state is stored")
    controller.ready()
    code, seconds = controller.terminate()
    assert (code, seconds < 5) == (0, True)
    assert scene.holder() == ""
    assert "bug" not in scene.logs()


def before(scene: Scene, missed: Missed) -> None:
    """Two nodes, one with our taint; what an earlier controller left where it matters."""
    scene.kube.create_node("gpu-a")
    ours = {"key": OUR_KEY, "value": "true", "effect": "NoSchedule"}
    scene.kube.create_node("gpu-z", taints=[ours], labels={"trainy.konduktor.ai/managed": "false"})
    if missed.left == "lease":
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE_NAME, "namespace": NAMESPACE},
            "spec": {"leaseDurationSeconds": 1},
        }
        scene.kube.request("POST", LEASE, body)
    if missed.left in ("agents", "keys"):
        scene.daemonset()
    if missed.left == "keys":
        scene.stale_keys()
    if missed.left == "state":
        body = {"metadata": {"name": STATE_NAME, "namespace": NAMESPACE}, "data": {}}
        scene.kube.request("POST", STATE, body)


def said(controller: ControllerProcess, missed: Missed) -> str:
    """Where the missing right has to be named."""
    if missed.not_ready:
        return controller.readiness()[1]
    return controller.log.read_text(errors="replace")
