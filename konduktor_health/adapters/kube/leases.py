"""How is a Lease read and written? The LeaseApi of the elector, by REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from konduktor_health.adapters.kube.client import KubeHttp, decode_object
from konduktor_health.adapters.kube.status import call_of
from konduktor_health.errors import ClusterRejected, NotFound


class KubeLease:
    """The Lease by REST."""

    def __init__(
        self, http: KubeHttp, namespace: str, name: str, labels: Mapping[str, str] | None = None
    ) -> None:
        space = quote(namespace, safe="")
        self._http = http
        self._namespace = namespace
        self._name = name
        self._labels = dict(labels or {})  # of a Lease that is created here
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases"
        self._path = f"{self._collection}/{quote(name, safe='')}"

    def get(self, timeout_s: float) -> dict[str, Any] | None:
        """The raw object, None when there is none."""
        try:
            answer = self._http.request("GET", self._path, timeout_s=timeout_s)
        except NotFound:
            return None
        return decode_object(answer, call_of("GET", self._path))

    def create(self, spec: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Create it."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                **({"labels": self._labels} if self._labels else {}),
            },
            "spec": dict(spec),
        }
        try:
            answer = self._http.request("POST", self._collection, body=body, timeout_s=timeout_s)
        except NotFound as error:
            raise ClusterRejected(
                f"namespace {self._namespace} does not exist: {error}",
                hint=f"kubectl create namespace {self._namespace}",
            ) from error
        return decode_object(answer, call_of("POST", self._collection))

    def replace(self, lease: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Replace one version."""
        answer = self._http.request("PUT", self._path, body=lease, timeout_s=timeout_s)
        return decode_object(answer, call_of("PUT", self._path))
