"""How does kubectl print it? Server-side Tables with the columns of a kube-apiserver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from konduktor_health.sandbox.kubeapi.cells import UNKNOWN, at, since
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.status import Json

Cell = Callable[[Json, int], Any]  # object, now in Unix nanoseconds
NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; those with priority 1 appear with ``-o wide`` only."""

    name: str
    cell: Cell
    priority: int = 0
    type: str = "string"

    def definition(self) -> Json:
        """The entry in columnDefinitions."""
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" else "",
            "description": self.name,
            "priority": self.priority,
        }


def _name(obj: Json, _: int) -> Any:
    return at(obj, "metadata", "name")


def _age(obj: Json, now: int) -> Any:
    return since(at(obj, "metadata", "creationTimestamp"), now)


def _get(*path: str, default: Any = "") -> Cell:
    return lambda obj, _: at(obj, *path, default=default)


NAME, AGE = Column("Name", _name), Column("Age", _age)


def _node_status(node: Json, _: int) -> str:
    ready = [c for c in at(node, "status", "conditions", default=[]) if c.get("type") == "Ready"]
    words = ["Ready" if c.get("status") == "True" else "NotReady" for c in ready] or ["Unknown"]
    if at(node, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Json, _: int) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = at(node, "metadata", "labels", default={})
    roles = sorted(k[len(prefix) :] for k in labels if k.startswith(prefix) and k != prefix)
    return ",".join(roles) or NONE


def _address(kind: str) -> Cell:
    def cell(node: Json, _: int) -> str:
        for address in at(node, "status", "addresses", default=[]):
            if address.get("type") == kind:
                return str(address.get("address"))
        return NONE

    return cell


def _pod_ready(pod: Json, _: int) -> str:
    states = at(pod, "status", "containerStatuses", default=[])
    wanted = len(at(pod, "spec", "containers", default=[]))
    return f"{sum(1 for s in states if s.get('ready'))}/{wanted}"


def _pod_status(pod: Json, _: int) -> str:
    if at(pod, "metadata", "deletionTimestamp"):
        return "Terminating"
    for state in at(pod, "status", "containerStatuses", default=[]):
        for phase in ("waiting", "terminated"):
            if reason := at(state, "state", phase, "reason"):
                return str(reason)
    return str(at(pod, "status", "reason") or at(pod, "status", "phase", default="Unknown"))


def _pod_restarts(pod: Json, _: int) -> str:
    states = at(pod, "status", "containerStatuses", default=[])
    return str(sum(int(s.get("restartCount") or 0) for s in states))


def _event_seen(first: bool) -> Cell:
    keys = ("firstTimestamp", "eventTime") if first else ("lastTimestamp", "eventTime")

    def cell(event: Json, now: int) -> str:
        latest = "" if first else at(event, "series", "lastObservedTime")
        stamp = latest or at(event, keys[0]) or at(event, keys[1])
        return since(stamp or at(event, "metadata", "creationTimestamp"), now)

    return cell


def _event_object(event: Json, _: int) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_source(event: Json, _: int) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = (
        source.get("component")
        or event.get("reportingComponent")
        or event.get("reportingController", "")
    )
    return ", ".join(str(part) for part in (component, source.get("host")) if part)


def _event_message(event: Json, _: int) -> str:
    return str(event.get("message") or event.get("note") or "").strip()


def _event_count(event: Json, _: int) -> int:
    return int(at(event, "series", "count") or event.get("count") or 1)


def _labels(*path: str) -> Cell:
    def cell(obj: Json, _: int) -> str:
        pairs = at(obj, *path, default={})
        return ",".join(f"{k}={v}" for k, v in sorted(pairs.items())) or NONE

    return cell


def _containers(key: str) -> Cell:
    def cell(obj: Json, _: int) -> str:
        containers = at(obj, "spec", "template", "spec", "containers", default=[])
        return ",".join(str(c.get(key, "")) for c in containers)

    return cell


def _count(field: str) -> Column:
    title = {
        "desiredNumberScheduled": "Desired",
        "currentNumberScheduled": "Current",
        "numberReady": "Ready",
        "updatedNumberScheduled": "Up-to-date",
        "numberAvailable": "Available",
    }[field]
    return Column(title, _get("status", field, default=0), type="integer")


COLUMNS: dict[str, tuple[Column, ...]] = {
    "nodes": (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", _get("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _address("InternalIP"), 1),
        Column("External-IP", _address("ExternalIP"), 1),
        Column("OS-Image", _get("status", "nodeInfo", "osImage", default=UNKNOWN), 1),
        Column("Kernel-Version", _get("status", "nodeInfo", "kernelVersion", default=UNKNOWN), 1),
        Column(
            "Container-Runtime",
            _get("status", "nodeInfo", "containerRuntimeVersion", default=UNKNOWN),
            1,
        ),
    ),
    "pods": (
        NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        AGE,
        Column("IP", _get("status", "podIP", default=NONE), 1),
        Column("Node", _get("spec", "nodeName", default=NONE), 1),
        Column("Nominated Node", _get("status", "nominatedNodeName", default=NONE), 1),
        Column("Readiness Gates", lambda _pod, _now: NONE, 1),
    ),
    "events": (
        Column("Last Seen", _event_seen(first=False)),
        Column("Type", _get("type")),
        Column("Reason", _get("reason")),
        Column("Object", _event_object),
        Column("Subobject", _get("involvedObject", "fieldPath"), 1),
        Column("Source", _event_source, 1),
        Column("Message", _event_message),
        Column("First Seen", _event_seen(first=True), 1),
        Column("Count", _event_count, 1, "integer"),
        Column("Name", _name, 1),
    ),
    "leases": (NAME, Column("Holder", _get("spec", "holderIdentity")), AGE),
    "configmaps": (
        NAME,
        Column(
            "Data",
            lambda obj, _: len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
            type="integer",
        ),
        AGE,
    ),
    "secrets": (
        NAME,
        Column("Type", lambda obj, _: obj.get("type") or "Opaque"),
        Column("Data", lambda obj, _: len(obj.get("data") or {}), type="integer"),
        AGE,
    ),
    "namespaces": (NAME, Column("Status", _get("status", "phase")), AGE),
    "daemonsets": (
        NAME,
        _count("desiredNumberScheduled"),
        _count("currentNumberScheduled"),
        _count("numberReady"),
        _count("updatedNumberScheduled"),
        _count("numberAvailable"),
        Column("Node Selector", _labels("spec", "template", "spec", "nodeSelector")),
        AGE,
        Column("Containers", _containers("name"), 1),
        Column("Images", _containers("image"), 1),
        Column("Selector", _labels("spec", "selector", "matchLabels"), 1),
    ),
    "poddisruptionbudgets": (
        NAME,
        Column("Min Available", _get("spec", "minAvailable", default="N/A")),
        Column("Max Unavailable", _get("spec", "maxUnavailable", default="N/A")),
        Column("Allowed Disruptions", _get("status", "disruptionsAllowed", default=0)),
        AGE,
    ),
}


def table(
    resource: Resource,
    objects: Iterable[Json],
    now: int,
    *,
    meta: Json,
    include: str,
    columns: bool = True,
) -> Json:
    """A meta.k8s.io/v1 Table. ``include`` is the includeObject parameter; ``columns`` False
    leaves the definitions out, as in all frames of a watch but the first."""
    shown = COLUMNS.get(resource.plural, (NAME, AGE))
    result: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    result["columnDefinitions"] = [c.definition() for c in shown] if columns else None
    result["rows"] = [
        {"cells": [c.cell(obj, now) for c in shown], "object": _included(obj, include)}
        for obj in objects
    ]
    return result


def _included(obj: Json, include: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata") or {},
    }
