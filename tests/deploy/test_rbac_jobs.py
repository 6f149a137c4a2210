"""Each right that Jobs and the test of storage need: without it what the page of rights says is
seen, and with it again all goes on without a restart. On a real API server, as the account."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from loguru import logger

from konduktor_health.adapters.kube import build_cluster, build_feed
from konduktor_health.adapters.kube.job_manifest import Shape, job_manifest
from konduktor_health.adapters.probes import Agents as BuiltAgents
from konduktor_health.clock import SystemClock
from konduktor_health.core.invasive_note import parse_note
from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.record import Missing
from konduktor_health.jobs import WantedJob
from konduktor_health.model import Policy, ProbeStatus
from konduktor_health.ports import Leadership
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.invasive_wiring import build_invasive, build_volume_check
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.settings import load
from tests.support.chart import NAME, ROOT, Helm, Object, one
from tests.support.controller import NAMESPACE, OUR_KEY, eventually
from tests.support.leading import Agents, Leads
from tests.support.ledgers import record
from tests.support.rbac import rights
from tests.support.rbac.accounts import Accounts
from tests.support.rbac.rights import Grant
from tests.support.rbac.scene import CONTROLLER
from tests.support.servers import RealKube

pytestmark = pytest.mark.e2e

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CLASS = "fast"
MERGE = "application/merge-patch+json"
#: Pods are told nothing here: the right to list them is there for the Jobs alone.
VALUES: Object = {
    "settings": {
        "pod_events": {"enabled": False},
        "probes": {"jobs": {"enabled": True}, "pvc": {"storage_class": CLASS}},
    }
}
QUICK = {"jobs": {"retry_s": 1, "pending_s": 300}, "pvc": {"timeout_s": 5, "interval_s": 60}}


class HurriedClock(SystemClock):
    """Pauses are short, and deadlines a fifth as long."""

    def monotonic(self) -> float:
        return super().monotonic() * 5

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(min(max(seconds, 0.0), 0.2))


class Site:
    """The chart's account, and the parts of the controller that use the rights."""

    def __init__(self, kube: RealKube, folder: Path, stack: ExitStack) -> None:
        self.kube, self.folder = kube, folder
        found = Helm(folder).template(VALUES)
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self.objects = [space, *found]
        self.accounts = Accounts(kube)
        self.stop = threading.Event()
        stack.callback(self.stop.set)
        self.said: list[str] = []
        sink = logger.add(self._note, level="DEBUG")
        stack.callback(logger.remove, sink)
        file = folder / "settings.yaml"
        file.write_text(one(found, "ConfigMap", f"{NAME}-settings")["data"]["settings.yaml"])
        self._file = file

    def _note(self, message: Any) -> None:
        made = message.record
        self.said.append(f"{made['message']} {made['extra'].get('hint', '')}")

    def without(self, grant: Grant) -> None:
        """All rights but this one."""
        kept = rights.kept(self.objects, "Namespace", "ServiceAccount")
        left = rights.without(self.objects, CONTROLLER, grant)
        self.accounts.install([*kept, *left], CONTROLLER, missing=[grant])

    def with_all(self) -> None:
        self.accounts.install(self.objects, CONTROLLER)

    def begin(self) -> Any:
        """Start what uses the rights, in threads; the test of storage."""
        own = self.accounts.actor(CONTROLLER).kubeconfig(self.folder / "kubeconfig")
        cluster_flags = {"kubeconfig": str(own), "namespace": NAMESPACE}
        settings = load(
            self._file,
            {"cluster": cluster_flags, "probes": {"namespace": NAMESPACE, **QUICK}},
            environ={},
        )
        clock = HurriedClock()
        http, cluster = build_cluster(settings, clock)
        feed = build_feed(settings, http, lambda _view: True, clock)
        applier = Applier(cluster, feed, clock=clock)
        lease, agents = cast(Leadership, Leads()), cast(BuiltAgents, Agents())
        tests = build_invasive(settings, http, agents, feed, applier, Policy(), clock, lease)
        volumes = build_volume_check(settings, http, cluster, clock, lease, Metrics())
        assert tests is not None
        assert volumes is not None
        feed.on_change(tests.changed)
        feed.start(self.stop)
        eventually(feed.synced, "the nodes are known")
        tests.start(self.stop)
        volumes.start(self.stop)
        return volumes

    def faulty_node(self, name: str) -> None:
        """Our taint, and a ledger that waits for the invasive tier alone."""
        taint = {"key": OUR_KEY, "value": "true", "effect": "NoSchedule"}
        self.kube.create_node(name, taints=[taint])
        uid = self.kube.node(name)["metadata"]["uid"]
        open_ = record(rule="fatal", reached=True, missing=(Missing("probe:invasive", 1),))
        ledger = Ledger(uid=uid, owned=("NoSchedule",), tainted_ns=1, records=(open_,))
        annotation = {"trainy.konduktor.ai/ledger": render(ledger)}
        self.kube.patch_node(name, {"metadata": {"annotations": annotation}})
        # younger Nodes are left alone; who watches has to see it, too
        self.kube.predate_node(name, 3600)
        self.kube.patch_node(name, {"metadata": {"labels": {"seen": "again"}}})

    def left_behind(self, name: str) -> None:
        """A Job of a controller that is gone, of a node that nobody wants to be tested."""
        self.kube.create_node(name)
        uid = self.kube.node(name)["metadata"]["uid"]
        wanted = WantedJob(name, uid, "job-old", ("invasive",), {"nvidia.com/gpu": 8})
        self.kube.request("POST", JOBS, job_manifest(wanted, Shape(NAMESPACE, "probe:1")))

    def storage_class(self) -> None:
        body = {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": CLASS}, "provisioner": "none.invalid/none",
        }  # fmt: skip
        self.kube.request("POST", CLASSES, body)

    def jobs(self) -> list[str]:
        """Runs that Jobs are to deliver, and nobody has deleted."""
        items = self.kube.request("GET", JOBS)["items"]
        return [
            "job-old" if "job-old" in str(each["spec"]) else "new"
            for each in items
            if "deletionTimestamp" not in each["metadata"]
        ]

    def stage(self, name: str) -> str:
        annotations = self.kube.node(name)["metadata"].get("annotations", {})
        note = parse_note(annotations.get("trainy.konduktor.ai/testing"))
        return "" if note is None else note.stage.value


@pytest.fixture
def site(clean_kube: RealKube, tmp_path: Path) -> Iterator[Site]:
    """All that it started has ended before the servers are emptied."""
    before = set(threading.enumerate())
    with ExitStack() as stack:
        made = Site(clean_kube, tmp_path, stack)
        stack.callback(made.accounts.remove)
        yield made
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive(), thread.name
    clean_kube.request("DELETE", f"{CLASSES}/{CLASS}", check=False)
    for collection in (JOBS, CLAIMS):
        for each in clean_kube.request("GET", collection)["items"]:
            path = f"{collection}/{each['metadata']['name']}"
            clean_kube.request("DELETE", path, {"propagationPolicy": "Background"})
            # no controller is here that would let go of it
            freed = {"metadata": {"finalizers": None}}
            clean_kube.request("PATCH", path, freed, content_type=MERGE, check=False)


@dataclass(frozen=True, slots=True)
class Missed:
    """What is seen without a right. ``stage``: where the node stands that waits for a test;
    ``jobs``: that are there meanwhile; ``storage``: the test of storage says that it may not."""

    says: str
    stage: str = ""
    jobs: tuple[str, ...] = ()
    storage: bool = False


_VOLUMES = "volumes: not allowed to "
MISSED = {
    "list jobs": Missed("nodes are not tested: not allowed to list jobs", jobs=("job-old",)),
    "create jobs": Missed("test not gone on with: not allowed to create jobs", "testing"),
    "delete jobs": Missed(
        "test not gone on with: not allowed to delete jobs", "testing", ("job-old", "new")
    ),
    "list pods": Missed("test not gone on with: not allowed to list pods"),
    f"get storageclasses {CLASS}": Missed(
        f"{_VOLUMES}get storageclasses {CLASS}", "testing", ("new",), storage=True
    ),
    **{
        f"{verb} persistentvolumeclaims": Missed(
            f"{_VOLUMES}{verb} persistentvolumeclaims", "testing", ("new",), storage=True
        )
        for verb in ("create", "get", "list", "delete")
    },
}


@pytest.fixture(scope="module")
def opt_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Grant]:
    """The rights of the page's table, as the chart gives them."""
    found = rights.grants(Helm(tmp_path_factory.mktemp("chart")).template(VALUES), CONTROLLER)
    page = (ROOT / "docs/reference/rbac.md").read_text(encoding="utf-8")
    table = page.split("### Jobs and storage")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z]+)` \| ([a-z, ]+) \|", table, re.M)
    told = {(verb, resource) for resource, verbs in rows for verb in verbs.split(", ")}
    return {str(each): each for each in found if (each.verb, each.resource) in told}


def test_every_right_of_the_table_has_an_effect_of_its_own(opt_in: dict[str, Grant]) -> None:
    assert sorted(opt_in) == sorted(MISSED)


@pytest.mark.parametrize("name", MISSED)
def test_missing_right_is_named_and_mended_without_a_restart(
    site: Site, opt_in: dict[str, Grant], name: str
) -> None:
    missed, grant = MISSED[name], opt_in[name]
    site.without(grant)
    site.faulty_node("gpu-a")
    site.left_behind("gpu-b")
    site.storage_class()
    volumes = site.begin()
    named = f"grant verb '{grant.verb}' on resource '{grant.resource}'"
    eventually(
        lambda: any(missed.says in each for each in site.said),
        lambda: f"{missed.says}: {site.said[-20:]}",
    )
    if not missed.storage:
        assert any(missed.says in each and named in each for each in site.said)
    eventually(
        lambda: (site.stage("gpu-a"), sorted(site.jobs())) == (missed.stage, sorted(missed.jobs)),
        lambda: f"{site.stage('gpu-a')} {site.jobs()}: {site.said[-20:]}",
    )
    if "job-old" in missed.jobs:
        (left,) = (
            each for each in site.kube.request("GET", JOBS)["items"] if "job-old" in str(each)
        )
        assert left["spec"]["activeDeadlineSeconds"] > 0  # it ends by itself
    eventually(lambda: volumes.last is not None, "storage was tested", timeout_s=30.0)
    assert (volumes.last.status is ProbeStatus.ERROR) is missed.storage, volumes.last

    site.with_all()
    eventually(lambda: site.jobs() == ["new"], lambda: f"{site.jobs()}", timeout_s=60.0)
    assert site.stage("gpu-a") == "testing"
    # nobody provides volumes here: what is measured now is that none is bound
    eventually(
        lambda: volumes.fresh(0.0).status is ProbeStatus.FAIL,
        lambda: f"{volumes.last}",
        timeout_s=60.0,
    )
    assert not any("bug" in each for each in site.said)
