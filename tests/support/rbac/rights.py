"""What may an account do, going by the RBAC objects of a manifest?

Pure: objects in, grants out, and back into objects with one grant less. A grant is the smallest
thing that RBAC can give: one verb on one resource (or one named object) in one scope.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_BINDINGS = {"ClusterRoleBinding", "RoleBinding"}
_ROLES = {"ClusterRole", "Role"}
KINDS = _BINDINGS | _ROLES


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A ServiceAccount."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """Its user name at the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that every ServiceAccount of the namespace is in."""
        everyone = "system:serviceaccounts"
        return (everyone, f"{everyone}:{self.namespace}", "system:authenticated")


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One verb on one resource. ``name``: of that object only; ``namespace`` "": everywhere."""

    resource: str  # with subresource: nodes/status
    verb: str
    group: str = ""
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        """As RBAC says it: ``update leases/konduktor-health``."""
        return f"{self.verb} {self.resource}" + (f" {self.name}" if self.name else "")

    def covers(self, call: Grant) -> bool:
        """Whether it allows a call (a Grant with the name and namespace of that call)."""
        return (
            (self.resource, self.verb, self.group) == (call.resource, call.verb, call.group)
            and self.name in ("", call.name)
            and self.namespace in ("", call.namespace)
        )


def read(text: str) -> list[Object]:
    """The objects of a manifest."""
    return [one for one in yaml.safe_load_all(text) if one]


def load(path: Path) -> list[Object]:
    """The objects of a manifest file."""
    return read(path.read_text(encoding="utf-8"))


def kept(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [one for one in objects if one["kind"] in kinds]


def grants(objects: Iterable[Object], account: Account) -> list[Grant]:
    """What the bindings among the objects give to the account, directly or through a group."""
    every = list(objects)
    found = {grant for role, scope in _bound(every, account) for grant in _of(role, scope)}
    return sorted(found)


def without(objects: Iterable[Object], account: Account, grant: Grant) -> list[Object]:
    """The RBAC objects with this grant taken out, and all others as they are."""
    every = copy.deepcopy(kept(objects, *KINDS))
    for role, scope in _bound(every, account):
        left = [each for each in _of(role, scope) if each != grant]
        role["rules"] = [_rule(each) for each in left]
    return every


def _bound(objects: list[Object], account: Account) -> Iterator[tuple[Object, str]]:
    """Roles bound to the account, each with the namespace in which it holds ("": everywhere)."""
    for binding in kept(objects, *_BINDINGS):
        if any(_is(subject, account) for subject in binding.get("subjects", [])):
            reference = binding["roleRef"]
            scope = binding["metadata"].get("namespace", "")
            (role,) = [
                one
                for one in kept(objects, reference["kind"])
                if one["metadata"]["name"] == reference["name"]
                and (reference["kind"] == "ClusterRole" or one["metadata"]["namespace"] == scope)
            ]
            yield role, scope


def _is(subject: Mapping[str, str], account: Account) -> bool:
    match subject["kind"]:
        case "ServiceAccount":
            return (subject["namespace"], subject["name"]) == (account.namespace, account.name)
        case "Group":
            return subject["name"] in account.groups
        case _:
            return subject["name"] == account.user


def _of(role: Object, scope: str) -> list[Grant]:
    found = []
    for rule in role["rules"]:
        if "nonResourceURLs" in rule:
            raise ValueError(f"{role['metadata']['name']}: a rule about URLs is none of ours")
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames") or [""]:
                        found.append(Grant(resource, verb, group, name, scope))
    return found


def _rule(grant: Grant) -> Object:
    rule: Object = {
        "apiGroups": [grant.group],
        "resources": [grant.resource],
        "verbs": [grant.verb],
    }
    return rule | ({"resourceNames": [grant.name]} if grant.name else {})
