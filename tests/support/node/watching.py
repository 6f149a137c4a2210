"""What happened in between? Watches that run beside a test's own steps."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tests.support.node.commands import Commands, is_ready


class ReadyWatch:
    """The fewest pods of a selector that were Ready, and not about to leave, at any time."""

    def __init__(self, commands: Commands, namespace: str, selector: str) -> None:
        self._commands, self._namespace, self._selector = commands, namespace, selector
        self.fewest = -1
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            pods = self._commands.pods(self._namespace, self._selector)
            ready = len([pod for pod in pods if is_ready(pod)])
            self.fewest = ready if self.fewest < 0 else min(self.fewest, ready)
            self.looks += 1

    def __enter__(self) -> ReadyWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(30)


class ExitWatch:
    """The exit code of a pod's only container, seen before the pod is gone."""

    def __init__(self, commands: Commands, namespace: str, pod: str) -> None:
        path = '{.status.containerStatuses[0].state.terminated.exitCode}{"\\n"}'
        words = ["get", "pod", pod, "-n", namespace, "--watch", "-o", f"jsonpath={path}"]
        self._process: subprocess.Popen[str] = commands.start_kubectl(*words)

    def code(self, gone: Callable[[], bool], timeout_s: float = 30) -> int | None:
        """The code, once the pod is gone; None when none was ever shown."""
        deadline = time.monotonic() + timeout_s
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.1)  # noqa: TID251 - another process works
        self._process.terminate()
        said, _ = self._process.communicate(timeout=10)
        codes = [int(line) for line in said.split() if line.isdigit()]
        return codes[-1] if codes else None
