"""Is the node's kmsg pod found, and is an exec that cannot be told why?

A command that runs needs a kubelet: that is tested where there is one.
"""

from __future__ import annotations

import pytest

from konduktor_health.adapters.kube.exec import exec_in_pod, find_kmsg_pod
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ClusterForbidden, ClusterUnavailable, HealthError, NotFound
from tests.component.kube.conftest import Side

PODS = "/api/v1/namespaces/default/pods"


def pod(side: Side, name: str, node: str, phase: str) -> None:
    metadata = {"name": name, "labels": {"app.kubernetes.io/component": "probe"}}
    spec = {"nodeName": node, "containers": [{"name": "kmsg", "image": "none"}]}
    body = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}
    side.rest.ok("POST", PODS, body)
    side.rest.patch(f"{PODS}/{name}/status", {"status": {"phase": phase}})
    now = {"gracePeriodSeconds": 0}
    side.cleanups.append(lambda: side.rest.call("DELETE", f"{PODS}/{name}", now))


def test_the_running_pod_of_that_node_is_found(side: Side) -> None:
    here, there = side.node(), side.node()
    pod(side, f"pending-{here}", here, "Pending")
    pod(side, f"other-{here}", there, "Running")
    http, _ = side.adapter()
    with pytest.raises(NotFound, match=here) as caught:
        find_kmsg_pod(http, here, "default")
    assert caught.value.hint
    pod(side, f"running-{here}", here, "Running")
    assert find_kmsg_pod(http, here, "default") == f"running-{here}"


@pytest.mark.parametrize(
    ("user", "name", "error"),
    [("nobody", "p", ClusterForbidden), ("", "missing", NotFound), ("", "p", HealthError)],
    ids=["forbidden", "no such pod", "no kubelet"],
)
def test_an_exec_that_cannot_be(
    real_side: Side, user: str, name: str, error: type[HealthError]
) -> None:
    pod(real_side, "p", real_side.node(), "Running")
    http, _ = real_side.adapter(user)
    with pytest.raises(error, match="pods/exec"):
        exec_in_pod(http, SystemClock(), "default", name, "kmsg", ["true"], "x", timeout_s=5)


def test_an_exec_to_nowhere(sandbox_side: Side) -> None:
    http, _ = sandbox_side.adapter()
    http.server = "http://127.0.0.1:1"
    with pytest.raises(ClusterUnavailable):
        exec_in_pod(http, SystemClock(), "default", "p", "kmsg", ["true"])
