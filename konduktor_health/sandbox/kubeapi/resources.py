"""Which resources does the API serve? One table; a new resource is one line.

Properties are those of a kube-apiserver 1.36 (which resources count generations, allow an update
without a version, create on update, give the deleted object back).
"""

from __future__ import annotations

from dataclasses import dataclass

_COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_POD_FIELDS = _COMMON_FIELDS | {
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
}
_EVENT_FIELDS = _COMMON_FIELDS | {
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
}
_NEW_EVENT_FIELDS = _COMMON_FIELDS | {
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "reason",
    "reportingController",
    "type",
}
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of the table."""

    group: str  # "" is the core group
    version: str
    plural: str
    kind: str
    namespaced: bool
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    fields: frozenset[str] = _COMMON_FIELDS  # what fieldSelector may name
    counts_generation: bool = False
    unconditional_update: bool = True  # PUT without resourceVersion
    create_on_update: bool = False
    returns_deleted: bool = False  # DELETE answers with the object, not with a Status
    verbs: tuple[str, ...] = _VERBS

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """True where status is written through its own subresource."""
        return "status" in self.subresources

    @property
    def storage(self) -> str:
        """Under which name the objects are kept; both event APIs share one."""
        return self.plural


RESOURCES: tuple[Resource, ...] = (
    Resource(
        "",
        "v1",
        "nodes",
        "Node",
        False,
        ("no",),
        ("status",),
        fields=_COMMON_FIELDS | {"spec.unschedulable"},
    ),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        True,
        ("po",),
        ("status", "eviction", "log", "proxy"),
        ("all",),
        fields=_POD_FIELDS,
        counts_generation=True,
        returns_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "namespaces",
        "Namespace",
        False,
        ("ns",),
        ("status", "finalize"),
        fields=_COMMON_FIELDS | {"status.phase"},
        returns_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "events",
        "Event",
        True,
        ("ev",),
        fields=_EVENT_FIELDS,
        create_on_update=True,
    ),
    Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Resource("", "v1", "secrets", "Secret", True),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), returns_deleted=True),
    Resource(
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        True,
        ("pvc",),
        ("status",),
        returns_deleted=True,
    ),
    Resource(
        "storage.k8s.io",
        "v1",
        "storageclasses",
        "StorageClass",
        False,
        ("sc",),
        returns_deleted=True,
    ),
    Resource(
        "batch",
        "v1",
        "jobs",
        "Job",
        True,
        subresources=("status",),
        categories=("all",),
        fields=_COMMON_FIELDS | {"status.successful"},
        counts_generation=True,
    ),
    Resource(
        "events.k8s.io",
        "v1",
        "events",
        "Event",
        True,
        ("ev",),
        fields=_NEW_EVENT_FIELDS,
        create_on_update=True,
    ),
    Resource(
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        True,
        unconditional_update=False,
        create_on_update=True,
    ),
    Resource(
        "apps",
        "v1",
        "daemonsets",
        "DaemonSet",
        True,
        ("ds",),
        ("status",),
        ("all",),
        counts_generation=True,
    ),
    Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        True,
        ("pdb",),
        ("status",),
        counts_generation=True,
        unconditional_update=False,
    ),
)

_BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}
# The first row wins: "events" on the Python side means the core form, in which they are kept.
_BY_PLURAL = {r.plural: r for r in reversed(RESOURCES)}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The resource of a URL, or None."""
    return _BY_PATH.get((group, version, plural))


def named(plural: str) -> Resource:
    """The resource that Python code means by a plural. KeyError for an unknown one."""
    return _BY_PLURAL[plural]


def groups() -> list[tuple[str, str]]:
    """(group, version) pairs other than the core, in table order."""
    return list(dict.fromkeys((r.group, r.version) for r in RESOURCES if r.group))
