"""Does a write fit its URL and the object that is there? Names, UIDs, preconditions, bodies."""

from __future__ import annotations

import json
from typing import Any

from konduktor_health.sandbox.kubeapi import events, resources, status
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.revisions import Entry
from konduktor_health.sandbox.kubeapi.route import Call, Target, decoded
from konduktor_health.sandbox.kubeapi.status import ApiError, Json, bad_request


def row(resource: Resource) -> Resource:
    """The row of the form in which objects are kept."""
    return resources.named(resource.storage)


def stored(resource: Resource, obj: Json) -> Json:
    """What a client sent, in the form that is kept."""
    return events.stored_form(resource, obj)


def patch_body(call: Call) -> Any:
    """The decoded body of a PATCH. ApiError 400."""
    try:
        return json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"error decoding patch: {str(error)[:200]}") from None


def in_namespace(obj: Json, target: Target) -> Json:
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


def check_names(target: Target, obj: Json) -> None:
    """ApiError 400 where the object names another than the URL does."""
    name = (obj.get("metadata") or {}).get("name")
    if name not in (None, "", target.name):
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )


def other_uid(call: Call, target: Target, given: str, have: str) -> ApiError:
    """A PUT with another UID means an object that is gone; a patch cannot change it."""
    resource = target.resource
    if call.method == "PATCH":
        return status.invalid(
            resource.group,
            resource.kind,
            target.name,
            "metadata.uid",
            f'Invalid value: "{given}": field is immutable',
            "FieldValueInvalid",
        )
    return status.conflict(
        resource.group,
        resource.plural,
        target.name,
        f"Precondition failed: UID in precondition: {given}, UID in object meta: {have}",
    )


def delete_options(call: Call) -> Json:
    """DeleteOptions from body and query. ApiError 400."""
    options: Json = {}
    if call.body.strip():
        body = decoded(call)
        options = dict(body) if isinstance(body, dict) else {}
    if "gracePeriodSeconds" in call.query:
        options["gracePeriodSeconds"] = call.integer("gracePeriodSeconds")
    return options


def check_preconditions(resource: Resource, old: Entry, wanted: Json) -> None:
    """ApiError 409 where the object is not the one that is meant."""
    meta = old.obj["metadata"]
    for key, title in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(key) and wanted[key] != meta[key]:
            raise status.conflict(
                resource.group,
                resource.kind,
                meta["name"],
                f"the {title} in the precondition ({wanted[key]}) does not match the {title} in "
                f"record ({meta[key]}). The object might have been deleted and then recreated",
            )


def grace(pod: Json, options: Json) -> int:
    """Seconds until a pod is gone: none where no kubelet could tell."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = spec.get("terminationGracePeriodSeconds", 30)
    return max(0, int(asked))
