"""A node that answers as Autopilot did: a real agent, whose checks find what a test says."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from probes.agent.agent import Agent
from probes.agent.build import Surroundings, build
from probes.agent.clocks import HostClock
from probes.agent.log import JsonLog
from probes.agent.options import Options
from probes.check import Cadence, CheckSpec, Tier
from probes.report import Limit, Measured, OutcomeName, Result, Run
from probes.runner.order import Order, Ran, RunStopped

BOOT = "0123456789abcdef0123456789abcdef"
ONE, TWO = "0000:3b:00", "0000:5e:00"
SPECS = (
    CheckSpec("gpu-remapped-rows", "?", Tier.LIGHT, Cadence.LIGHT, 10.0),
    CheckSpec("gpu-clocks", "?", Tier.LIGHT, Cadence.LIGHT, 10.0),
    CheckSpec("pcie-bandwidth", "?", Tier.LIGHT, Cadence.HOURLY, 60.0),
    CheckSpec("ping", "?", Tier.LIGHT, Cadence.HOURLY, 60.0),
    CheckSpec("dcgm-1", "?", Tier.LIGHT, Cadence.HOURLY, 60.0),
    CheckSpec("dcgm-3", "?", Tier.INVASIVE, Cadence.INVASIVE, 60.0, needs_idle_gpus=True),
    CheckSpec("gpu-arithmetic", "?", Tier.INVASIVE, Cadence.INVASIVE, 60.0, needs_idle_gpus=True),
)


def got(check: str, outcome: OutcomeName, device: str = "", **more: Any) -> Result:
    """A finding, which is stamped when it is found."""
    return Result(check=check, tier="light", outcome=outcome, device=device, ended_ns=1, **more)


def speed(outcome: OutcomeName, device: str, value: float) -> Result:
    """The host-to-device bandwidth of a GPU, GB/s."""
    limit = Limit(value=48, bound="at_least", source="PCIe 5 x16")
    measured = Measured(name="h2d", value=value, unit="GB/s", threshold=limit)
    return got("pcie-bandwidth", outcome, device, measurements=(measured,))


class FoundRunner:
    """Finds ``found``, else that each of two GPUs passes. A run ends while ``gate`` is set."""

    def __init__(self, clock: HostClock) -> None:
        self.clock = clock
        self.orders: list[Order] = []
        self.found: dict[str, tuple[Result, ...]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self._stopped = False

    def run(self, order: Order) -> Ran:
        self.orders.append(order)
        self.began.set()
        began_ns = self.clock.now_ns()
        self.gate.wait(30)
        if self._stopped:
            raise RunStopped
        now_ns = self.clock.now_ns()
        results = tuple(
            each.model_copy(update={"check": check, "ended_ns": now_ns})
            for check in order.checks
            for each in self.found.get(check, (got(check, "pass", ONE), got(check, "pass", TWO)))
        )
        run = Run(
            run_id=order.run_id, cadence=order.cadence, reason=order.reason, boot_id=BOOT,
            began_ns=began_ns, ended_ns=now_ns, results=results,
        )  # fmt: skip
        return Ran(run, {})

    def stop(self) -> None:
        self._stopped = True
        self.gate.set()

    def asked_for(self) -> list[tuple[str, ...]]:
        """The checks of each run that somebody asked for."""
        return [tuple(order.checks) for order in self.orders if order.cadence == "requested"]


class Answer(NamedTuple):
    """Of an HTTP request."""

    status: int
    headers: Mapping[str, str]
    text: str


class AutopilotNode:
    """An agent with Autopilot's port, which runs nothing by itself but what ``intervals`` say."""

    def __init__(self, path: Path, name: str = "gpu-1", **options: Any) -> None:
        root = path / "root"
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        (root / "proc/sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
        (root / "proc/cpuinfo").write_text("model name\t: Intel(R) Xeon(R)\n")
        self.name = name
        self.clock = HostClock()
        self.runner = FoundRunner(self.clock)
        self.log = StringIO()
        self.options = Options(
            **{
                "node": name, "host": "127.0.0.1", "port": 0, "autopilot_host": "127.0.0.1",
                "autopilot_port": 0, "state": str(path / "state"), "kmsg": "",
                "delivered": str(path / "delivered"), "keys": str(path / "keys"),
                "root": str(root), "version": "1.2.3", "intervals": {}, "compat_autopilot": True,
                "clock_skew_s": 0.0,  # a new agent would take nothing signed for so long
                **options,
            }
        )  # fmt: skip

    def agent(self) -> Agent:
        """Built, not begun."""
        log = JsonLog(self.log, self.clock, level="debug")
        around = Surroundings(runner=self.runner, clock=self.clock, log=log)
        return build(self.options, SPECS, around)

    @contextlib.contextmanager
    def running(self) -> Iterator[Asks]:
        """From its begin to its end."""
        agent = self.agent()
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        try:
            yield Asks(agent.ports[-1], agent.port)
        finally:
            self.runner.gate.set()
            agent.stop()
            thread.join(20)
            assert not thread.is_alive()

    def that(self, **options: Any) -> AutopilotNode:
        """The same with other options."""
        self.options = replace(self.options, **options)
        return self


class Asks:
    """Who asks on Autopilot's port; ``own`` is the agent's."""

    def __init__(self, port: int, own: int) -> None:
        self.port, self.own = port, own

    def get(self, path: str, port: int | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read().decode())
        finally:
            connection.close()

    def report(self) -> Any:
        """What the agent tells the controller."""
        return json.loads(self.get("/v1/report", self.own).text)
