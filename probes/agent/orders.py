"""May this run be begun, and are these settings to be taken? What a signed request asks for.

Invariants: a request is looked at whole before its nonce is used up, so that one that is refused
for its content can be sent again; what is invasive is not begun beside somebody's work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from probes.agent.board import Board
from probes.agent.log import Log
from probes.agent.memory import Memory
from probes.agent.refusals import Refusal
from probes.agent.requests import KnownRunError, QueueFullError, Request, Requests
from probes.check import CheckSpec, Tier
from probes.report import NodeSettings, RunAccepted, RunRequest, settings_digest

_RETRY_S = "30"


class Orders:
    """Any thread. ``busy``: devices on which something runs; ``wake``: a request is queued."""

    def __init__(
        self,
        specs: Sequence[CheckSpec],
        requests: Requests,
        memory: Memory,
        board: Board,
        log: Log,
        *,
        busy: Callable[[], Collection[str]],
        wake: Callable[[], None],
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._requests, self._memory, self._board, self._log = requests, memory, board, log
        self._busy, self._wake = busy, wake

    def knows(self, check: str) -> bool:
        """Whether this node has a check of this name."""
        return check in self._specs

    def checked(self, request: RunRequest) -> Request:
        """What is to be run. Raises Refusal: unknown_check, invalid, not_for_requests,
        gpus_busy."""
        checks = self._chosen(request)
        self._refuse_foreign_options(request, checks)
        self._refuse_options_of_the_agent(request)
        specs = [self._specs[name] for name in checks]
        busy = tuple(self._busy())
        if busy and any(spec.needs_idle_gpus or spec.tier is Tier.INVASIVE for spec in specs):
            raise Refusal(
                "gpus_busy",
                f"something runs on {', '.join(busy[:8])}",
                "invasive checks need idle GPUs: drain the node, or let a Job reserve them",
            )
        return Request(request.request_id, checks, dict(request.options))

    def put(self, request: Request) -> RunAccepted:
        """Queue it. Raises Refusal: known_run, queue_full."""
        try:
            before = self._requests.put(request)
        except KnownRunError as error:
            raise Refusal(
                "known_run",
                f"run {request.run_id!r} was asked for before",
                "its results are in /v1/report; ask for a new run under a new id",
            ) from error
        except QueueFullError as error:
            raise Refusal(
                "queue_full", f"{error} runs wait already", headers={"Retry-After": _RETRY_S}
            ) from error
        self._log.info("run asked for", run=request.run_id, checks=", ".join(request.checks))
        self._wake()
        return RunAccepted(run_id=request.run_id, queued=before)

    def take(self, settings: NodeSettings) -> None:
        """Put settings in force. Raises Refusal: older_settings, state_unwritable."""
        try:
            taken = self._memory.take(settings)
        except OSError as error:
            raise Refusal(
                "state_unwritable",
                f"the settings cannot be kept: {error.strerror or error}",
                "see to the node's disk",
            ) from error
        if not taken:
            raise Refusal("older_settings", "newer settings are in force", "send the newest ones")
        self._log.info("settings taken", digest=settings_digest(settings))
        self._board.settings(settings_digest(settings))

    def _chosen(self, request: RunRequest) -> tuple[str, ...]:
        for name in request.checks:
            if name not in self._specs:
                raise Refusal("unknown_check", f"no check {name!r}", "GET /v1/checks lists them")
        chosen = tuple(
            spec.name
            for spec in self._specs.values()
            if spec.name in request.checks
            or (request.tier is not None and spec.tier.value == request.tier)
        )
        if not chosen:
            raise Refusal(
                "invalid", "no check is asked for", "name checks, or a tier that has some"
            )
        return chosen

    def _refuse_foreign_options(self, request: RunRequest, checks: Collection[str]) -> None:
        for option in request.options:
            check, dot, name = option.partition(".")
            if not dot or not name or check not in checks:
                raise Refusal(
                    "invalid",
                    f"option {option!r} is of no check that is asked for",
                    'an option is named "<check>.<option>", e.g. "ping.peer"',
                )

    def _refuse_options_of_the_agent(self, request: RunRequest) -> None:
        """A key that is stolen must not become a way to run any program on each node."""
        for option in request.options:
            check, _, name = option.partition(".")
            allowed = self._specs[check].request_options
            if name not in allowed:
                may = f"a request may set {', '.join(sorted(allowed))}" if allowed else ""
                raise Refusal(
                    "not_for_requests",
                    f"option {option!r} is not taken from a request",
                    may or f"no option of {check} is; the agent's --option sets it on the node",
                )
