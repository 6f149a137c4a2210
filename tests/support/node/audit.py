"""Who called the API server, and what was refused?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """One finished request. ``resource`` with subresource, e.g. ``nodes/status``."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int


class AuditLog:
    """The API server's audit log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def calls(self, user: str = "") -> Iterator[Call]:
        """Finished requests so far, in order: all, or those of one user."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    return  # half-written
                call = _call(json.loads(line))
                if user in ("", call.user):
                    yield call

    def forbidden(self, user: str) -> list[Call]:
        """What the user asked for and has no right to."""
        return [call for call in self.calls(user) if call.code == 403]


def _call(event: dict[str, object]) -> Call:
    def text(part: object, key: str) -> str:
        return str(part.get(key, "")) if isinstance(part, dict) else ""

    target, status = event.get("objectRef"), event.get("responseStatus")
    resource = "/".join(filter(None, (text(target, "resource"), text(target, "subresource"))))
    return Call(
        user=text(event.get("user"), "username"),
        verb=str(event.get("verb", "")),
        resource=resource or str(event.get("requestURI", "")),
        namespace=text(target, "namespace"),
        name=text(target, "name"),
        code=int(text(status, "code") or 0),
    )
