"""Which requests did the controller send? What the API server's own audit log says.

The server writes it, so nothing that the controller does can stay out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.stage import CONTROLLER_USER

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})

_POLICY = f"""\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [{CONTROLLER_USER}]
- level: None
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the controller."""

    at_s: float  # Unix seconds at which the server received it
    verb: str
    resource: str  # with subresource: nodes/status
    name: str

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in WRITES


class AuditLog:
    """An audit log of the controller's requests; ``flags`` go to the API server."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._policy = folder / "audit-policy.yaml"
        self._log = folder / "audit.log"
        self._policy.write_text(_POLICY, encoding="ascii")

    @property
    def flags(self) -> tuple[str, ...]:
        """Written line by line, before the answer is sent."""
        return (
            f"--audit-policy-file={self._policy}",
            f"--audit-log-path={self._log}",
            "--audit-log-mode=blocking",
        )

    def requests(self) -> list[Request]:
        """All requests answered so far, by time of arrival."""
        return sorted(self._read(), key=lambda request: request.at_s)

    def _read(self) -> Iterator[Request]:
        with self._log.open(encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                if entry["stage"] == "ResponseStarted":  # a watch, told again at its end
                    continue
                target = entry.get("objectRef", {})
                parts = (target.get("resource", ""), target.get("subresource", ""))
                yield Request(
                    datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(),
                    entry["verb"],
                    "/".join(filter(None, parts)),
                    target.get("name", ""),
                )
