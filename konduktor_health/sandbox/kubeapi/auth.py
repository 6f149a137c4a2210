"""Who asks, and may they? Bearer tokens and deny rules, with the texts of a real server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from konduktor_health.sandbox.kubeapi.status import ApiError, Json, named, qualified

ANYBODY = "system:admin"  # the user of a server without tokens


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked of the API, in the words of RBAC."""

    verb: str
    group: str
    plural: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def resource(self) -> str:
        """``nodes`` or ``nodes/status``, as in a ClusterRole."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


class Access:
    """Tokens (None: everybody may come in) and what each user may not do.

    ``deny`` maps a user to (verb, resource) pairs; ``*`` stands for any.
    """

    def __init__(self, tokens: Mapping[str, str] | None) -> None:
        self.tokens = tokens
        self.deny: dict[str, set[tuple[str, str]]] = {}

    def user(self, authorization: str | None) -> str:
        """The user of an Authorization header. ApiError 401."""
        if self.tokens is None:
            return ANYBODY
        scheme, _, token = (authorization or "").partition(" ")
        user = self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise ApiError(401, "Unauthorized")
        return user

    def allowed(self, user: str, asked: Attributes) -> bool:
        """True unless a deny rule says otherwise."""
        rules = self.deny.get(user, set()) | self.deny.get("*", set())
        return not any(
            verb in ("*", asked.verb) and resource in ("*", asked.resource)
            for verb, resource in rules
        )

    def check(self, user: str, asked: Attributes) -> None:
        """ApiError 403 when a deny rule forbids it."""
        if self.allowed(user, asked):
            return
        label = qualified(asked.group, asked.plural)
        if asked.name:
            label += f' "{asked.name}"'
        where = (
            f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        )
        raise ApiError(
            403,
            f'{label} is forbidden: User "{user}" cannot {asked.verb} resource '
            f'"{asked.resource}" in API group "{asked.group}" {where}',
            details=named(asked.name, asked.group, asked.plural),
        )


def self_review(access: Access, user: str, review: Json) -> Json:
    """Answer a SelfSubjectAccessReview (``kubectl auth can-i``)."""
    wanted = (review.get("spec") or {}).get("resourceAttributes") or {}
    asked = Attributes(
        verb=wanted.get("verb", ""),
        group=wanted.get("group", ""),
        plural=wanted.get("resource", ""),
        subresource=wanted.get("subresource", ""),
        namespace=wanted.get("namespace", ""),
        name=wanted.get("name", ""),
    )
    allowed = access.allowed(user, asked)
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": review.get("spec") or {},
        "status": {"allowed": allowed},
    }
