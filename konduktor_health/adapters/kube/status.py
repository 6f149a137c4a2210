"""What does an answer of the Kubernetes API server mean to us? HTTP status -> our error.

The server explains itself in a ``Status`` object; its message and reason are quoted (bounded,
printable). Verb and resource are derived from method and path as RBAC names them, so that a
refused call can be turned into the rule that is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from konduktor_health.errors import (
    ClusterForbidden,
    ClusterRejected,
    ClusterUnavailable,
    Conflict,
    HealthError,
    NotFound,
    TransientError,
    excerpt,
)

_VERBS = {"PATCH": "patch", "PUT": "update", "POST": "create", "DELETE": "delete"}


class AlreadyExists(Conflict):
    """A create found an object of that name (409 with reason AlreadyExists)."""


class Gone(TransientError):
    """The resource version or continue token is older than the server's history (410)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One API call in RBAC's words."""

    verb: str
    resource: str  # with subresource: nodes/status
    name: str
    namespace: str

    def __str__(self) -> str:
        thing = f"{self.resource} {self.name}".strip()
        return f"{self.verb} {thing}" + (
            f" in namespace {self.namespace}" if self.namespace else ""
        )


def call_of(method: str, path: str, *, watch: bool = False) -> Call:
    """The RBAC view of a request path such as /api/v1/namespaces/x/pods/y/exec."""
    parts = [part for part in path.split("/") if part]
    rest = parts[3:] if parts[:1] == ["apis"] else parts[2:]
    if not rest:
        return Call(method.lower(), path, "", "")
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = "/".join([rest[0], *rest[2:3]])
    name = rest[1] if len(rest) > 1 else ""
    if method == "GET":
        verb = "watch" if watch else ("get" if name else "list")
    else:
        verb = _VERBS.get(method, method.lower())
    return Call(verb, resource, name, namespace)


def error_of(status: int, payload: bytes, call: Call, server: str) -> HealthError:
    """The error for an answer that is not 2xx."""
    reason, message = explain(payload)
    said = f": {message}" if message else ""
    match status:
        case 401:
            return ClusterForbidden(
                f"{call}: the API server at {server} does not accept our credentials (401){said}",
                hint="check token, client certificate or credential plug-in of the kubeconfig",
            )
        case 403:
            scope = f" -n {call.namespace}" if call.namespace else ""
            return ClusterForbidden(
                f"not allowed to {call} (403){said}",
                hint=(
                    f"RBAC: grant verb {call.verb!r} on resource {call.resource!r}; test with "
                    f"kubectl auth can-i {call.verb} {call.resource}{scope}"
                ),
            )
        case 404:
            return NotFound(f"{call}: not found{said}")
        case 409 if reason == "AlreadyExists":
            return AlreadyExists(f"{call}: exists already{said}")
        case 409:
            return Conflict(f"{call}: somebody else wrote first{said}")
        case 410:
            return Gone(f"{call}: too old (410){said}")
        case 429:
            return ClusterUnavailable(f"{call}: the API server is overloaded (429){said}")
        case _ if status >= 500 or status in (0, 408):
            return ClusterUnavailable(f"{call}: the API server answered {status}{said}")
        case _ if 300 <= status < 400:
            return ClusterRejected(
                f"{call}: {server} redirects ({status}): this is not an API server",
                hint="check the server URL of the kubeconfig",
            )
    return ClusterRejected(f"{call}: the API server refused the request ({status}){said}")


def explain(payload: bytes) -> tuple[str, str]:
    """(reason, message) of a Status body; of anything else ("", an excerpt)."""
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return "", excerpt(payload)
    if not isinstance(body, Mapping):
        return "", excerpt(payload)
    reason, message = body.get("reason"), body.get("message")
    return (
        reason if isinstance(reason, str) else "",
        excerpt(message if isinstance(message, str) else ""),
    )
