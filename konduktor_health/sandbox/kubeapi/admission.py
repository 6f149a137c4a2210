"""May this object be stored, and with which defaults? The part of validation that clients meet.

Only what a controller can get wrong against a real server and would never notice against a
lenient one: names, labels, taints, sizes, the namespace of Events.
"""

from __future__ import annotations

import re
from typing import Any

from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.status import ApiError, Json, bad_request, invalid

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
ANNOTATIONS_LIMIT = 256 * 1024  # bytes of all keys and values together
CONFIGMAP_LIMIT = 1024 * 1024


def well_formed(resource: Resource, obj: Any) -> Json:
    """Check what decoding into typed structures would refuse. ApiError 400."""
    if not isinstance(obj, dict):
        raise bad_request("the object provided is unrecognized (it is not a JSON object)")
    for key, want in (("kind", resource.kind), ("apiVersion", resource.api_version)):
        if obj.get(key, want) != want:
            raise bad_request(
                f"the {key} in the data ({str(obj[key])[:60]}) does not match the expected "
                f"{key} ({want})"
            )
    for key in ("metadata", "spec", "status"):
        if not isinstance(obj.get(key, {}), dict | None):
            raise _wrong_type(resource, key, obj[key])
    meta = obj.get("metadata") or {}
    for key in ("labels", "annotations"):
        pairs = meta.get(key)
        if not isinstance(pairs, dict | None):
            raise _wrong_type(resource, f"metadata.{key}", pairs)
        for value in (pairs or {}).values():
            if not isinstance(value, str):
                raise _wrong_type(resource, f"metadata.{key}", value)
    taints = (obj.get("spec") or {}).get("taints") if resource.kind == "Node" else None
    if not isinstance(taints, list | None) or not all(isinstance(t, dict) for t in taints or []):
        raise _wrong_type(resource, "spec.taints", taints)
    return obj


def _wrong_type(resource: Resource, field: str, value: Any) -> ApiError:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    found = kinds.get(type(value), "object")
    return bad_request(
        f"{resource.kind} in version {resource.version!r} cannot be handled as a "
        f"{resource.kind}: json: cannot unmarshal {found} into Go struct field of {field}"
    )


def with_defaults(resource: Resource, obj: Json, *, creating: bool) -> Json:
    """The object as the server would store it (a new dict; parts may be shared)."""
    obj = {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
    obj["metadata"] = _without_empty(obj.get("metadata") or {})
    if creating:
        _creation_defaults(resource, obj)
    if resource.kind == "Node":
        for key in ("spec", "status"):
            obj[key] = _without_empty(obj.get(key) or {})
    return obj


def _without_empty(part: Json) -> Json:
    """Typed servers do not keep empty optional fields: a JSON patch into one must fail here too."""
    return {
        key: value
        for key, value in part.items()
        if value not in (None, [], {}) and value is not False
    }


def _creation_defaults(resource: Resource, obj: Json) -> None:
    if resource.kind == "Pod":
        obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        obj["spec"] = {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            **(obj.get("spec") or {}),
        }
    elif resource.kind == "Namespace":
        name = obj["metadata"].get("name", "")
        labels = obj["metadata"].get("labels") or {}
        obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
    elif resource.kind == "Node":
        state = obj["status"] = dict(obj.get("status") or {})
        if "capacity" in state:
            state.setdefault("allocatable", state["capacity"])
    elif resource.has_status:
        obj["status"] = {}


def validate(resource: Resource, obj: Json) -> None:
    """Check an object that is about to be stored. ApiError 422 names the field."""
    meta = obj["metadata"]
    name = str(meta.get("name", ""))

    def refuse(field: str, why: str, cause: str = "FieldValueInvalid") -> ApiError:
        return invalid(resource.group, resource.kind, name, field, why, cause)

    if not name:
        raise refuse(
            "metadata.name",
            "Required value: name or generateName is required",
            "FieldValueRequired",
        )
    if len(name) > 253 or not _SUBDOMAIN.match(name):
        raise refuse(
            "metadata.name",
            f'Invalid value: "{name[:253]}": a lowercase RFC 1123 subdomain must consist of lower '
            "case alphanumeric characters, '-' or '.', and must start and end with an "
            "alphanumeric character",
        )
    for key, value in (meta.get("labels") or {}).items():
        if not _KEY.match(key):
            raise refuse("metadata.labels", f'Invalid value: "{key}": name part is not valid')
        if not _VALUE.match(value):
            raise refuse(
                "metadata.labels",
                f'Invalid value: "{value}": a valid label must be an empty string or consist of '
                "at most 63 alphanumeric characters, '-', '_' or '.'",
            )
    size = sum(
        len(k.encode()) + len(v.encode()) for k, v in (meta.get("annotations") or {}).items()
    )
    if size > ANNOTATIONS_LIMIT:
        raise refuse(
            "metadata.annotations",
            f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes",
            "FieldValueTooLong",
        )
    if resource.kind == "Node":
        _validate_taints(obj, refuse)
    elif resource.kind == "ConfigMap":
        held = sum(len(str(v).encode()) for v in (obj.get("data") or {}).values())
        if held > CONFIGMAP_LIMIT:
            raise refuse(
                "data",
                f"Too long: may not be more than {CONFIGMAP_LIMIT} bytes",
                "FieldValueTooLong",
            )
    elif resource.kind == "Event":
        _validate_event(obj, refuse)


def _validate_taints(obj: Json, refuse: Any) -> None:
    seen: set[tuple[str, str]] = set()
    for at, taint in enumerate((obj.get("spec") or {}).get("taints") or []):
        field = f"metadata.taints[{at}]"
        key, effect = str(taint.get("key", "")), str(taint.get("effect", ""))
        if not _KEY.match(key):
            raise refuse(f"{field}.key", f'Invalid value: "{key}": name part must be non-empty')
        if not _VALUE.match(str(taint.get("value") or "")):
            raise refuse(f"{field}.value", f'Invalid value: "{taint.get("value")}"')
        if effect not in _EFFECTS:
            known = ", ".join(f'"{e}"' for e in _EFFECTS)
            raise refuse(
                f"{field}.effect",
                f'Unsupported value: "{effect}": supported values: {known}',
                "FieldValueNotSupported",
            )
        if (key, effect) in seen:
            raise refuse(
                field,
                f'Duplicate value: {{"Key":"{key}","Effect":"{effect}"}}: taints must be unique '
                "by key and effect pair",
                "FieldValueDuplicate",
            )
        seen.add((key, effect))


def _validate_event(obj: Json, refuse: Any) -> None:
    about = obj.get("involvedObject") or {}
    namespace = obj["metadata"].get("namespace", "")
    allowed = [about["namespace"]] if about.get("namespace") else ["default", "kube-system"]
    if namespace not in allowed:
        raise refuse(
            "involvedObject.namespace",
            f'Invalid value: "{about.get("namespace", "")}": does not match event.namespace',
        )
