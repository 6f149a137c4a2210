"""How does Python code prepare and look at the objects of the sandbox?

Everything goes in and comes out as a copy, under the same revisions, conflicts and watches as
over HTTP. There is no admission here: what a test stores is stored as given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from konduktor_health.sandbox.kubeapi import resources, status
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.revisions import Revisions
from konduktor_health.sandbox.kubeapi.selectors import Predicate, everything
from konduktor_health.sandbox.kubeapi.status import Json

Objects = list[Json]


class Store(Revisions):
    """Objects by plural name (``nodes``, ``leases``, ...). Thread-safe."""

    def create(self, plural: str, obj: Json, *, namespace: str = "") -> Json:
        """Create an object as given, status included. ApiError 409 AlreadyExists."""
        resource = resources.named(plural)
        obj = copy.deepcopy(obj)
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        if resource.namespaced:
            meta = obj.setdefault("metadata", {})
            meta["namespace"] = namespace or meta.get("namespace") or "default"
        return copy.deepcopy(self.insert(resource, obj).obj)

    def get(self, plural: str, name: str, *, namespace: str = "") -> Json:
        """A copy of an object. ApiError 404. Namespaced resources default to ``default``."""
        resource = resources.named(plural)
        return copy.deepcopy(self.entry(resource, _space(resource, namespace), name).obj)

    def list(self, plural: str, *, namespace: str = "", match: Predicate = everything) -> Objects:
        """Copies of all objects (of one namespace, where one is given)."""
        found, _ = self.entries(resources.named(plural), namespace, match)
        return [copy.deepcopy(entry.obj) for entry in found]

    def update(self, plural: str, obj: Json) -> Json:
        """Replace an object, status included. 409 when it carries an older resourceVersion."""
        resource = resources.named(plural)
        obj = copy.deepcopy(obj)
        meta = obj["metadata"]
        with self.transaction():
            old = self.entry(resource, _space(resource, meta.get("namespace", "")), meta["name"])
            given = meta.get("resourceVersion")
            if given and given != old.obj["metadata"]["resourceVersion"]:
                raise status.conflict(resource.group, resource.plural, meta["name"])
            return copy.deepcopy(self.replace(resource, old, obj).obj)

    def edit(
        self, plural: str, name: str, change: Callable[[Json], None], *, namespace: str = ""
    ) -> Json:
        """Let ``change`` alter a copy and store it, in one transaction. ApiError 404."""
        resource = resources.named(plural)
        with self.transaction():
            old = self.entry(resource, _space(resource, namespace), name)
            obj = copy.deepcopy(old.obj)
            change(obj)
            return copy.deepcopy(self.replace(resource, old, obj).obj)

    def delete(self, plural: str, name: str, *, namespace: str = "") -> None:
        """Delete at once (finalizers are honoured). ApiError 404."""
        resource = resources.named(plural)
        with self.transaction():
            self.remove(resource, self.entry(resource, _space(resource, namespace), name))


def _space(resource: Resource, namespace: str) -> str:
    return (namespace or "default") if resource.namespaced else ""
