"""Which calls has an account made, and how were they answered? The API server's audit log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.rbac.rights import Account, Grant

_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``call`` is None for a URL that is no resource (/version)."""

    user: str
    call: Grant | None
    uri: str
    status: int


class Audit:
    """An audit log in a folder; ``flags`` switch it on. The server writes before it answers."""

    def __init__(self, folder: Path) -> None:
        policy = folder / "audit-policy.yaml"
        policy.write_text(_POLICY, encoding="utf-8")
        self._log = folder / "audit.log"
        self.flags = (f"--audit-policy-file={policy}", f"--audit-log-path={self._log}")

    def requests(self, account: Account) -> list[Request]:
        """All requests of the account so far."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        every = [_request(line) for line in lines]
        return [one for one in every if one.user == account.user]


def _request(line: str) -> Request:
    entry = json.loads(line)
    target = entry.get("objectRef")
    call = None
    if target is not None:
        parts = (target["resource"], target.get("subresource"))
        call = Grant(
            "/".join(part for part in parts if part),
            entry["verb"],
            target.get("apiGroup", ""),
            target.get("name", ""),
            target.get("namespace", ""),
        )
    status = entry.get("responseStatus", {}).get("code", 0)
    return Request(entry["user"]["username"], call, entry["requestURI"], status)
