"""The controller as a process of its own, as users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import requests
import yaml

from tests.support.processes import free_port

T = TypeVar("T")
OUR_KEY = "trainy.konduktor.ai/faulty"
NAMESPACE = "konduktor-health"


def eventually(
    probe: Callable[[], T],
    what: str | Callable[[], str],
    timeout_s: float = 20.0,
    interval_s: float = 0.05,
) -> T:
    """The first truthy answer of ``probe``; AssertionError naming ``what`` when none comes."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_s} s: {text} (last: {answer!r})")
        _pause(interval_s)


def steadily(probe: Callable[[], bool], what: str, seconds: float) -> None:
    """Holds all the time; AssertionError naming ``what`` as soon as it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert probe(), what
        _pause(0.1)


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - a test polls another process


def merged(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the second over the first."""
    result = dict(base)
    for key, value in more.items():
        known = result.get(key)
        both = isinstance(known, dict) and isinstance(value, Mapping)
        result[key] = merged(known, value) if both and isinstance(known, dict) else value
    return result


class ControllerProcess:
    """``konduktor-health run`` with a settings file; its log is kept for failures."""

    def __init__(
        self,
        folder: Path,
        *,
        kubeconfig: Path | str,
        loki: str,
        args: tuple[str, ...] = (),
        settings: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder / f"controller-{self.port}.log"
        self.out = folder / f"controller-{self.port}.out"
        self.config = folder / f"settings-{self.port}.yaml"
        base: dict[str, Any] = {
            "loki": {"url": loki},
            "sources": [{"preset": "konduktor-otel"}],
            "watched_namespaces": "",
            "reading": {"poll_interval_s": 0.3},
            "cluster": {"kubeconfig": str(kubeconfig), "namespace": NAMESPACE, "timeout_s": 2.0},
            "policy": {"start_up_grace_s": 0},  # the Nodes of a test have just been made
            "lease": {"duration_s": 6.0, "renew_deadline_s": 3.5, "retry_s": 0.3},
            "http": {"host": "127.0.0.1", "port": self.port},
        }
        self.config.write_text(yaml.safe_dump(merged(base, settings or {})), encoding="utf-8")
        self._args = args
        self._environ = dict(environ or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> ControllerProcess:
        """Start without waiting; nothing to do while it runs."""
        if self.running():
            return self
        command = [sys.executable, "-m", "konduktor_health", "run", "--config", str(self.config)]
        with self.log.open("ab") as log, self.out.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, *self._args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **self._environ},
            )
        return self

    def ready(self, timeout_s: float = 30.0) -> ControllerProcess:
        """Wait until /readyz says so."""
        eventually(lambda: self.readiness()[0] == 200, lambda: f"ready: {self.tail()}", timeout_s)
        return self

    def leading(self, timeout_s: float = 30.0) -> ControllerProcess:
        """Wait until this process leads and has polled its sources."""

        def reads() -> bool:
            text = self.metrics()
            return "konduktor_health_leader 1.0" in text and 'source_ok{source="' in text

        eventually(reads, lambda: f"leading: {self.tail()}", timeout_s)
        return self

    def readiness(self) -> tuple[int, str]:
        """Status and text of /readyz; (0, reason) while nothing listens."""
        try:
            answer = self._get("/readyz")
        except requests.RequestException as error:
            return 0, str(error)
        return answer.status_code, answer.text

    def metrics(self) -> str:
        """Text of /metrics; empty while nothing listens."""
        try:
            return self._get("/metrics").text
        except requests.RequestException:
            return ""

    def metric(self, name: str) -> float:
        """The sum of a metric's samples; ``name`` may carry labels."""
        values = [
            float(line.rsplit(" ", 1)[1])
            for line in self.metrics().splitlines()
            if line.startswith(name)
        ]
        return sum(values)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def output(self) -> str:
        """What it printed."""
        return self.out.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def terminate(self, timeout_s: float = 10.0) -> tuple[int, float]:
        """SIGTERM; its exit code and how many seconds it took."""
        started = time.monotonic()
        self._signal(signal.SIGTERM)
        return self.wait(timeout_s), time.monotonic() - started

    def wait(self, timeout_s: float = 30.0) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def running(self) -> bool:
        """Still there."""
        return self.process is not None and self.process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number is signal.SIGKILL:
                self.process.wait(10)

    def _get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://127.0.0.1:{self.port}{path}", timeout=3)

    def __enter__(self) -> ControllerProcess:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            sys.stderr.write(f"--- controller log\n{self.tail()}\n")
        self.kill()


def cli(*args: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> Any:
    """Run ``konduktor-health`` with arguments; a CompletedProcess with text."""
    return subprocess.run(
        [sys.executable, "-m", "konduktor_health", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(environ or {})},
    )
