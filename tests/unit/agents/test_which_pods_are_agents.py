"""An agent's pod is owned by our DaemonSet, on the pod network, with our port; else it is none."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.probes.pods import (
    NETWORK_STATUS,
    AgentPod,
    NoAgent,
    Owner,
    agent_of,
)

OWNER = Owner("konduktor-health-probe", "ds-uid")
POD: dict[str, Any] = {
    "metadata": {
        "name": "konduktor-health-probe-x7k2p",
        "namespace": "konduktor-health",
        "uid": "pod-uid",
        "creationTimestamp": "2027-01-01T00:00:00Z",
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "name": "konduktor-health-probe",
                "uid": "ds-uid",
                "controller": True,
            }
        ],
    },
    "spec": {
        "nodeName": "gpu-1",
        "containers": [
            {"name": "kmsg"},
            {"name": "agent", "ports": [{"name": "agent", "containerPort": 9410}]},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.244.3.7",
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    pod = deepcopy(POD)
    *parents, last = path.split(".")
    at: Any = pod
    for key in parents:
        at = at[int(key)] if key.isdigit() else at[key]
    at[last] = value
    return pod


def judged(pod: object) -> AgentPod | NoAgent:
    return agent_of(pod, OWNER, 9410)


def test_an_agents_pod_says_node_and_address() -> None:
    agent = judged(POD)
    assert isinstance(agent, AgentPod)
    assert (agent.node, agent.address, agent.port) == ("gpu-1", "10.244.3.7", 9410)
    assert agent.ready
    assert agent.interfaces == (("eth0", ("10.244.3.7",)),)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("metadata.ownerReferences", [], "foreign_owner"),
        ("metadata.ownerReferences.0.name", "other", "foreign_owner"),
        ("metadata.ownerReferences.0.kind", "ReplicaSet", "foreign_owner"),
        ("metadata.ownerReferences.0.apiVersion", "example.com/v1", "foreign_owner"),
        ("metadata.ownerReferences.0.controller", False, "foreign_owner"),
        ("metadata.ownerReferences.0.uid", "an older one's", "other_daemonset"),
        ("spec.hostNetwork", True, "host_network"),
        ("spec.containers", [{"name": "kmsg"}], "no_port"),
        ("spec.nodeName", None, "no_address"),
        ("status.podIP", "", "no_address"),
        ("status.phase", "Failed", "ending"),
        ("metadata.deletionTimestamp", "2027-01-01T00:00:00Z", "ending"),
    ],
)
def test_what_is_no_agent_of_ours(path: str, value: Any, why: str) -> None:
    found = judged(changed(path, value))
    assert isinstance(found, NoAgent)
    assert (found.why, found.uid) == (why, "pod-uid")


def test_networks_of_multus_are_told_with_their_addresses() -> None:
    networks = [
        {"name": "k8s-pod-network", "interface": "eth0", "ips": ["10.244.3.7"], "default": True},
        {"name": "rdma/a", "interface": "net1", "ips": ["192.168.1.7", 4, ""]},
        {"name": "rdma/b", "interface": "net2"},
    ]
    agent = judged(changed("metadata.annotations", {NETWORK_STATUS: json.dumps(networks)}))
    assert isinstance(agent, AgentPod)
    assert agent.interfaces == (("eth0", ("10.244.3.7",)), ("net1", ("192.168.1.7",)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = [
    "metadata", "metadata.ownerReferences", "metadata.uid", "metadata.creationTimestamp", "spec",
    "spec.containers", "spec.nodeName", "status", "status.conditions", "status.podIP",
    "metadata.annotations",
]  # fmt: skip


@given(st.sampled_from(PATHS), JSON)
def test_odd_pods_raise_nothing(path: str, value: Any) -> None:
    assert isinstance(judged(changed(path, value)), (AgentPod, NoAgent))
    judged(changed("metadata.annotations", {NETWORK_STATUS: json.dumps(value)}))
    judged(value)
