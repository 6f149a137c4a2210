"""What does an agent say when it refuses? (``probes/agent/refusals.py``)"""

from __future__ import annotations

import json
from dataclasses import dataclass

from konduktor_health.errors import AgentRefused, AgentUnavailable, HealthError, excerpt

#: Statuses after which the same request may be taken a while later.
_LATER = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class Said:
    """A refusal, as far as it is one of an agent."""

    code: str
    message: str
    hint: str = ""


def refusal_in(body: bytes) -> Said | None:
    """The refusal in a body; None: it is none of an agent."""
    try:
        error = json.loads(body)["error"]
        code, message, hint = error["code"], error["message"], error.get("hint", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not all(isinstance(each, str) for each in (code, message, hint)):
        return None
    return Said(excerpt(code), excerpt(message), excerpt(hint))


def error_of(status: int, body: bytes) -> HealthError:
    """The error for an answer of an agent that is not 2xx."""
    said = refusal_in(body)
    text = f"{said.code}: {said.message}" if said else excerpt(body)
    hint = said.hint if said else ""
    if status >= 500 or status in _LATER:
        return AgentUnavailable(f"the agent answered {status}: {text}", hint=hint)
    return AgentRefused(f"the agent refused ({status}): {text}", status=status, hint=hint)
