"""How does a test give rights to ServiceAccounts of a real API server, and act as one of them?

Tokens are real ServiceAccount tokens (TokenRequest). After a change of roles ``install`` waits
until the server's authorizer has taken it up: that is what the server answers itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.controller import eventually
from tests.support.rbac.rights import KINDS, Account, Grant, Object, grants, kept
from tests.support.servers import RealKube

APPLY = "application/apply-patch+yaml"
_CORE = {"Namespace": "namespaces", "ServiceAccount": "serviceaccounts"}
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def path_of(one: Object) -> str:
    """URL path of a Namespace, ServiceAccount or RBAC object."""
    kind, meta = one["kind"], one["metadata"]
    base, plural = ("/api/v1", _CORE[kind]) if kind in _CORE else (_RBAC, f"{kind.lower()}s")
    space = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{base}{space}/{plural}/{meta['name']}"


class Accounts:
    """The accounts of one API server. ``remove`` takes every role away that was installed."""

    def __init__(self, kube: RealKube) -> None:
        self.kube = kube
        self._installed: dict[str, None] = {}

    def apply(self, objects: Iterable[Object]) -> None:
        """Server-side apply with strict field validation."""
        for one in objects:
            path = path_of(one)
            self.kube.request(
                "PATCH",
                f"{path}?fieldManager=tests&force=true&fieldValidation=Strict",
                one,
                content_type=APPLY,
            )
            if one["kind"] in KINDS:
                self._installed[path] = None

    def install(
        self, objects: Iterable[Object], account: Account, missing: Iterable[Grant] = ()
    ) -> None:
        """Apply Namespaces, ServiceAccounts and roles; wait until exactly these rights hold
        and the ``missing`` ones do not."""
        every = list(objects)
        self.apply(kept(every, "Namespace", "ServiceAccount", *KINDS))
        wanted = dict.fromkeys(grants(every, account), True) | dict.fromkeys(missing, False)
        eventually(
            lambda: all(self.may(account, grant) is allowed for grant, allowed in wanted.items()),
            f"{account.user}: these rights hold: {wanted}",
        )

    def may(self, account: Account, grant: Grant) -> bool:
        """What the server's authorizer says."""
        resource, _, subresource = grant.resource.partition("/")
        asked = {
            "verb": grant.verb,
            "group": grant.group,
            "resource": resource,
            "subresource": subresource,
            "name": grant.name,
            "namespace": grant.namespace,
        }
        spec = {
            "user": account.user,
            "groups": list(account.groups),
            "resourceAttributes": asked,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.kube.request("POST", path, review)["status"]["allowed"])

    def remove(self) -> None:
        """Take the roles and bindings away again."""
        for path in self._installed:
            self.kube.request("DELETE", path, check=False)
        self._installed.clear()

    def actor(self, account: Account) -> Actor:
        """Act as the account."""
        return Actor(self.kube, account)


class Actor:
    """A ServiceAccount with a token, as a pod of it would be."""

    def __init__(self, kube: RealKube, account: Account) -> None:
        self.kube = kube
        self.account = account
        path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        self._token = str(kube.request("POST", path, request)["status"]["token"])

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig with the account's token."""
        cluster = {"server": self.kube.url, "certificate-authority": str(self.kube.ca)}
        name = self.account.name
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": self._token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def status(self, method: str, path: str, body: Any = None, kind: str = "") -> int:
        """HTTP status of a request."""
        return self.call(method, path, body, kind).status_code

    def call(self, method: str, path: str, body: Any = None, kind: str = "") -> requests.Response:
        """The answer to a request."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                self.kube.url + path,
                data=None if body is None else json.dumps(body),
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Content-Type": kind or "application/json",
                },
                verify=str(self.kube.ca),
                timeout=20,
            )

    def rules(self, namespace: str) -> Object:
        """What the server says the account may do in a namespace; lists are sorted."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        answer = self.call("POST", path, review)
        assert answer.status_code == 201, answer.text
        status = answer.json()["status"]
        assert not status["incomplete"], status
        return {
            kind: sorted(
                ({key: sorted(values) for key, values in rule.items()} for rule in status[kind]),
                key=str,
            )
            for kind in ("resourceRules", "nonResourceRules")
        }
