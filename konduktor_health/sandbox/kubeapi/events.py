"""How does an Event look in the other API? core/v1 is what is kept, events.k8s.io/v1 a view."""

from __future__ import annotations

from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.status import Json

_RENAMED = (  # core/v1, events.k8s.io/v1
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
)


def stored_form(resource: Resource, obj: Json) -> Json:
    """What a client sent, in the form that is kept."""
    if resource.group != "events.k8s.io":
        return obj
    return _rename(obj, "v1", [(new, old) for old, new in _RENAMED])


def shown_form(resource: Resource, obj: Json) -> Json:
    """What is kept, in the form of the API that the client asked."""
    if resource.group != "events.k8s.io":
        return obj
    return _rename(obj, resource.api_version, list(_RENAMED))


def is_view(resource: Resource) -> bool:
    """True where the shown form differs from the kept one."""
    return resource.group == "events.k8s.io"


def _rename(obj: Json, api_version: str, pairs: list[tuple[str, str]]) -> Json:
    names = dict(pairs)
    renamed = {names.get(key, key): value for key, value in obj.items()}
    if "apiVersion" in renamed:
        renamed["apiVersion"] = api_version
    return renamed
