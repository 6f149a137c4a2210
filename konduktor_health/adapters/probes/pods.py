"""On which nodes is there an agent, and at which address? The pods of our DaemonSet.

A report belongs to the node of the pod that served it: node and address are what the API server
says of the pod (the kubelet of that node wrote the address, and may write no other node's pods).

Invariants:
- Ours is a pod that the DaemonSet owns, by name and UID, in its namespace. One on the host's
  network is none: whatever else listens there would speak for it.
- A pod without our port runs no agent (an older DaemonSet that only forwards the kernel's log).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from konduktor_health.clock import parse_rfc3339

#: What Multus writes on a pod: its networks, their interfaces and addresses.
NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
_MOST_NETWORKS = 32
_MOST_ADDRESSES = 8
_DEFAULT_INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class Owner:
    """The DaemonSet that owns the agents."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class AgentPod:
    """An agent's pod. Times are Unix ns."""

    node: str
    name: str
    uid: str
    address: str
    port: int
    ready: bool = False
    created_ns: int = 0
    # interfaces of the pod and their addresses, its own first
    interfaces: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class NoAgent:
    """A pod that is no agent of ours that can be asked, and why."""

    uid: str
    why: str  # foreign_owner, host_network, other_daemonset, no_port, no_address, ending


class KnowsAgents(Protocol):
    """Which nodes have an agent (``pod_watch``)."""

    def start(self, stop: threading.Event) -> None:
        """Follow them until ``stop`` is set."""
        ...

    def names(self) -> frozenset[str] | None:
        """The nodes that have one; None: not known yet."""
        ...

    def of(self, node: str) -> AgentPod | None:
        """A node's."""
        ...

    def on_change(self, callback: Callable[[Collection[str]], None]) -> None:
        """Register callback(nodes): another agent, one more or one less."""
        ...


def agent_of(raw: object, owner: Owner, port: int) -> AgentPod | NoAgent:
    """What a raw Pod is to us. Never raises: odd fields count as absent."""
    pod = _map(raw)
    meta, spec, status = (_map(pod.get(key)) for key in ("metadata", "spec", "status"))
    uid, node = _word(meta.get("uid")), _word(spec.get("nodeName"))
    why = _why_not_ours(meta, owner)
    if not why and spec.get("hostNetwork") is True:
        why = "host_network"
    if not why and not _has_port(spec, port):
        why = "no_port"
    if not why and (
        meta.get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded")
    ):
        why = "ending"
    address = _word(status.get("podIP"))
    if not why and not (uid and node and address):
        why = "no_address"
    if why:
        return NoAgent(uid, why)
    return AgentPod(
        node=node,
        name=_word(meta.get("name")),
        uid=uid,
        address=address,
        port=port,
        ready=_is_ready(status),
        created_ns=_time(meta.get("creationTimestamp")),
        interfaces=_interfaces(meta, address),
    )


def _why_not_ours(meta: dict[str, Any], owner: Owner) -> str:
    for each in _maps(meta.get("ownerReferences")):
        if each.get("controller") is True and each.get("kind") == "DaemonSet":
            if each.get("apiVersion") != "apps/v1" or each.get("name") != owner.name:
                return "foreign_owner"
            return "" if each.get("uid") == owner.uid else "other_daemonset"
    return "foreign_owner"


def _has_port(spec: dict[str, Any], port: int) -> bool:
    return any(
        each.get("containerPort") == port
        for container in _maps(spec.get("containers"))
        for each in _maps(container.get("ports"))
    )


def _is_ready(status: dict[str, Any]) -> bool:
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in _maps(status.get("conditions"))
    )


def _interfaces(meta: dict[str, Any], address: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The pod's own address, and those of the networks that Multus has added."""
    found: dict[str, tuple[str, ...]] = {}
    own = _DEFAULT_INTERFACE
    for network in _networks(meta):
        name = _word(network.get("interface"))
        listed = network.get("ips")
        addresses = tuple(
            word for each in (listed if isinstance(listed, list) else ()) if (word := _word(each))
        )[:_MOST_ADDRESSES]
        if network.get("default") is True:
            own = name or own
        elif name and addresses:
            found.setdefault(name, addresses)
    return ((own, (address,)), *found.items())


def _networks(meta: dict[str, Any]) -> Iterator[dict[str, Any]]:
    text = _map(meta.get("annotations")).get(NETWORK_STATUS)
    if not isinstance(text, str) or len(text) > 64 * 1024:
        return
    try:
        networks = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from list(_maps(networks))[:_MOST_NETWORKS]


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Iterator[dict[str, Any]]:
    return (
        (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
    )


def _word(value: object) -> str:
    usable = isinstance(value, str) and 0 < len(value) <= 253 and value.isprintable()
    return value if usable and isinstance(value, str) else ""


def _time(value: object) -> int:
    try:
        return parse_rfc3339(value) if isinstance(value, str) and len(value) < 64 else 0
    except (ValueError, OverflowError):
        return 0
