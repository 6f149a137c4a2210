"""What does a write do? create, update, patch, delete, with conflicts and the status separation.

Everything that reads before it writes does so inside one transaction of the store.
"""

from __future__ import annotations

import json
from typing import Any

from konduktor_health.sandbox.kubeapi import admission, events, patch, resources, status
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
        obj = admission.with_defaults(
            resource, _in_namespace(obj, target), creating=True
        )
        meta = obj["metadata"]
        if meta.get("resourceVersion"):
            raise ApiError(
                500, "resourceVersion should not be set on objects to be created", reason=""
            )
        assign_name(meta)
        stored = _stored(resource, obj)
        admission.validate(_row(resource), stored)
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
                _check_names(target, obj)
                return self._create(call, target, obj)
            given = (obj.get("metadata") or {}).get("resourceVersion")
            if not given and not target.resource.unconditional_update:
                raise status.invalid(
                    target.resource.group, target.resource.kind, target.name,
                    "metadata.resourceVersion", "Invalid value: 0: must be specified for an update",
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
        change = _patch_body(call)
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
                    422, f' "" is invalid: patch: Invalid value: {error.message}', reason="Invalid",
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
        _check_names(target, change)
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
        _check_names(target, obj)
        before = old.obj
        new = _stored(resource, _in_namespace(obj, target))
        new = admission.with_defaults(_row(resource), new, creating=False)
        meta = new["metadata"] = {**new["metadata"], "name": target.name}
        given, version = meta.get("resourceVersion"), before["metadata"]["resourceVersion"]
        if meta.get("uid") and meta["uid"] != before["metadata"]["uid"]:
            raise _other_uid(call, target, str(meta["uid"]), before["metadata"]["uid"])
        if given and str(given) != version:
            raise status.conflict(resource.group, resource.plural, target.name)
        if target.subresource == "status":
            new = {**before, "metadata": meta, "status": new.get("status") or {}}
        elif resource.has_status:
            new = {**new, "status": before.get("status") or {}}
        admission.validate(_row(resource), new)
        return self._store.replace(resource, old, new, dry_run=call.dry_run)

    def delete(self, call: Call, target: Target) -> Answer:
        """DELETE of one object."""
        resource = target.resource
        options = _delete_options(call)
        with self._store.transaction():
            old = self._store.entry(resource, target.namespace, target.name)
            _check_preconditions(resource, old, options.get("preconditions") or {})
            entry, gone = self._delete(call, resource, old, options)
        if gone and not resource.returns_deleted:
            uid = entry.obj["metadata"]["uid"]
            return Answer(
                encode(status.success(target.name, resource.group, resource.plural, uid))
            )
        return self._reader.show(call, resource, entry)

    def delete_collection(self, call: Call, target: Target) -> Answer:
        """DELETE of everything that the selectors match."""
        resource = target.resource
        options, match = _delete_options(call), predicate(call, resource)
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
        grace = _grace(old.obj, options) if resource.kind == "Pod" else 0
        return self._store.remove(resource, old, grace=grace, dry_run=call.dry_run)

    def _empty(self, namespace: str) -> None:
        """Stand in for the namespace controller: what is inside goes first."""
        for resource in resources.RESOURCES:
            if resource.namespaced and not events.is_view(resource):
                for entry in self._store.entries(resource, namespace)[0]:
                    self._store.remove(resource, entry)


def _row(resource: Resource) -> Resource:
    """The row of the form in which objects are kept."""
    return resources.named(resource.storage)


def _stored(resource: Resource, obj: Json) -> Json:
    return events.stored_form(resource, obj)


def _patch_body(call: Call) -> Any:
    try:
        return json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"error decoding patch: {str(error)[:200]}") from None


def _in_namespace(obj: Json, target: Target) -> Json:
    """The object with the namespace of the URL. ApiError 400 where it names another."""
    meta = dict(obj.get("metadata") or {})
    if not target.resource.namespaced:
        meta.pop("namespace", None)
    elif meta.get("namespace") in (None, "", target.namespace):
        meta["namespace"] = target.namespace
    else:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return {**obj, "metadata": meta}


def _check_names(target: Target, obj: Json) -> None:
    name = (obj.get("metadata") or {}).get("name")
    if name not in (None, "", target.name):
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )


def _other_uid(call: Call, target: Target, given: str, have: str) -> ApiError:
    """A PUT with another UID means an object that is gone; a patch cannot change it."""
    resource = target.resource
    if call.method == "PATCH":
        return status.invalid(
            resource.group, resource.kind, target.name, "metadata.uid",
            f'Invalid value: "{given}": field is immutable', "FieldValueInvalid",
        )
    return status.conflict(
        resource.group, resource.plural, target.name,
        f"Precondition failed: UID in precondition: {given}, UID in object meta: {have}",
    )


def _delete_options(call: Call) -> Json:
    options: Json = {}
    if call.body.strip():
        body = decoded(call)
        options = dict(body) if isinstance(body, dict) else {}
    if "gracePeriodSeconds" in call.query:
        options["gracePeriodSeconds"] = call.integer("gracePeriodSeconds")
    return options


def _check_preconditions(resource: Resource, old: Entry, wanted: Json) -> None:
    meta = old.obj["metadata"]
    for key, title in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(key) and wanted[key] != meta[key]:
            raise status.conflict(
                resource.group, resource.kind, meta["name"],
                f"the {title} in the precondition ({wanted[key]}) does not match the {title} in "
                f"record ({meta[key]}). The object might have been deleted and then recreated",
            )


def _grace(pod: Json, options: Json) -> int:
    """Seconds until a pod is gone: none where no kubelet could tell."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = spec.get("terminationGracePeriodSeconds", 30)
    return max(0, int(asked))
