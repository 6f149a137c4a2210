"""How is a site's program run as a check?

On its standard input it gets one JSON object: what a shipped check knows of the node too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from probes.check import Cadence, CheckSpec, Context, Finding, Tier
from probes.userchecks import answer
from probes.userchecks.definition import UserCheck


class UserProgram:
    """A ``probes.check.Check``."""

    def __init__(self, definition: UserCheck) -> None:
        self._definition = definition

    @property
    def spec(self) -> CheckSpec:
        """As the site defined it."""
        it = self._definition
        return CheckSpec(
            name=it.name,
            title=it.title,
            tier=Tier(it.tier),
            cadence=Cadence(it.cadence),
            deadline_s=it.deadline_s,
            needs_idle_gpus=it.needs_idle_gpus,
        )

    def run(self, context: Context) -> Iterable[Finding]:
        """Run the program and read its answer. Raises ToolTimeout, CheckError."""
        told = {
            "check": self._definition.name,
            "node": context.node.name,
            "labels": dict(context.node.labels),
            "expected_gpus": context.node.expected_gpus,
            "boot_id": context.boot_id,
            "root": context.root,
            "options": dict(context.options),
        }
        output = context.tool(
            (self._definition.program, *self._definition.arguments),
            deadline_s=_inner(self._definition.deadline_s),
            input_text=json.dumps(told) + "\n",
        )
        return answer.findings(output)


def _inner(deadline_s: float) -> float:
    """A little before the runner's own deadline, so that what the program said can be told."""
    return deadline_s - min(1.0, 0.1 * deadline_s)
