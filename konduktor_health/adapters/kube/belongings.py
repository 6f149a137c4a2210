"""What of ours lies in the namespace, and how is it deleted? Lease, state ConfigMap, signing keys.

A delete carries UID and resourceVersion as preconditions: what was written since it was read, by
a controller that has started meanwhile, stays.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.cluster import STATE_NAME
from konduktor_health.adapters.kube.nodes import printable
from konduktor_health.core.shard import Shard
from konduktor_health.errors import NotFound
from konduktor_health.model import Keys
from konduktor_health.ports import OwnObject

#: Private and public keys that requests to agents are signed with: all shards use the same.
SIGNING_SECRET = "konduktor-health-signing"  # noqa: S105 - its name
SIGNING_CONFIG_MAP = "konduktor-health-probe-keys"
_COLLECTIONS = {
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}


class KubeBelongings:
    """Belongings of ports on a real API server. Thread-safe."""

    def __init__(
        self,
        http: KubeHttp,
        namespace: str,
        lease: str,
        shard: Shard,
        keys: Keys,
        *,
        agents: str = "",
    ) -> None:
        """``agents``: namespace of the agents; default: the same."""
        self._http = http
        self._namespace = namespace
        self._lease = lease
        self._shard = shard
        self._keys = keys
        self._agents = agents or namespace

    @property
    def shard(self) -> str:
        """Whose they are: the shard's value, empty for the one without."""
        return self._shard.value

    def every_shard(self) -> tuple[KubeBelongings, ...]:
        """These, and those of each other shard that has a Lease or a state here, by its value.

        A shard marks its objects with a label; a name that merely looks like it is not taken.
        Raises what the port raises, ClusterForbidden where Leases or ConfigMaps may not be listed.
        """
        values = self._marked("Lease", self._lease) | self._marked("ConfigMap", STATE_NAME)
        others = sorted((values | {""}) - {self._shard.value})
        return (
            self,
            *(
                KubeBelongings(
                    self._http,
                    self._namespace,
                    self._lease,
                    Shard("", value),
                    self._keys,
                    agents=self._agents,
                )
                for value in others
            ),
        )

    def state(self) -> OwnObject | None:
        """The controller's ConfigMap, or None."""
        return self._find("ConfigMap", self._shard.name(STATE_NAME))

    def lease(self) -> OwnObject | None:
        """The Lease with its holder, or None."""
        return self._find("Lease", self._shard.name(self._lease))

    def signing(self) -> tuple[OwnObject, ...]:
        """The keys that requests to agents are signed with: Secret, then public keys."""
        each = (
            self._find("Secret", SIGNING_SECRET, self._agents),
            self._find("ConfigMap", SIGNING_CONFIG_MAP, self._agents),
        )
        return tuple(found for found in each if found is not None)

    def delete(self, found: OwnObject) -> None:
        """Delete exactly the version that was found; Conflict otherwise. Gone is done."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": found.uid, "resourceVersion": found.resource_version},
        }
        try:
            self._http.request(
                "DELETE", self._path(found.kind, found.name, found.namespace), body=body
            )
        except NotFound:
            return

    def _marked(self, kind: str, name: str) -> set[str]:
        """Values of the shards whose object of this kind and base name is there."""
        path = _COLLECTIONS[kind].format(quote(self._namespace, safe=""))
        found = set()
        for item in self._http.get(path, {"labelSelector": self._keys.shard}).get("items") or []:
            meta = _map(_map(item).get("metadata"))
            value = _map(meta.get("labels")).get(self._keys.shard)
            if isinstance(value, str) and value and meta.get("name") == f"{name}-{value}":
                found.add(value)
        return found

    def _find(self, kind: str, name: str, namespace: str = "") -> OwnObject | None:
        namespace = namespace or self._namespace
        try:
            raw = self._http.get(self._path(kind, name, namespace))
        except NotFound:
            return None
        meta, spec = _map(raw.get("metadata")), _map(raw.get("spec"))
        seconds = spec.get("leaseDurationSeconds")
        known = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
        return OwnObject(
            kind=kind,
            namespace=namespace,
            name=name,
            uid=str(meta.get("uid") or ""),
            resource_version=str(meta.get("resourceVersion") or ""),
            holder=printable(spec.get("holderIdentity"), 253),
            duration_s=float(seconds or 0) if known else None,
            renewed=printable(spec.get("renewTime"), 64),
        )

    def _path(self, kind: str, name: str, namespace: str) -> str:
        collection = _COLLECTIONS[kind].format(quote(namespace, safe=""))
        return f"{collection}/{quote(name, safe='')}"


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
