"""Which volume claims of ours are there, and how are they made and deleted? By REST.

Only claims with our labels are seen, and only the very one that was seen is deleted (UID). A claim
that is gone at once or later is done: whether it goes is for whoever asks to see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.nodes import printable
from konduktor_health.core.shard import Shard
from konduktor_health.errors import Conflict, NotFound
from konduktor_health.job_ports import StorageClass, VolumeClaim
from konduktor_health.model import Keys

COMPONENT = "volume-check"
NAME = "konduktor-volume-check"
_MANAGED_BY = "konduktor-health"
_MOST = "100"


@dataclass(frozen=True, slots=True)
class ClaimShape:
    """What is claimed, and where."""

    namespace: str
    storage_class: str
    access_mode: str
    size: str


class KubeClaims:
    """``ports.VolumeClaims`` on a real API server. Thread-safe."""

    def __init__(self, http: KubeHttp, shape: ClaimShape, keys: Keys, shard: Shard) -> None:
        self._http = http
        self._shape = shape
        self._keys = keys
        self._shard = shard
        space = quote(shape.namespace, safe="")
        self._collection = f"/api/v1/namespaces/{space}/persistentvolumeclaims"

    def storage_class(self) -> StorageClass:
        """The class that is tested; NotFound."""
        name = quote(self._shape.storage_class, safe="")
        raw = self._http.get(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
        return StorageClass(
            name=self._shape.storage_class,
            waits_for_a_pod=raw.get("volumeBindingMode") == "WaitForFirstConsumer",
            keeps_volumes=raw.get("reclaimPolicy") == "Retain",
        )

    def claims(self) -> tuple[VolumeClaim, ...]:
        """All of ours, of this shard, those that are going too."""
        key = self._keys.shard
        shard = f"{key}={self._shard.value}" if self._shard.value else f"!{key}"
        component = f"app.kubernetes.io/component={COMPONENT}"
        selector = f"{component},app.kubernetes.io/managed-by={_MANAGED_BY},{shard}"
        answer = self._http.get(self._collection, {"labelSelector": selector, "limit": _MOST})
        return tuple(map(_claim, _maps(answer.get("items"))))

    def make(self) -> VolumeClaim:
        """Claim a volume; Conflict where one of the name is there."""
        labels = {
            "app.kubernetes.io/component": COMPONENT,
            "app.kubernetes.io/managed-by": _MANAGED_BY,
            "app.kubernetes.io/part-of": "konduktor",
        }
        if self._shard.value:
            labels[self._keys.shard] = self._shard.value
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": self._shard.name(NAME),
                "namespace": self._shape.namespace,
                "labels": labels,
            },
            "spec": {
                "accessModes": [self._shape.access_mode],
                "storageClassName": self._shape.storage_class,
                "resources": {"requests": {"storage": self._shape.size}},
            },
        }
        self._http.request("POST", self._collection, body=body)
        return self.look(self._shard.name(NAME))

    def look(self, name: str) -> VolumeClaim:
        """One claim as it is now; NotFound."""
        return _claim(self._http.get(f"{self._collection}/{quote(name, safe='')}"))

    def remove(self, claim: VolumeClaim) -> None:
        """Delete exactly this one. Gone, or another one by now, is done."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": claim.uid},
        }
        path = f"{self._collection}/{quote(claim.name, safe='')}"
        try:
            self._http.request("DELETE", path, body=body)
        except (NotFound, Conflict):
            return


def _claim(raw: dict[str, Any]) -> VolumeClaim:
    meta, status = _map(raw.get("metadata")), _map(raw.get("status"))
    return VolumeClaim(
        name=printable(meta.get("name"), 253),
        uid=printable(meta.get("uid"), 128),
        phase=printable(status.get("phase"), 32),
        going=bool(meta.get("deletionTimestamp")),
    )


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Iterable[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
