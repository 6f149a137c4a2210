"""What may an agent be asked to do, and how? Signed requests, and questions about the kernel log.

Invariants:
- A signed request is for one node, for at most LONGEST_VALIDITY_S, and for once (nonce).
- It goes to the pod that is that node's agent now, and nothing that was sent is sent again: whoever
  asks decides whether to ask anew.
- What is sent is bounded by the wire schema; what cannot be is a ValueError here, not on the node.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from konduktor_health.adapters.probes.client import SpeaksToAgents
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.reading import WHOLE_TIER
from konduktor_health.clock import Clock
from konduktor_health.errors import AgentUnavailable, NotFound
from konduktor_health.timestamps import NS
from parsers.printable import printable
from probes.report import (
    SIGNATURE_HEADER,
    KmsgAnswers,
    KmsgQuestion,
    KmsgQuestions,
    NodeSettings,
    RunAccepted,
    RunRequest,
    TierName,
)

VALID_S = 60.0
_RUN, _SETTINGS, _KMSG = "/v1/run", "/v1/settings", "/v1/kmsg"
_Model = TypeVar("_Model", bound=BaseModel)


class AgentOrders:
    """Requests to the agents of nodes. Thread-safe; each call blocks for one request."""

    def __init__(
        self,
        agent_of: Callable[[str], AgentPod | None],
        http: SpeaksToAgents,
        sign: Callable[[str, bytes], str],
        clock: Clock,
        *,
        timeout_s: float = 5.0,
        assert_leader: Callable[[], None] = lambda: None,
    ) -> None:
        """``sign``: endpoint and body to the value of the signature header."""
        self._agent_of = agent_of
        self._http = http
        self._sign = sign
        self._clock = clock
        self._timeout_s = timeout_s
        self._assert_leader = assert_leader

    def run(
        self,
        node: str,
        *,
        checks: Sequence[str] = (),
        tier: TierName | None = None,
        options: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> RunAccepted:
        """Have these checks run once, or all of a tier; also the id of the run in the node's
        report. Raises NotFound (no agent), AgentUnavailable, AgentRefused, LeadershipLost;
        ValueError for what no request can say."""
        whole = tier is not None and not checks and not options
        made = f"{WHOLE_TIER}{tier}-" if whole else "checks-"
        issued_ns = self._clock.now_ns()
        request = RunRequest(
            node=node,
            request_id=request_id or made + secrets.token_hex(8),
            checks=tuple(checks),
            tier=tier,
            options=dict(options or {}),
            issued_ns=issued_ns,
            expires_ns=issued_ns + int(VALID_S * NS),
            nonce=secrets.token_urlsafe(16),
        )
        return _read(self._signed(node, _RUN, request), RunAccepted)

    def settings(self, node: str, told: NodeSettings) -> None:
        """Have the agent take these settings: ``told`` with a fresh time and nonce. Raises as
        ``run``."""
        issued_ns = self._clock.now_ns()
        fresh = told.model_copy(
            update={
                "node": node,
                "issued_ns": issued_ns,
                "expires_ns": issued_ns + int(VALID_S * NS),
                "nonce": secrets.token_urlsafe(16),
            }
        )
        self._signed(node, _SETTINGS, fresh)

    def kernel_log(
        self, node: str, questions: Sequence[KmsgQuestion], *, timeout_s: float
    ) -> KmsgAnswers:
        """Ask whether these records are in the node's kernel log. Reading is not signed. Raises as
        ``run``, and AgentUnavailable for an answer that does not fit the questions."""
        body = KmsgQuestions(questions=tuple(questions)).model_dump_json().encode()
        agent = self._agent(node)
        answer = self._http.post(agent.address, agent.port, _KMSG, body, timeout_s=timeout_s)
        found = _read(answer.body, KmsgAnswers)
        if len(found.answers) != len(questions):
            raise AgentUnavailable(f"{len(found.answers)} answers to {len(questions)} questions")
        return found

    def _signed(self, node: str, endpoint: str, request: BaseModel) -> bytes:
        """Send it; returns the body of the answer."""
        body = request.model_dump_json().encode()
        agent = self._agent(node)
        headers = {SIGNATURE_HEADER: self._sign(endpoint, body)}
        self._assert_leader()
        timeout_s = self._timeout_s
        return self._http.post(
            agent.address, agent.port, endpoint, body, timeout_s=timeout_s, headers=headers
        ).body

    def _agent(self, node: str) -> AgentPod:
        agent = self._agent_of(node)
        if agent is None:
            raise NotFound(f"node {printable(node, 100)}: no agent runs there")
        return agent


def _read(body: bytes, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise AgentUnavailable(f"the agent's answer is no {model.__name__}") from error
