"""The embedded Loki of the sandbox: push, query_range and what surrounds them, in process."""

from konduktor_health.sandbox.loki.faults import Faults
from konduktor_health.sandbox.loki.limits import Limits
from konduktor_health.sandbox.loki.server import LokiServer, Request

__all__ = ["Faults", "Limits", "LokiServer", "Request"]
