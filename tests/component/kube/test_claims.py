"""Claims of volumes, on the sandbox and on a real API server: ours alone, deleted exactly."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from konduktor_health.adapters.kube import KubeClaims, build_claims
from konduktor_health.clock import SystemClock
from konduktor_health.errors import Conflict, NotFound
from konduktor_health.job_ports import VolumeClaim, VolumeClaims
from konduktor_health.model import ProbeStatus
from konduktor_health.runtime.volume_check import VolumeCheck
from konduktor_health.settings import load
from tests.component.kube.conftest import Side, eventually
from tests.support.kube_rest import MERGE

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
NAME = "konduktor-volume-check"


def adapter(side: Side, name: str = "fast", **more: Any) -> KubeClaims:
    http, _ = side.adapter()
    path = side.directory / "default.kubeconfig"
    flags: dict[str, Any] = {
        "cluster": {"kubeconfig": str(path), "namespace": "default"},
        "probes": {"namespace": "default", "pvc": {"storage_class": name}},
    }
    suffix = f"-{more['shard']['value']}" if more else ""

    def gone() -> None:
        """Without the kubelet's and the controller's finalizers, which nobody takes away here."""
        side.rest.call("DELETE", f"{CLAIMS}/{NAME}{suffix}")
        release(side, NAME + suffix)

    side.cleanups.append(gone)
    return build_claims(load(flags=flags | more, environ={}), http)


def release(side: Side, name: str = NAME) -> None:
    """What takes the finalizers away once nothing uses a claim (controller-manager)."""
    path = f"{CLAIMS}/{name}"
    if side.rest.call("GET", path).status_code == 200:
        side.rest.patch(path, {"metadata": {"finalizers": None}}, MERGE)


def storage_class(side: Side, name: str, binding: str, reclaim: str) -> None:
    body = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "none.invalid/none",
        "volumeBindingMode": binding,
        "reclaimPolicy": reclaim,
    }
    side.rest.ok("POST", CLASSES, body)
    side.cleanups.append(lambda: side.rest.call("DELETE", f"{CLASSES}/{name}"))


def bind(side: Side) -> None:
    side.rest.patch(f"{CLAIMS}/{NAME}/status", {"status": {"phase": "Bound"}}, MERGE)


def conforms(claims: KubeClaims) -> VolumeClaims:
    """For mypy: the adapter is what the port asks for."""
    return claims


def test_what_matters_of_a_class_is_read(side: Side) -> None:
    storage_class(side, "fast", "Immediate", "Delete")
    storage_class(side, "late", "WaitForFirstConsumer", "Retain")
    fast, late = adapter(side).storage_class(), adapter(side, "late").storage_class()
    assert (fast.waits_for_a_pod, fast.keeps_volumes) == (False, False)
    assert (late.waits_for_a_pod, late.keeps_volumes) == (True, True)
    with pytest.raises(NotFound):
        adapter(side, "none").storage_class()


def test_a_claim_is_made_once_seen_and_the_very_one_deleted(side: Side) -> None:
    claims = adapter(side)
    claim = claims.make()
    with pytest.raises(Conflict):
        claims.make()
    assert [each.uid for each in claims.claims()] == [claim.uid]
    bind(side)
    assert claims.look(claim.name).phase == "Bound"
    claims.remove(VolumeClaim(claim.name, "another-uid"))
    assert not claims.look(claim.name).going
    claims.remove(claim)
    release(side)
    eventually(lambda: claims.claims() == ())
    claims.remove(claim)
    with pytest.raises(NotFound):
        claims.look(claim.name)


def test_claims_of_others_and_of_other_shards_are_not_seen(side: Side) -> None:
    shard = {"label": "example.com/shard", "value": "a"}
    plain, of_a = adapter(side), adapter(side, shard=shard)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    side.rest.ok("POST", CLAIMS, {"metadata": {"name": "theirs"}, "spec": spec})
    side.cleanups.append(lambda: release(side, "theirs"))
    side.cleanups.insert(0, lambda: side.rest.call("DELETE", f"{CLAIMS}/theirs"))
    of_a.make()
    assert plain.claims() == ()
    assert [each.name for each in of_a.claims()] == [f"{NAME}-a"]


def test_storage_is_tested_from_end_to_end(side: Side) -> None:
    """Somebody binds the claim and lets it go, as a provisioner and its controller do."""
    storage_class(side, "fast", "Immediate", "Delete")
    claims, over = adapter(side), threading.Event()

    def provision() -> None:
        while not over.wait(0.05):
            for claim in claims.claims():
                if claim.going:
                    release(side)
                elif claim.phase != "Bound":
                    bind(side)

    thread = threading.Thread(target=provision, daemon=True)
    check = VolumeCheck(
        claims,
        clock=SystemClock(),
        interval_s=60,
        timeout_s=20,
        assert_leader=lambda: None,
        publish=lambda _event: None,
    )
    thread.start()
    try:
        result = check.once(threading.Event())
    finally:
        over.set()
        thread.join(5)
    assert result is not None
    assert (result.status, claims.claims()) == (ProbeStatus.PASS, ())
