"""What does a request ask for? From method, path, headers and body to verb, resource and name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.sandbox.kubeapi import resources
from konduktor_health.sandbox.kubeapi.auth import Attributes
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.status import (
    ApiError,
    bad_request,
    method_not_allowed,
    no_such_path,
)

_TRUE = frozenset({"true", "True", "TRUE", "1", "t", "T"})
_ON_NAME = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ON_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came over the wire, already authenticated."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    accept: str
    body: bytes
    user: str
    headers: Mapping[str, str] = field(default_factory=dict)  # as they came

    def flag(self, name: str) -> bool:
        """A boolean query parameter, in any of the spellings that Go accepts."""
        return self.query.get(name, "") in _TRUE

    def integer(self, name: str, default: int = 0) -> int:
        """A whole-number query parameter. ApiError 400."""
        text = self.query.get(name, "")
        try:
            return int(text) if text else default
        except ValueError:
            raise bad_request(f"invalid {name}: {text[:50]!r}") from None

    @property
    def dry_run(self) -> bool:
        """True where nothing shall be stored."""
        return self.query.get("dryRun") == "All"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    body: bytes
    code: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)  # beside those of every answer


@dataclass(frozen=True, slots=True)
class Stream:
    """A response without an end: pieces to send at once, None when there is none."""

    pieces: Iterator[bytes | None]


@dataclass(frozen=True, slots=True)
class Target:
    """What a resource path names."""

    resource: Resource
    namespace: str
    name: str
    subresource: str
    verb: str
    rest: str = ""  # of a proxy: the path behind it

    def attributes(self) -> Attributes:
        """The same in RBAC's words."""
        return Attributes(
            self.verb,
            self.resource.group,
            self.resource.plural,
            self.subresource,
            self.namespace,
            self.name,
        )


def target(call: Call) -> Target:
    """Resolve a resource path. ApiError 404 for an unknown one, 405 for a wrong method."""
    match [part for part in call.path.split("/") if part]:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise no_such_path()
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    behind = ""
    if namespace and rest[2:3] == ["proxy"]:
        behind, rest = "/" + "/".join(rest[3:]), rest[:3]
    if not 1 <= len(rest) <= 3:
        raise no_such_path()
    plural, name, sub = (*rest, "", "")[:3]
    resource = resources.find(group, version, plural)
    if resource is None or (namespace and not resource.namespaced):
        raise no_such_path()
    if sub and sub not in resource.subresources:
        raise no_such_path()
    if name and resource.namespaced and not namespace:
        raise no_such_path()
    return Target(resource, namespace, name, sub, _verb(call, name, sub), behind)


def _verb(call: Call, name: str, sub: str) -> str:
    if sub == "proxy":
        verb = {**_ON_NAME, "POST": "create"}.get(call.method)
    elif sub in ("eviction", "log"):
        verb = {("POST", "eviction"): "create", ("GET", "log"): "get"}.get((call.method, sub))
    elif call.method == "GET" and call.flag("watch"):
        verb = "watch"
    else:
        verb = (_ON_NAME if name else _ON_COLLECTION).get(call.method)
    if verb is None:
        raise method_not_allowed()
    return verb


def decoded(call: Call) -> Any:
    """The body of a POST, PUT or PATCH. ApiError 400 and 415."""
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind.endswith("yaml"):
        return _yaml(call.body)
    if kind and not kind.endswith("json"):
        raise ApiError(
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    try:
        return json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise bad_request(
            f"the object provided is unrecognized: json parse error: {str(error)[:200]}"
        ) from None


def _yaml(body: bytes) -> Any:
    import yaml  # only apply and YAML bodies need it

    try:
        return yaml.safe_load(body)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_request(f"yaml parse error: {str(error)[:200]}") from None


def check_accept(accept: str) -> None:
    """ApiError 406 for a client that takes no JSON (protobuf only)."""
    kinds = [part.partition(";")[0].strip() for part in accept.split(",") if part.strip()]
    if kinds and not {"application/json", "application/*", "*/*"} & set(kinds):
        raise ApiError(
            406,
            "only the following media types are accepted: application/json, "
            "application/json;stream=watch",
        )
