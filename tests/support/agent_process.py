"""``konduktor-probe agent`` as a process, with checks of a site that are programs of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.agent import Answer, Asking, eventually
from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
#: Variables that would change what the process does.
_MINE = ("KONDUKTOR_", "NODE_NAME")


class AgentProcess:
    """Started on loopback with a state directory of its own; ends with the test."""

    def __init__(self, path: Path, *options: str, **environ: str) -> None:
        self.path, self._options, self._environ = path, options, environ
        self.port = free_port()
        self.site = path / "site"
        self.site.mkdir(exist_ok=True)
        self.log = path / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None

    def put(self, name: str, script: str, **members: object) -> None:
        """A check of the site."""
        program = self.site / f"{name}.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        entry = {"name": name, "program": program.name, **members}
        (self.site / f"{name}.json").write_text(json.dumps({"checks": [entry]}))

    def start(self) -> None:
        """Start it and wait until it answers."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(_MINE)}
        if any(self.site.iterdir()):
            environ["KONDUKTOR_USER_CHECKS"] = str(self.site)
        command = [
            sys.executable, "-m", "probes.cli", "agent", "--node", "node-a",
            "--listen", f"127.0.0.1:{self.port}", "--state", str(self.path / "state"),
            "--keys", str(self.path / "keys"), "--backend", "fake", "--clock-skew", "0",
            *self._options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**environ, "PYTHONPATH": str(ROOT), **self._environ}, cwd=self.path,
            )  # fmt: skip
        eventually(self._answers, 30)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def get(self, path: str) -> Answer:
        return Asking(self.port).get(path)

    def post(self, path: str, body: object) -> Answer:
        return Asking(self.port).post(path, body)

    def report(self) -> Any:
        return self.get("/v1/report").json()

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and the seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - began

    def close(self) -> None:
        """Whatever it does, it ends."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def rss_mib(self) -> float:
        """Memory that it has in use."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")
