"""What of ours lies in the namespace, and how is it deleted? Lease and state ConfigMap.

A delete carries UID and resourceVersion as preconditions: what was written since it was read, by
a controller that has started meanwhile, stays.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.cluster import STATE_NAME
from konduktor_health.adapters.kube.nodes import printable
from konduktor_health.errors import NotFound
from konduktor_health.ports import OwnObject

_COLLECTIONS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}


class KubeBelongings:
    """Belongings of ports on a real API server. Thread-safe."""

    def __init__(self, http: KubeHttp, namespace: str, lease: str) -> None:
        self._http = http
        self._namespace = namespace
        self._lease = lease

    def state(self) -> OwnObject | None:
        """The controller's ConfigMap, or None."""
        return self._find("ConfigMap", STATE_NAME)

    def lease(self) -> OwnObject | None:
        """The Lease with its holder, or None."""
        return self._find("Lease", self._lease)

    def delete(self, found: OwnObject) -> None:
        """Delete exactly the version that was found; Conflict otherwise. Gone is done."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": found.uid, "resourceVersion": found.resource_version},
        }
        try:
            self._http.request("DELETE", self._path(found.kind, found.name), body=body)
        except NotFound:
            return

    def _find(self, kind: str, name: str) -> OwnObject | None:
        try:
            raw = self._http.get(self._path(kind, name))
        except NotFound:
            return None
        meta, spec = _map(raw.get("metadata")), _map(raw.get("spec"))
        seconds = spec.get("leaseDurationSeconds")
        known = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
        return OwnObject(
            kind=kind,
            namespace=self._namespace,
            name=name,
            uid=str(meta.get("uid") or ""),
            resource_version=str(meta.get("resourceVersion") or ""),
            holder=printable(spec.get("holderIdentity"), 253),
            duration_s=float(seconds or 0) if known else None,
            renewed=printable(spec.get("renewTime"), 64),
        )

    def _path(self, kind: str, name: str) -> str:
        collection = _COLLECTIONS[kind].format(quote(self._namespace, safe=""))
        return f"{collection}/{quote(name, safe='')}"


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
