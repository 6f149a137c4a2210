"""What does the server say about itself? Version, groups, resources, and as much OpenAPI as
kubectl needs to see that the server validates fields itself."""

from __future__ import annotations

from konduktor_health.sandbox.kubeapi import resources
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.status import Json

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.4+sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_REVIEWS = ("authorization.k8s.io", "v1")


def document(path: str) -> Json | None:
    """The discovery document at a path (no trailing slash), or None."""
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["api", "v1"]:
            return _resource_list("", "v1")
        case ["apis"]:
            groups = [_group(group, version) for group, version in _groups()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group]:
            found = [_group(g, v) for g, v in _groups() if g == group]
            return {**found[0], "kind": "APIGroup", "apiVersion": "v1"} if found else None
        case ["apis", group, version]:
            return _resource_list(group, version) if (group, version) in _groups() else None
        case ["openapi", "v3"]:
            urls = ["api/v1", *(f"apis/{g}/{v}" for g, v in _groups())]
            return {"paths": {u: {"serverRelativeURL": f"/openapi/v3/{u}"} for u in urls}}
        case ["openapi", "v3", "api", "v1"]:
            return _openapi("", "v1")
        case ["openapi", "v3", "apis", group, version]:
            return _openapi(group, version) if (group, version) in _groups() else None
    return None


def _groups() -> list[tuple[str, str]]:
    return [*resources.groups(), _REVIEWS]


def _group(group: str, version: str) -> Json:
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _rows(group: str, version: str) -> list[Resource]:
    return [r for r in resources.RESOURCES if (r.group, r.version) == (group, version)]


def _resource_list(group: str, version: str) -> Json:
    listed: list[Json] = []
    for resource in _rows(group, version):
        listed.append(
            {
                "name": resource.plural,
                "singularName": resource.kind.lower(),
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": list(resource.verbs),
                "shortNames": list(resource.short),
                "categories": list(resource.categories),
            }
        )
        listed.extend(_subresource(resource, sub) for sub in resource.subresources)
    if (group, version) == _REVIEWS:
        listed.append(
            {
                "name": "selfsubjectaccessreviews",
                "singularName": "selfsubjectaccessreview",
                "namespaced": False,
                "kind": "SelfSubjectAccessReview",
                "verbs": ["create"],
            }
        )
    name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": name,
        "resources": listed,
    }


def _subresource(resource: Resource, sub: str) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{sub}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["get", "patch", "update"] if sub == "status" else ["get"],
    }
    if sub == "eviction":
        entry |= {"group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]}
    return entry


def _openapi(group: str, version: str) -> Json:
    """Paths whose PATCH takes ``fieldValidation``: that is what kubectl looks for."""
    base = f"/apis/{group}/{version}" if group else f"/api/{version}"
    paths: Json = {}
    for resource in _rows(group, version):
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        kind = {"group": group, "version": version, "kind": resource.kind}
        paths[f"{base}{scope}/{resource.plural}/{{name}}"] = {
            "patch": {
                "parameters": [
                    {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
                ],
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": kind,
                "responses": {},
            }
        }
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
