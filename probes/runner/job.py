"""What is a child told to do? One JSON object on its standard input.

It comes from the parent alone, so that it is read without doubt; what comes back is not
(``probes.runner.messages``).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from probes.check import NodeFacts
from probes.userchecks.definition import UserCheck

#: Set for each child, and so for all that it starts: whose run they belong to.
RUN_VARIABLE = "KONDUKTOR_PROBE_RUN"


@dataclass(frozen=True, slots=True)
class Job:
    """Checks to run, in order, and what they measure with."""

    checks: tuple[str, ...]
    registry: str  # "module:attribute" of the shipped checks
    backend: str  # "module:function" that is called with (environ, root)
    user_checks: tuple[UserCheck, ...] = ()
    root: str = "/"
    boot_id: str = ""
    node: NodeFacts = field(default_factory=NodeFacts)
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of each check
    before: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # of each check

    def to_bytes(self) -> bytes:
        """JSON."""
        node = self.node
        content = {
            "checks": self.checks,
            "registry": self.registry,
            "backend": self.backend,
            "user_checks": [asdict(each) for each in self.user_checks],
            "root": self.root,
            "boot_id": self.boot_id,
            "node": {
                "name": node.name,
                "labels": dict(node.labels),
                "expected_gpus": node.expected_gpus,
                "thresholds": dict(node.thresholds),
                "peers": {name: dict(each) for name, each in node.peers.items()},
            },
            "options": {check: dict(each) for check, each in self.options.items()},
            "before": {check: dict(each) for check, each in self.before.items()},
        }
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Job:
        """What ``to_bytes`` gave."""
        value: dict[str, Any] = json.loads(content)
        value["checks"] = tuple(value["checks"])
        value["user_checks"] = tuple(
            UserCheck(**{**each, "arguments": tuple(each["arguments"])})
            for each in value["user_checks"]
        )
        peers = value["node"]["peers"]
        value["node"]["peers"] = {
            name: {interface: tuple(addresses) for interface, addresses in each.items()}
            for name, each in peers.items()
        }
        value["node"] = NodeFacts(**value["node"])
        return cls(**value)


def resolve(reference: str) -> Any:
    """What "module:attribute" names. Raises ImportError, AttributeError."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
