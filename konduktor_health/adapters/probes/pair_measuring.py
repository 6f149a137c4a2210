"""How do two nodes measure what lies between them? Signed requests to their agents, and what these
tell (``adapters.pair_results``).

- ``ping``: the client pings all addresses of the server.
- ``bandwidth``: pings first; pairs that answer well are measured with iperf3, and those that are
  slow once more, alone.
- ``nccl``: an all-reduce that the client starts. The partner's GPUs have to be idle, as far as its
  report tells.

Invariants:
- Addresses are those of the agents' pods (Multus tells those beside the pod's own). Where one of
  the two pods was replaced meanwhile, nothing was measured: its address is nobody's.
- What an agent refuses, cannot do or does not tell in time says nothing of the pair.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from konduktor_health.adapters.pair_results import (
    both,
    ping_outcome,
    rate_outcome,
    rates,
    usual,
)
from konduktor_health.adapters.probes.asked import AskedRuns
from konduktor_health.adapters.probes.nccl_results import nccl_outcome
from konduktor_health.adapters.probes.pair_runs import Job, PairRuns, Said, Step
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.core.pair_tests import Kind, PairOutcome, PairResult, PairTest
from konduktor_health.errors import HealthError
from parsers.printable import printable

#: An agent that has just begun with its hourly checks comes to it after some minutes.
PING_S, BANDWIDTH_S, NCCL_S = 240.0, 300.0, 1500.0
PING_TAKES_S = 4.5  # 20 packets, 0.2 s apart
_SERVER_WAITS_S = 45  # for its client; agents do one thing after the other
_CLIENT_WAITS_S = 30  # for the server to listen
_MOST_TEXT = 500  # characters of an option (``probes.report.Text``)
_MOST_ADDRESSES = 2  # on an interface: one of each family


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """How iperf3 measures."""

    seconds: int = 5
    streams: int = 1
    gbps: float = 0.0  # asked for; 0: half of what the others reach


@dataclass(slots=True)
class PairMeasuring:
    """Pair tests. Called by one thread at a time. ``gpus``: of a node, as far as is known;
    ``takes_s``: how long agents ping, before which nobody looks."""

    runs: PairRuns
    asked: AskedRuns
    agent_of: Callable[[str], AgentPod | None]
    gpus: Callable[[str], int] = lambda _node: 0
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    takes_s: float = PING_TAKES_S
    _usual: dict[str, float] = field(default_factory=dict)  # Gb/s of the last round, by interface

    def counted(self) -> Mapping[str, int]:
        """Requests that were sent, by what came of them; only grows."""
        return dict(self.runs.counts)

    def measure(
        self, kind: Kind, tests: Sequence[PairTest], *, at_once: int, stop: threading.Event
    ) -> list[PairResult]:
        """A result for each test on each of its interfaces. Raises LeadershipLost."""
        pods = {name: self.agent_of(name) for each in tests for name in (each.client, each.server)}
        if kind is Kind.PING:
            found = self._ping(tests, pods, at_once, stop)
        elif kind is Kind.BANDWIDTH:
            found = self._bandwidth(tests, pods, at_once, stop)
        else:
            found = self._nccl(tests, pods, at_once, stop)
        moved = {name for name, pod in pods.items() if pod is None or self.agent_of(name) != pod}
        return [
            _not_measured(each, "an agent's pod was replaced meanwhile")
            if each.outcome.bad and {each.client, each.server} & moved
            else each
            for each in found
        ]

    # ------------------------------------------------------------ ping

    def _ping(
        self,
        tests: Sequence[PairTest],
        pods: Mapping[str, AgentPod | None],
        at_once: int,
        stop: threading.Event,
    ) -> list[PairResult]:
        jobs = [ping_job(test, pods[test.server], self.takes_s) for test in tests]
        said = self.runs.run(jobs, at_once=at_once, stop=stop)
        return [
            _told(ping_outcome(test, name, its.results), its)
            for test, its in zip(tests, said, strict=True)
            for name in test.interfaces
        ]

    # ------------------------------------------------------------ bandwidth

    def _bandwidth(
        self,
        tests: Sequence[PairTest],
        pods: Mapping[str, AgentPod | None],
        at_once: int,
        stop: threading.Event,
    ) -> list[PairResult]:
        pinged = {_key(each): each for each in self._ping(tests, pods, max(at_once, 16), stop)}
        rated: dict[tuple[str, str, str], Said] = {}
        todo = [
            (test, name)
            for test in tests
            for name in test.interfaces
            if pinged[test.client, test.server, name].outcome is PairOutcome.OK
        ]
        # A node is in one test, but on several interfaces: these one after the other.
        for turn in range(max((len(each.interfaces) for each in tests), default=0)):
            now = [(t, name) for t, name in todo if t.interfaces.index(name) == turn]
            rated |= self._rates(now, pods, at_once, stop)
        if any(not each.follow_up for each in tests):
            measured = [rates(t, name, rated[t.client, t.server, name].results) for t, name in todo]
            self._usual = usual(each for each in measured if each is not None)
        slow = [
            (t, name) for t, name in todo if self._rated(t, name, rated).outcome is PairOutcome.SLOW
        ]
        for each in slow:  # once more, alone
            again = self._rates([each], pods, 1, stop)
            rated |= {key: said for key, said in again.items() if said.results}
        return [
            both(ping, self._rated(test, name, rated))
            if (ping := pinged[test.client, test.server, name]).outcome is PairOutcome.OK
            else ping
            for test in tests
            for name in test.interfaces
        ]

    def _rated(
        self, test: PairTest, interface: str, rated: Mapping[tuple[str, str, str], Said]
    ) -> PairResult:
        said = rated[test.client, test.server, interface]
        return _told(rate_outcome(test, interface, said.results, self._usual), said)

    def _rates(
        self,
        todo: Sequence[tuple[PairTest, str]],
        pods: Mapping[str, AgentPod | None],
        at_once: int,
        stop: threading.Event,
    ) -> dict[tuple[str, str, str], Said]:
        jobs = [
            _iperf3_job(test, name, pods[test.client], pods[test.server], self.bandwidth)
            for test, name in todo
        ]
        said = self.runs.run(jobs, at_once=at_once, stop=stop)
        return {
            (test.client, test.server, name): its
            for (test, name), its in zip(todo, said, strict=True)
        }

    # ------------------------------------------------------------ NCCL

    def _nccl(
        self,
        tests: Sequence[PairTest],
        pods: Mapping[str, AgentPod | None],
        at_once: int,
        stop: threading.Event,
    ) -> list[PairResult]:
        why = {test: self._why_not(test) for test in tests}
        idle = [test for test in tests if not why[test]]
        jobs = [_nccl_job(test, pods[test.server], self.gpus(test.server)) for test in idle]
        said = dict(zip(idle, self.runs.run(jobs, at_once=at_once, stop=stop), strict=True))
        found = []
        for test in tests:
            pod, its = pods[test.server], said.get(test, Said(why=why[test]))
            address = pod.address if pod else ""
            found += [
                _told(nccl_outcome(test, name, address, its.results), its)
                for name in test.interfaces
            ]
        return found

    def _why_not(self, test: PairTest) -> str:
        """Why the partner must not be disturbed; the client's agent looks after its own GPUs."""
        try:
            busy = self.asked.busy(test.server)
        except HealthError as error:
            return f"whether its GPUs are idle is not known: {error}"
        return f"something runs on {test.server}: {', '.join(busy[:8])}" if busy else ""


def ping_job(test: PairTest, server: AgentPod | None, takes_s: float) -> Job:
    """The client pings the server's addresses on the interfaces of the test. ``takes_s``: before
    it nobody looks for what came of it."""
    text = ""
    for name, addresses in server.interfaces if server else ():
        for address in addresses[:_MOST_ADDRESSES] if name in test.interfaces else ():
            more = f"{text} {name}={address}".strip()
            text = more if len(more) <= _MOST_TEXT else text
    step = Step(test.client, "ping", {"peer": test.server, "addresses": text})
    return Job((step,), takes_s, PING_S)


def _iperf3_job(
    test: PairTest,
    interface: str,
    client: AgentPod | None,
    server: AgentPod | None,
    wanted: Bandwidth,
) -> Job:
    address, bind = _facing(_addresses(server, interface), _addresses(client, interface))
    common = {"address": address, "seconds": str(wanted.seconds)}
    asked = {**common, "peer": test.server, "interface": interface, "bind": bind}
    asked |= {"wait": str(_CLIENT_WAITS_S), "parallel": str(wanted.streams)}
    if wanted.gbps:
        asked["bandwidth"] = f"{wanted.gbps:g}"
    steps = (
        Step(test.server, "iperf3-server", {**common, "wait": str(_SERVER_WAITS_S)}),
        Step(test.client, "iperf3-client", {name: each for name, each in asked.items() if each}),
    )
    return Job(steps, wanted.seconds + 1.0, BANDWIDTH_S)


def _nccl_job(test: PairTest, server: AgentPod | None, gpus: int) -> Job:
    options = {"peer": server.address if server else ""}
    if gpus:
        options["peer-gpus"] = str(gpus)
    return Job((Step(test.client, "nccl-pair", options),), 20.0, NCCL_S)


def _addresses(pod: AgentPod | None, interface: str) -> tuple[str, ...]:
    return dict(pod.interfaces).get(interface, ()) if pod else ()


def _facing(there: Sequence[str], here: Sequence[str]) -> tuple[str, str]:
    """The server's address, and an own one of the same family to send from; "" where there is
    none."""
    for address in there:
        for own in here:
            if _family(address) == _family(own):
                return address, own
    return (there[0] if there else ""), ""


def _family(address: str) -> int:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 0


def _key(result: PairResult) -> tuple[str, str, str]:
    return (result.client, result.server, result.interface)


def _told(result: PairResult, said: Said) -> PairResult:
    """With the reason why there are no results at all."""
    return _not_measured(result, said.why) if said.why else result


def _not_measured(result: PairResult, why: str) -> PairResult:
    return PairResult(
        result.client,
        result.server,
        result.interface,
        PairOutcome.NOT_MEASURED,
        printable(why, 200),
    )
