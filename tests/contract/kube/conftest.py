"""Which servers does the Kubernetes contract run against? The sandbox, and the real one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from konduktor_health.sandbox.kubeapi import KubeApi
from tests.support.kube_rest import KubeRest, KubeServer


@pytest.fixture(scope="session")
def sandbox_kube() -> Iterator[KubeApi]:
    api = KubeApi(tokens={"contract-token": "contract"})
    api.start()
    yield api
    api.stop()
    assert api.failures == []


@pytest.fixture(params=["sandbox", pytest.param("real", marks=pytest.mark.e2e)])
def kube_server(request: pytest.FixtureRequest) -> KubeServer:
    if request.param == "sandbox":
        api = request.getfixturevalue("sandbox_kube")
        return KubeServer(api.url, {"Authorization": "Bearer contract-token"}, True, "sandbox")
    real = request.getfixturevalue("real_kube")
    headers = {"Authorization": f"Bearer {real.token}"}
    return KubeServer(real.url, headers, str(real.ca), "real")


@pytest.fixture
def kube(kube_server: KubeServer) -> Iterator[KubeRest]:
    client = KubeRest(kube_server)
    deadline = time.monotonic() + 20  # a fresh API server makes its namespaces after it is ready
    while client.call("GET", "/api/v1/namespaces/default").status_code != 200:
        assert time.monotonic() < deadline, "no default namespace"
        threading.Event().wait(0.05)
    yield client
    client.close()
