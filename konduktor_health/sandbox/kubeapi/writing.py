"""What does a write do? create, update, patch, delete, with conflicts and the status separation.

Everything that reads before it writes does so inside one transaction of the store.
"""

from __future__ import annotations

from konduktor_health.sandbox.kubeapi import admission, checks, events, patch, resources, status
from konduktor_health.sandbox.kubeapi.reading import Reader, collection, predicate
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.revisions import Entry, Revisions, assign_name, encode
from konduktor_health.sandbox.kubeapi.route import Answer, Call, Target, decoded
from konduktor_health.sandbox.kubeapi.status import ApiError, Json, bad_request
from konduktor_health.sandbox.kubeapi.watch import shown

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class Writer:
    """Writes for the HTTP side."""

    def __init__(self, store: Revisions, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    def create(self, call: Call, target: Target) -> Answer:
        """POST on a collection."""
        obj = admission.well_formed(target.resource, decoded(call))
        return self._create(call, target, obj)

    def _create(self, call: Call, target: Target, obj: Json) -> Answer:
        resource = target.resource
        if resource.namespaced and not target.namespace:
            raise status.method_not_allowed()
        obj = admission.with_defaults(resource, checks.in_namespace(obj, target), creating=True)
        meta = obj["metadata"]
        if meta.get("resourceVersion"):
            raise ApiError(
                500, "resourceVersion should not be set on objects to be created", reason=""
            )
        assign_name(meta)
        stored = checks.stored(resource, obj)
        admission.validate(checks.row(resource), stored)
        with self._store.transaction():
            if resource.namespaced:
                self._store.entry(resources.named("namespaces"), "", target.namespace)
            entry = self._store.insert(resource, stored, dry_run=call.dry_run)
        return self._reader.show(call, resource, entry, 201)

    def update(self, call: Call, target: Target) -> Answer:
        """PUT on an object or its status. Some resources are created where they are missing."""
        obj = admission.well_formed(target.resource, decoded(call))
        if not (obj.get("metadata") or {}).get("name"):
            raise bad_request(
                f"the name of the object ({target.name} based on URL) was undeterminable: "
                "name must be provided"
            )
        with self._store.transaction():
            try:
                old = self._store.entry(target.resource, target.namespace, target.name)
            except ApiError:
                if not target.resource.create_on_update or target.subresource:
                    raise
                checks.check_names(target, obj)
                return self._create(call, target, obj)
            given = (obj.get("metadata") or {}).get("resourceVersion")
            if not given and not target.resource.unconditional_update:
                raise status.invalid(
                    target.resource.group,
                    target.resource.kind,
                    target.name,
                    "metadata.resourceVersion",
                    "Invalid value: 0: must be specified for an update",
                    "FieldValueInvalid",
                )
            entry = self._replace(call, target, old, obj)
        return self._reader.show(call, target.resource, entry)

    def patch(self, call: Call, target: Target) -> Answer:
        """PATCH in any of the four kinds."""
        kind = call.content_type.partition(";")[0].strip().lower()
        if kind not in (MERGE, STRATEGIC, JSON_PATCH, APPLY):
            raise ApiError(415, "415: Unsupported Media Type", details={})
        if kind == APPLY:
            return self._apply(call, target)
        change = checks.patch_body(call)
        if kind != JSON_PATCH and not isinstance(change, dict):
            raise bad_request("error decoding patch: a merge patch is an object")
        resource = target.resource
        with self._store.transaction():
            old = self._store.entry(resource, target.namespace, target.name)
            before = shown(resource, old).obj
            if kind == MERGE:
                after = patch.merge(before, change)
            elif kind == STRATEGIC:
                after = patch.strategic(before, change)
            else:
                after = patch.json_patch(before, change)
            try:
                admission.well_formed(resource, after)
            except ApiError as error:
                raise ApiError(
                    422,
                    f' "" is invalid: patch: Invalid value: {error.message}',
                    reason="Invalid",
                    details={"causes": []},
                ) from None
            return self._reader.show(call, resource, self._replace(call, target, old, after))

    def _apply(self, call: Call, target: Target) -> Answer:
        """Server-side apply, as a merge: fields that a manager stops sending stay."""
        resource, manager = target.resource, call.query.get("fieldManager", "")
        if not manager:
            raise ApiError(
                422,
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is '
                "required for apply patch",
            )
        change = admission.well_formed(resource, decoded(call))
        checks.check_names(target, change)
        owner = {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": resource.api_version,
            "time": self._store.now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": {},
        }
        with self._store.transaction():
            try:
                old = self._store.entry(resource, target.namespace, target.name)
            except ApiError:
                if target.subresource:
                    raise
                meta = {**(change.get("metadata") or {}), "name": target.name}
                meta["managedFields"] = [owner]
                return self._create(call, target, {**change, "metadata": meta})
            after = patch.strategic(shown(resource, old).obj, change)
            others = after["metadata"].get("managedFields") or []
            kept = [f for f in others if f.get("manager") != manager]
            after["metadata"] = {**after["metadata"], "managedFields": [*kept, owner]}
            return self._reader.show(call, resource, self._replace(call, target, old, after))

    def _replace(self, call: Call, target: Target, old: Entry, obj: Json) -> Entry:
        """Store the next version, as far as the (sub)resource may change it."""
        resource = target.resource
        checks.check_names(target, obj)
        before = old.obj
        new = checks.stored(resource, checks.in_namespace(obj, target))
        new = admission.with_defaults(checks.row(resource), new, creating=False)
        meta = new["metadata"] = {**new["metadata"], "name": target.name}
        given, version = meta.get("resourceVersion"), before["metadata"]["resourceVersion"]
        if meta.get("uid") and meta["uid"] != before["metadata"]["uid"]:
            raise checks.other_uid(call, target, str(meta["uid"]), before["metadata"]["uid"])
        if given and str(given) != version:
            raise status.conflict(resource.group, resource.plural, target.name)
        if target.subresource == "status":
            new = {**before, "metadata": meta, "status": new.get("status") or {}}
        elif resource.has_status:
            new = {**new, "status": before.get("status") or {}}
        admission.validate(checks.row(resource), new)
        return self._store.replace(resource, old, new, dry_run=call.dry_run)

    def delete(self, call: Call, target: Target) -> Answer:
        """DELETE of one object."""
        resource = target.resource
        options = checks.delete_options(call)
        with self._store.transaction():
            old = self._store.entry(resource, target.namespace, target.name)
            checks.check_preconditions(resource, old, options.get("preconditions") or {})
            entry, gone = self._delete(call, resource, old, options)
        if gone and not resource.returns_deleted:
            uid = entry.obj["metadata"]["uid"]
            return Answer(encode(status.success(target.name, resource.group, resource.plural, uid)))
        return self._reader.show(call, resource, entry)

    def delete_collection(self, call: Call, target: Target) -> Answer:
        """DELETE of everything that the selectors match."""
        resource = target.resource
        options, match = checks.delete_options(call), predicate(call, resource)
        with self._store.transaction():
            found, _ = self._store.entries(resource, target.namespace)
            matching = [entry for entry in found if match(shown(resource, entry).obj)]
            for entry in matching:
                self._delete(call, resource, entry, options)
            meta: Json = {"resourceVersion": str(self._store.revision)}
        return collection(resource, matching, meta)

    def _delete(
        self, call: Call, resource: Resource, old: Entry, options: Json
    ) -> tuple[Entry, bool]:
        if resource.kind == "Namespace" and not call.dry_run:
            self._empty(old.obj["metadata"]["name"])
        grace = checks.grace(old.obj, options) if resource.kind == "Pod" else 0
        return self._store.remove(resource, old, grace=grace, dry_run=call.dry_run)

    def _empty(self, namespace: str) -> None:
        """Stand in for the namespace controller: what is inside goes first."""
        for resource in resources.RESOURCES:
            if resource.namespaced and not events.is_view(resource):
                for entry in self._store.entries(resource, namespace)[0]:
                    self._store.remove(resource, entry)
