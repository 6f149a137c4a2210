"""Where is it measured? A real API server with etcd, a real Loki, the controller's own process.

Settings are the product's defaults but for what a benchmark says. The controller has a user
of its own, so that its requests can be told from the benchmark's.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from konduktor_health.settings import LeaseSettings, ReadingSettings
from tests.support.controller import NAMESPACE, ControllerProcess, merged
from tests.support.loglines import STREAM, Line, otel
from tests.support.servers import Loki, RealKube

CONTROLLER_USER = "controller"
NO_LIMITS = {"budget_enabled": False, "rate_per_minute": 0, "surge_enabled": False}
_DEFAULTS: dict[str, Any] = {
    "sources": [
        {"preset": "konduktor-otel", "optional": True},
        {"preset": "kmsg", "optional": True},
    ],
    "watched_namespaces": "default",
    "reading": ReadingSettings().model_dump(),
    "lease": LeaseSettings().model_dump(),
    "cluster": {"timeout_s": 5.0},
}


def pause(seconds: float) -> None:
    """Let other processes work."""
    threading.Event().wait(seconds)


class Stage:
    """Servers that run, and a controller once asked for."""

    def __init__(self, kube: RealKube, loki: Loki, folder: Path, stack: ExitStack) -> None:
        self.kube, self.loki, self.folder = kube, loki, folder
        self._stack = stack

    def controller(self, settings: Mapping[str, Any]) -> ControllerProcess:
        """Start ``konduktor-health run`` and wait until it leads and reads."""
        process = ControllerProcess(
            self.folder,
            kubeconfig=self.kube.kubeconfig(user=CONTROLLER_USER),
            loki=self.loki.url,
            settings=merged(_DEFAULTS, settings),
        )
        return self._stack.enter_context(process).leading()

    def push(self, lines: Sequence[Line]) -> None:
        """One push as Konduktor's collector sends it; returns at Loki's 204."""
        self.loki.push(STREAM, lines)

    def push_faults(self, names: Sequence[str]) -> None:
        """One push with one fatal line for each node."""
        self.push([otel(name) for name in names])


@contextmanager
def stage(flags: Sequence[str] = ()) -> Iterator[Stage]:
    """Start servers of their own; ``flags`` are the API server's. Raises ServerError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="konduktor-bench-")))
        kube = RealKube(folder / "kube", users={CONTROLLER_USER: ["system:masters"]}, flags=flags)
        loki = Loki(folder / "loki")
        stack.callback(loki.stop)
        stack.callback(kube.stop)
        kube.start()
        loki.start()
        kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield Stage(kube, loki, folder, stack)
