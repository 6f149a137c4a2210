"""Agents on loopback that measure a network in memory: their own code, but for ping and iperf3.

Each is the real agent (API, signatures, queue, report) with the real checks; what the programs say
is made up from a ``PairWorld``.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from konduktor_health.adapters.probes.asked import AskedRuns
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.keys import Key, published, rotated
from konduktor_health.adapters.probes.orders import AgentOrders
from konduktor_health.adapters.probes.pair_measuring import Bandwidth, PairMeasuring
from konduktor_health.adapters.probes.pair_runs import PairRuns
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import SystemClock
from konduktor_health.core.pair_tests import Kind, PairOutcome, PairTest
from konduktor_health.core.rounds import RoundOptions
from konduktor_health.model import Policy
from konduktor_health.runtime.pair_course import Course
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.pair_members import Takers
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.timestamps import NS
from probes.agent.build import Made, Surroundings
from probes.agent.log import JsonLog
from probes.agent.options import Options
from probes.agent.server import Server, listen
from probes.backends.none import NoBackend
from probes.check import Check, Context, ToolOutput
from probes.checks.iperf3_client import Iperf3Client
from probes.checks.iperf3_server import Iperf3Server
from probes.checks.ping import Ping
from probes.errors import BackendError, CheckError, Skipped
from probes.report import Result, Run, signed_bytes
from probes.runner import findings
from probes.runner.order import Order, Ran, options_of
from probes.runner.results import Stamp
from tests.support.agents import MemoryNodes, MemoryPods
from tests.support.builders import BOOT, node
from tests.support.network_checks import said
from tests.support.pair_world import LEAF, PairWorld

INTERFACES = {"eth0": True, "net1": True}
_PINGED = """PING {0} ({0}) 56(84) bytes of data.

--- {0} ping statistics ---
20 packets transmitted, {1} received, {2}% packet loss, time 3804ms
"""
_RECEIVED = {PairOutcome.OK: 20, PairOutcome.LOSSY: 12, PairOutcome.SLOW: 20}


class HastyClock:
    """The host's, but that seconds pass faster: what limits the rate of requests is no subject."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic() * 100


class NetTool:
    """What ping and iperf3 say on one node (``probes.check.Tool``)."""

    def __init__(self, world: PairWorld, name: str, node_at: Mapping[str, str]) -> None:
        self._world, self._name, self._node_at = world, name, node_at

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        if arguments[0] == "ping":
            return self._ping(arguments[-1])
        if "-s" in arguments:
            return said("iperf3/server-bidir.json")
        address = arguments[arguments.index("-c") + 1]
        if self._outcome(address) is PairOutcome.SLOW:
            return said("iperf3/client-slow-bidir.json")
        return said("iperf3/client-bidir.json")

    def _ping(self, address: str) -> ToolOutput:
        received = _RECEIVED.get(self._outcome(address), 0)
        text = _PINGED.format(address, received, 100 - 5 * received)
        if received:
            text += "rtt min/avg/max/mdev = 0.021/0.039/0.058/0.009 ms\n"
        return ToolOutput(0 if received else 1, text, "")

    def _outcome(self, address: str) -> PairOutcome:
        return self._world.outcome(PairTest(self._name, self._node_at[address], ("eth0",)))


class CheckRunner:
    """Runs the checks in this process. ``gate``: a run ends once it is set."""

    def __init__(self, tool: NetTool, boot_id: str = BOOT) -> None:
        self._tool, self._boot_id = tool, boot_id
        self._checks: dict[str, Check] = {
            check.spec.name: check
            for check in (
                Ping(lambda: {"eth0": True, "net1": True}),
                Iperf3Server(),
                Iperf3Client(),
            )
        }
        self.specs = tuple(check.spec for check in self._checks.values())
        self.orders: list[Order] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, order: Order) -> Ran:
        self.orders.append(order)
        self.gate.wait(30)
        began_ns = time.time_ns()
        results = [result for check in order.checks for result in self._results(check, order)]
        run = Run(
            run_id=order.run_id, cadence=order.cadence, reason=order.reason, boot_id=self._boot_id,
            began_ns=began_ns, ended_ns=time.time_ns(), results=tuple(results),
        )  # fmt: skip
        return Ran(run, {})

    def stop(self) -> None:
        self.gate.set()

    def _results(self, name: str, order: Order) -> list[Result]:
        check = self._checks[name]
        context = Context(
            backend=NoBackend(BackendError("no GPUs here")), tool=self._tool, node=order.node,
            options=options_of(name, order.options),
        )  # fmt: skip
        stamp = Stamp(check.spec, "none", False, time.time_ns(), 0.0)
        try:
            return [stamp.result(findings.told(each)) for each in check.run(context)]
        except Skipped as reason:
            return [stamp.of("skip", str(reason))]
        except CheckError as error:
            return [stamp.of("error", str(error))]


class PairAgent:
    """The agent of one node. ``silent``: nobody listens at its address."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        name: str,
        tool: NetTool,
        keys: Path,
        *,
        silent: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        boot_id: str = BOOT,
    ) -> None:
        self.runner = CheckRunner(tool, boot_id)
        root = folder / "root"
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        (root / "proc/sys/kernel/random/boot_id").write_text(boot_id)
        options = Options(
            node=name, host="127.0.0.1", port=0, state=str(folder / "state"),
            delivered=str(folder / "delivered"), keys=str(keys), root=str(root), kmsg="",
            intervals={}, boot_checks=False, clock_skew_s=0.0,
        )  # fmt: skip
        clock = HastyClock()
        log = JsonLog(io.StringIO(), clock)
        self.made = Made(options, self.runner.specs, Surroundings(self.runner, clock, log))
        bound = listen(host, port)
        self.port = int(bound.getsockname()[1])
        if silent:
            bound.close()
            stack.callback(self.made.state.close)
            return
        server = Server(self.made.app, bound, log)
        server.start()
        worker = threading.Thread(target=self.made.worker.run, daemon=True)
        worker.start()
        stack.callback(self.made.state.close)
        stack.callback(worker.join, 10)
        stack.callback(self.made.worker.stop)
        stack.callback(server.stop)


class CountingHttp(AgentHttp):
    """Counts requests."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), may_ask=lambda _address: True)
        self.gets, self.posts = 0, 0

    def get(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        self.gets += 1
        return super().get(*args, **kwargs)  # type: ignore[arg-type]

    def post(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        self.posts += 1
        return super().post(*args, **kwargs)  # type: ignore[arg-type]


class AgentFleet:
    """Nodes with agents, and the rounds of a controller over HTTP."""

    def __init__(self, stack: ExitStack, folder: Path, world: PairWorld) -> None:
        self.world = world
        keys = rotated((), time.time_ns(), rotate_s=0)
        mounted = folder / "keys"
        mounted.mkdir()
        for name, pem in published(keys).items():
            (mounted / name).write_text(pem)
        self.key: Key = keys[0]
        self.address = {name: f"10.9.0.{n}" for n, name in enumerate(world.leaf_of, 1)}
        node_at = {address: name for name, address in self.address.items()}
        self.agents = {
            name: PairAgent(
                stack, folder / name, name, NetTool(world, name, node_at), mounted,
                silent=name in world.silent,
            )
            for name in world.leaf_of
        }  # fmt: skip
        self.nodes = MemoryNodes(
            *(node(name, labels=((LEAF, leaf),)) for name, leaf in world.leaf_of.items())
        )
        self.pods = MemoryPods({name: self.pod(name) for name in world.leaf_of})

    def pod(self, name: str) -> AgentPod:
        """Where the agent of a node is."""
        return AgentPod(
            name, f"probe-{name}", f"pod-{name}", "127.0.0.1", self.agents[name].port,
            interfaces=(("eth0", (self.address[name],)),),
        )  # fmt: skip

    def measuring(self, **changes: object) -> tuple[PairMeasuring, CountingHttp]:
        """How a controller has pairs measured."""
        clock, http = SystemClock(), CountingHttp()
        orders = AgentOrders(
            self.pods.of, http,
            lambda endpoint, body: self.key.signature(signed_bytes(endpoint, body)),
            clock, timeout_s=3.0,
        )  # fmt: skip
        asked = AskedRuns(self.pods.of, http, self.nodes.nodes, clock, timeout_s=3.0)
        runs = PairRuns(orders, asked, clock, look_s=0.05)
        made = PairMeasuring(
            runs, asked, self.pods.of, bandwidth=Bandwidth(seconds=1), takes_s=0.02
        )
        return replace(made, **changes), http  # type: ignore[arg-type]

    def rounds(
        self, *kinds: Kind, confirm_s: float = 0.2, **changes: object
    ) -> tuple[Rounds, CountingHttp]:
        """A controller begins."""
        clock = SystemClock()
        measuring, http = self.measuring(**changes)
        takers = Takers(self.nodes.nodes, self.pods.of, Policy(domains=(LEAF,)), clock)
        options = RoundOptions(seed=7, interval_ns=3600 * NS, window_ns=5400 * NS)
        courses = [
            Course(kind, options, clock, at_once=8, confirm_s=confirm_s)
            for kind in kinds or (Kind.PING,)
        ]
        return Rounds(measuring, takers, courses, PairFindings(clock), clock), http


def settle(rounds: Rounds, stop: threading.Event, *, quiet_s: float = 0.6) -> int:
    """Turns until nothing was due for so long; how many pairs were measured."""
    count, since_s = 0, time.monotonic()
    while time.monotonic() - since_s < quiet_s:
        if measured := rounds.turn(stop):
            count, since_s = count + measured, time.monotonic()
        else:
            stop.wait(0.05)
    return count
