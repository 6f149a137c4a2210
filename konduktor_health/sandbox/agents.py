"""Real agents for simulated nodes: ``konduktor-probe agent`` processes with fake GPUs.

Each has an address, a state directory, a root directory with the boot id of its node, and a file
with the faults of its GPUs. What runs is what runs on a node: the agent, its children, its HTTP
API, its checks with their thresholds; only the GPUs are not there.

Invariants:
- They listen on loopback addresses of their own, all on one port, as pods do.
- They read neither this machine's kernel log nor its GPUs.
- They end with the thread that started them, whatever becomes of it (``tethered``).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from konduktor_health.clock import NS, Clock
from konduktor_health.errors import TransientError
from konduktor_health.sandbox.nodes import stable_uuid
from probes import report

#: Names a GPU in ``inject``: the node itself, and all of its GPUs.
NODE, ALL = "node", "*"
_FIRST_ADDRESS = 11  # 127.0.0.11
_MOST_AGENTS = 64
_ANSWER_S = 2.0
_END_S = 8.0
_STOP_S = 1.0  # all together: the end of a demo has 4 seconds, and nothing of theirs is kept
#: Variables of ours that the environment of a person may hold.
_OURS = ("KONDUKTOR_", "NODE_NAME")
_PROGRAM = "probes.cli"
#: Names of faults that are rates end so; beside them stands since when ("since", Unix seconds).
_RATE = "_per_s"
#: One disk that can be written, for the checks that ask for mounts.
_MOUNTS = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


@dataclass(frozen=True, slots=True)
class Cadences:
    """Seconds between two runs, of what an agent runs by itself; 0: never."""

    light: float = 5.0  # the shortest that the agent takes
    hourly: float = 0.0
    invasive: float = 0.0


@dataclass(slots=True)
class LocalAgent:
    """One process, and where its things are."""

    node: str
    address: str
    port: int
    folder: Path
    keys: Path
    cadences: Cadences
    options: tuple[str, ...] = ()  # more options of the command
    fake: Mapping[str, str] = field(default_factory=dict)  # variables of the fake backend
    process: subprocess.Popen[bytes] | None = None

    @property
    def faults(self) -> Path:
        """What is wrong with its GPUs (docs/reference/gpu-backends.md)."""
        return self.folder / "gpus.json"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "agent.log"

    def start(self) -> None:
        """Start the process, without waiting."""
        root = self.folder / "root"
        boot_id = root / "proc/sys/kernel/random/boot_id"
        mounts = root / "proc/1/mountinfo"
        for path, text in ((boot_id, stable_uuid(self.node, "boot") + "\n"), (mounts, _MOUNTS)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
        command = [
            sys.executable, "-m", "konduktor_health.sandbox.tethered", str(os.getpid()), _PROGRAM,
            "agent", "--node", self.node, "--listen", f"{self.address}:{self.port}",
            "--root", str(root), "--state", str(self.folder / "state"), "--keys", str(self.keys),
            "--backend", "fake", "--no-kmsg", "--clock-skew", "0",  # controller and node are one
            "--light-interval", f"{self.cadences.light:g}",
            "--hourly-interval", f"{self.cadences.hourly:g}",
            "--invasive-interval", f"{self.cadences.invasive:g}",
            *self.options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ(),
                process_group=0,  # Ctrl-C is for the demo, which ends them in order
            )

    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        """Whether it says that it works. Raises TransientError when it has ended."""
        if not self.running():
            raise TransientError(f"the agent of {self.node} has ended: {self._last_words()}")
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises OSError."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=_ANSWER_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def report(self) -> report.Report:
        """What it tells the controller. Raises OSError, also for an answer that is none."""
        return report.Report.model_validate_json(self.ask("/v1/report"))

    def ask(self, path: str) -> bytes:
        """What it answers. Raises OSError, also for a refusal."""
        status, body = self.get(path)
        if status != 200:
            raise ConnectionError(f"{path} of {self.node} answered {status}")
        return body

    def children(self) -> set[int]:
        """Its processes that run checks."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # ended meanwhile
                fields = stat.read_text(errors="replace").rpartition(")")[2].split()
                if self.process is not None and int(fields[1]) == self.process.pid:
                    found.add(int(stat.parent.name))
        return found

    def read_faults(self) -> dict[str, Any]:
        """What is wrong with the node (NODE) and its GPUs ("gpus", by name)."""
        try:
            found = json.loads(self.faults.read_text(encoding="utf-8"))
        except FileNotFoundError:
            found = {}
        return {NODE: {}, "gpus": {}, **found}

    def write_faults(self, state: Mapping[str, Any]) -> None:
        """Replace the file as a whole: its readers never see half of it."""
        new = self.faults.with_suffix(".new")
        new.write_text(json.dumps(state), encoding="utf-8")
        new.replace(self.faults)

    def end(self, number: signal.Signals = signal.SIGTERM, *, patience_s: float = _END_S) -> None:
        """End the process; what does not end in time is killed."""
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(_END_S)

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        kept |= {"KONDUKTOR_FAKE_GPU_STATE": str(self.faults), **self.fake}
        # Python finds the packages there that this process runs from.
        here = str(Path(report.__file__).parents[1])
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (here, kept.get("PYTHONPATH", ""))))
        return kept

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1][:300] if lines else "it said nothing"


class LocalAgents:
    """The agents of some nodes. Their processes end with the thread that calls ``start``."""

    def __init__(
        self,
        cadences: Mapping[str, Cadences],
        folder: Path,
        clock: Clock,
        *,
        options: tuple[str, ...] = (),
        fake: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """``cadences``: by node. ``options``: more options of each agent. ``fake``: by node,
        variables of the fake backend."""
        if len(cadences) > _MOST_AGENTS:
            raise ValueError(f"at most {_MOST_AGENTS} agents")
        self.keys = folder / "keys"
        addresses = [f"127.0.0.{_FIRST_ADDRESS + number}" for number in range(len(cadences))]
        self.port = _free_port(addresses)
        self._clock = clock
        self.of: dict[str, LocalAgent] = {
            node: LocalAgent(
                node,
                address,
                self.port,
                folder / node,
                self.keys,
                cadences[node],
                options,
                (fake or {}).get(node, {}),
            )
            for node, address in zip(cadences, addresses, strict=True)
        }

    def start(self) -> None:
        """Start all of them at once, without waiting."""
        self.keys.mkdir(parents=True, exist_ok=True)
        for agent in self.of.values():
            agent.folder.mkdir(parents=True, exist_ok=True)
            agent.start()

    def inject(self, node: str, faults: Mapping[str, Mapping[str, Any]]) -> None:
        """Add faults, by GPU (its address, ALL) and of the NODE."""
        agent = self.of[node]
        state = agent.read_faults()
        for name, added in faults.items():
            mine = state[NODE] if name == NODE else state["gpus"].setdefault(name, {})
            mine.update(added)
            begun = {each: self._clock.now_ns() / NS for each in added if each.endswith(_RATE)}
            if begun:
                mine["since"] = {**mine.get("since", {}), **begun}
        agent.write_faults(state)

    def clear(self, node: str) -> None:
        """Take all faults of a node away."""
        self.of[node].write_faults({})

    def terminate(self) -> None:
        """Ask all of them to end, without waiting."""
        for agent in self.of.values():
            if agent.process is not None:
                agent.process.terminate()

    def stop(self) -> None:
        """End all of them in a moment; their children end with them."""
        self.terminate()
        until_s = self._clock.monotonic() + _STOP_S
        for agent in self.of.values():
            agent.end(patience_s=max(0.0, until_s - self._clock.monotonic()))


def _free_port(addresses: Collection[str]) -> int:
    """A port that is free on all of these addresses now. Raises TransientError."""
    for _ in range(50):
        with contextlib.ExitStack() as bound:
            port = 0
            try:
                for address in addresses:
                    made = bound.enter_context(socket.socket())
                    made.bind((address, port))
                    port = made.getsockname()[1]
            except OSError:
                continue
            return port
    raise TransientError(
        "no port is free on all loopback addresses of the agents",
        hint="the demo needs 127.0.0.0/8 on the loopback interface, as Linux has it",
    )
