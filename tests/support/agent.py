"""An agent without checks: a runner that finds what a test says, clocks that it moves, a key."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from probes.agent.build import Made, Surroundings
from probes.agent.options import Options
from probes.agent.server import Server, listen
from probes.check import Cadence, CheckSpec, Tier
from probes.report import (
    SIGNATURE_HEADER,
    Measured,
    OutcomeName,
    Result,
    Run,
    key_id,
    signed_bytes,
)
from probes.runner.order import Order, Ran, RunStopped
from tests.support.kmsg import KernelRing

BOOT = "0123456789abcdef0123456789abcdef"
NODE = "node-a"
GPU = "0000:3b:00"
START_NS = 1_800_000_000_000_000_000
SPECS = (
    CheckSpec("driver", "Is the driver loaded?", Tier.BOOT, Cadence.BOOT, 10.0),
    CheckSpec(
        "gpu-health",
        "Are the GPUs well?",
        Tier.LIGHT,
        Cadence.LIGHT,
        10.0,
        request_options=frozenset({"a", "b"}),
    ),
    CheckSpec("pcie-bandwidth", "Is PCIe fast?", Tier.LIGHT, Cadence.HOURLY, 60.0),
    CheckSpec(
        "dcgm-3", "Do they stand stress?", Tier.INVASIVE, Cadence.INVASIVE, 600.0,
        needs_idle_gpus=True,
    ),
)  # fmt: skip


class FakeClock:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.set_by_ns = 0  # somebody has set the wall clock

    def now_ns(self) -> int:
        return START_NS + int(self.seconds * 1e9) + self.set_by_ns

    def monotonic(self) -> float:
        return self.seconds


class LogLines:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def debug(self, message: str, **more: object) -> None:
        self.lines.append(("debug", message, more))

    def info(self, message: str, **more: object) -> None:
        self.lines.append(("info", message, more))

    def warning(self, message: str, **more: object) -> None:
        self.lines.append(("warning", message, more))

    def failed(self, message: str, **more: object) -> None:
        self.lines.append(("error", message, more))

    def warnings(self) -> list[str]:
        return [message for level, message, _ in self.lines if level in ("warning", "error")]


class FakeRunner:
    """Finds ``found``, else a pass of the node, for each check; keeps the orders."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.orders: list[Order] = []
        self.found: dict[str, tuple[Result, ...]] = {}
        self.keeps: dict[str, dict[str, object]] = {}
        self.takes_s = 1.0
        self.error: Exception | None = None
        self.boot_id = BOOT
        self.gate = threading.Event()  # a run ends once it is set
        self.gate.set()
        self.began = threading.Event()
        self.stopped = False

    def run(self, order: Order) -> Ran:
        self.orders.append(order)
        self.began.set()
        began_ns = self.clock.now_ns()
        self.gate.wait(30)
        if self.stopped:
            raise RunStopped
        if self.error is not None:
            raise self.error
        self.clock.seconds += self.takes_s
        now = {"ended_ns": self.clock.now_ns()}
        results = tuple(
            result.model_copy(update=now)
            for check in order.checks
            for result in self.found.get(check, (found(check, "pass"),))
        )
        run = Run(
            run_id=order.run_id, cadence=order.cadence, reason=order.reason, boot_id=self.boot_id,
            began_ns=began_ns, ended_ns=self.clock.now_ns(), results=results,
        )  # fmt: skip
        keep = {check: self.keeps[check] for check in order.checks if check in self.keeps}
        return Ran(run, keep)

    def stop(self) -> None:
        self.stopped = True
        self.gate.set()


def found(check: str, outcome: OutcomeName, ended_ns: int = START_NS, **more: Any) -> Result:
    """A result."""
    tier = more.pop("tier", "light")
    return Result(check=check, tier=tier, outcome=outcome, ended_ns=ended_ns, **more)


def gbps(name: str, value: float) -> Measured:
    """A bandwidth."""
    return Measured(name=name, value=value, unit="GB/s")


def run_of(
    *results: Result, run_id: str = "light-1", cadence: str = "light", boot_id: str = BOOT,
    ended_ns: int = START_NS,
) -> Run:  # fmt: skip
    """A run that has ended."""
    return Run(
        run_id=run_id, cadence=cadence, boot_id=boot_id, began_ns=ended_ns, ended_ns=ended_ns,
        results=results,
    )  # fmt: skip


class Answer(NamedTuple):
    """Of an HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(self.json()["error"]["code"])


class AgentWorld:
    """A node with an agent that is made, and made again after a restart."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.clock = FakeClock()
        self.log = LogLines()
        self.runner = FakeRunner(self.clock)
        self.ring = KernelRing()
        self.stuck: list[str] = []
        self.key = Ed25519PrivateKey.generate()
        self.root = path / "root"
        self.write("proc/sys/kernel/random/boot_id", "01234567-89ab-cdef-0123-456789abcdef\n")
        self.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) 8480C\n")
        self.keys = path / "keys"
        self.keys.mkdir()
        self.allow(self.key)
        self.options = Options(
            **{
                "node": NODE, "host": "127.0.0.1", "port": 0, "state": str(path / "state"),
                "delivered": str(path / "delivered"), "keys": str(self.keys),
                "root": str(self.root), "version": "1.2.3", **options,
            }
        )  # fmt: skip
        state = Path(self.options.state)  # of an agent that has worked here before
        state.mkdir(mode=0o700, exist_ok=True)
        (state / "nonces.json").write_text("{}")
        self.specs: tuple[CheckSpec, ...] = SPECS
        self.made: Made | None = None
        self._nonce = 0

    def write(self, name: str, text: str) -> None:
        """A file of the node."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def allow(self, key: Ed25519PrivateKey, name: str = "controller.pem") -> None:
        """Publish a public key."""
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.keys / name).write_bytes(pem)

    def start(self) -> Made:
        """The parts of an agent, nothing running; the one before has ended."""
        if self.made is not None:
            self.made.state.close()
        around = Surroundings(
            runner=self.runner, clock=self.clock, log=self.log, stuck=lambda: list(self.stuck),
            open_ring=self.ring.open,
        )  # fmt: skip
        self.made = Made(self.options, self.specs, around)
        return self.made

    @contextlib.contextmanager
    def serving(self) -> Iterator[Client]:
        """Its HTTP server on loopback."""
        made = self.made or self.start()
        server = Server(made.app, listen(self.options.host, self.options.port), self.log)
        server.start()
        try:
            yield Client(self, server.port)
        finally:
            server.stop()

    def request(self, **members: Any) -> dict[str, Any]:
        """A body that may be signed: node, times and a new nonce, and what is given."""
        self._nonce += 1
        now = self.clock.now_ns()
        return {
            "node": NODE, "issued_ns": now, "expires_ns": now + 60_000_000_000,
            "nonce": f"nonce-{self._nonce:012d}", **members,
        }  # fmt: skip

    def signature(
        self, path: str, body: bytes, key: Ed25519PrivateKey | None = None
    ) -> dict[str, str]:
        """The header of a signed request."""
        key = key or self.key
        name = key_id(key.public_key().public_bytes_raw())
        signature = base64.b64encode(key.sign(signed_bytes(path, body))).decode()
        return {SIGNATURE_HEADER: f"{name}:{signature}"}

    def close(self) -> None:
        """Let go of the state directory."""
        if self.made is not None:
            self.made.state.close()
            self.made = None


class Asking:
    """Asks an agent; each request on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, raw, headers or {})

    def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())
        finally:
            connection.close()


class Client(Asking):
    """Asks the agent of a world."""

    def __init__(self, world: AgentWorld, port: int) -> None:
        super().__init__(port)
        self.world = world

    def signed(self, path: str, **members: Any) -> Answer:
        """A signed request with a new nonce."""
        raw = json.dumps(self.world.request(**members)).encode()
        return self.call("POST", path, raw, self.world.signature(path, raw))


def eventually(what: Any, seconds: float = 10.0, every_s: float = 0.02) -> None:
    """Wait until ``what()`` is true."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        pause.wait(every_s)
