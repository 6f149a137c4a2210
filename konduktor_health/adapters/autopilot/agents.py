"""How is one node asked? A signed request to run, and then its agent's own text of what was found.

The agent writes the texts (``probes.autopilot``): the controller only says which run to wait for.
Invariants: nothing is begun unless that is allowed, and then only what runs beside any workload,
each check of a node at most once in ``AGAIN_S``; whatever goes wrong becomes a text with ABORT.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from konduktor_health.adapters.autopilot.query import Query, node_checks
from konduktor_health.adapters.autopilot.words import DISCONNECTED, plain, repeated
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import Clock
from konduktor_health.errors import AgentRefused, HealthError

#: Our checks by Autopilot's name that may be begun for whoever asks, and how often.
LIGHT: Mapping[str, str] = {
    "pciebw": "pcie-bandwidth",
    "remapped": "gpu-remapped-rows",
    "gpupower": "gpu-clocks",
    "ping": "ping",
    "dcgm": "dcgm-1",
}
AGAIN_S: Mapping[str, float] = {
    "gpu-remapped-rows": 30.0,
    "gpu-clocks": 30.0,
    "pcie-bandwidth": 300.0,
    "ping": 300.0,
    "dcgm-1": 300.0,
}
RUN_ID = "autopilot-"
_MOST_ASKED = 100_000  # node and check


class AsksToRun(Protocol):
    """How an agent is asked to run checks (``adapters.probes.orders``)."""

    def run(self, node: str, *, checks: Sequence[str] = (), request_id: str = "") -> Any:
        """Have these checks run once. Raises HealthError."""
        ...


class AskedAgents:
    """Agents of many nodes. Thread-safe; each call blocks for one request."""

    def __init__(
        self,
        orders: AsksToRun | None,
        http: AgentHttp,
        clock: Clock,
        *,
        port: int,
        timeout_s: float,
        agent_of: Callable[[str], AgentPod | None],
    ) -> None:
        """``orders`` None: nothing is begun. ``port``: the agents' for Autopilot's users."""
        self._orders, self._http, self._clock = orders, http, clock
        self.port, self._timeout_s, self._agent_of = port, timeout_s, agent_of
        self._lock = threading.Lock()
        self._asked_s: dict[tuple[str, str], float] = {}

    def begin(self, node: str, query: Query) -> tuple[str, str]:
        """Have what is asked for run; the run's id, "" without one, and why there is none."""
        if self._orders is None:
            return "", ""
        checks = self._due(node, query)
        if not checks:
            return "", ""
        run_id = RUN_ID + secrets.token_hex(8)
        try:
            self._orders.run(node, checks=checks, request_id=run_id)
        except HealthError as error:
            with self._lock:
                for check in checks:
                    self._asked_s.pop((node, check), None)
            return "", f"not run now: {plain(str(error))}"
        return run_id, ""

    def text(self, node: str, query: Query, run_id: str) -> str:
        """What the node's agent says, once that run has ended."""
        agent = self._agent_of(node)
        if agent is None:
            return f"No agent runs on this node. {DISCONNECTED}"
        path = f"/status?{query.parameters(node)}" + (f"&run={run_id}" if run_id else "")
        try:
            answer = self._http.get(
                agent.address, self.port, path, timeout_s=self._timeout_s, keep=False
            )
        except AgentRefused as error:
            return f"{plain(str(error))}. {DISCONNECTED}"
        except HealthError as error:
            return f"{plain(str(error))}. {DISCONNECTED}"
        return repeated(answer.body.decode("utf-8", "replace"))

    def _due(self, node: str, query: Query) -> tuple[str, ...]:
        """Our checks that may be begun now; they count as begun."""
        now_s = self._clock.monotonic()
        wanted = [
            LIGHT[each]
            for each in node_checks(query.checks)
            if each in LIGHT and (each != "dcgm" or query.level == "1")
        ]
        with self._lock:
            if len(self._asked_s) > _MOST_ASKED:
                self._asked_s.clear()
            due = tuple(
                check
                for check in wanted
                if now_s - self._asked_s.get((node, check), -math.inf) >= AGAIN_S[check]
            )
            self._asked_s.update({(node, check): now_s for check in due})
        return due
