"""Every error that crosses a layer, drawn as a tree.

::

    HealthError                     message, optional hint, exit code
    ├── ConfigError                 wrong settings, kubeconfig, selector: the user mends it (exit 2)
    ├── TransientError              worth retrying: the next cycle tries again (exit 3 with --once)
    │   ├── LokiUnavailable         connection refused, time-out, 5xx, bad answer
    │   ├── LokiBusy                429; carries retry_after
    │   ├── LokiTooMuch             504, 413, too many bytes: ask for a smaller window
    │   ├── ClusterUnavailable      the API server does not answer, 5xx, 429
    │   └── AgentUnavailable        a probe agent does not answer in time, or is busy
    ├── PermanentError              retrying does not help (exit 4)
    │   ├── LokiRefused             400, 401, 403, 404, 422: query, tenant or credentials
    │   ├── ClusterForbidden        401, 403: RBAC; says verb and resource
    │   ├── ClusterRejected         other 4xx
    │   └── AgentRefused            a probe agent refused a request; carries status
    ├── NotFound                    the object is gone
    ├── Conflict                    409: read again and decide again
    └── LeadershipLost              stop all effects at once (exit 5)

Adapters translate and chain (``raise ... from error``): nothing of requests, urllib3 or
kubernetes leaves them. Payload excerpts are bounded to EXCERPT_LIMIT characters.
"""

from __future__ import annotations

EXCERPT_LIMIT = 256


def excerpt(payload: str | bytes) -> str:
    """A bounded, printable piece of somebody else's answer, for an error message."""
    text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
    printable = "".join(c if c.isprintable() else " " for c in text[: EXCERPT_LIMIT + 1]).strip()
    return printable if len(printable) <= EXCERPT_LIMIT else printable[: EXCERPT_LIMIT - 1] + "…"


class HealthError(Exception):
    """Base of all our errors. ``str()`` is the message; ``hint`` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(HealthError):
    """Something that the user configured is wrong."""

    exit_code = 2


class TransientError(HealthError):
    """The other side is not able to answer now."""

    exit_code = 3


class LokiUnavailable(TransientError):
    """Loki did not answer, or not with something that can be understood."""


class LokiBusy(TransientError):
    """Loki answered 429. ``retry_after`` is in seconds, None when Loki did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class LokiTooMuch(TransientError):
    """The window or the page is too large for Loki's limits."""


class ClusterUnavailable(TransientError):
    """The Kubernetes API server does not answer, or is overloaded."""


class AgentUnavailable(TransientError):
    """A probe agent did not answer in time, or not with something that can be understood."""


class PermanentError(HealthError):
    """The other side understood and refused: retrying does not help."""

    exit_code = 4


class LokiRefused(PermanentError):
    """Loki refused the query. ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ClusterForbidden(PermanentError):
    """RBAC or credentials do not allow a call."""


class ClusterRejected(PermanentError):
    """The API server rejected a request as invalid."""


class AgentRefused(PermanentError):
    """A probe agent refused a request. ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotFound(HealthError):
    """The object does not exist (any more)."""


class Conflict(HealthError):
    """Somebody else wrote first (409)."""


class LeadershipLost(HealthError):
    """Another replica leads now."""

    exit_code = 5
