"""What comes through between all pairs of some nodes? Autopilot's ring of iperf3, and its grid.

Two signed requests for each pair: the receiver's agent serves one client and ends, the sender's
agent sends. Invariants: one ring at a time; each request and each wait has a deadline; a pair that
was not measured is ``N/A`` with its reason, and never a number; nobody is accused of anything.
"""

from __future__ import annotations

import ipaddress
import math
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import ValidationError

from konduktor_health.adapters.autopilot.choice import Chosen
from konduktor_health.adapters.autopilot.query import Query
from konduktor_health.adapters.autopilot.words import plain
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.pair_runs import Orders
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.reading import PAIR
from konduktor_health.clock import Clock
from konduktor_health.core.throughput_ring import steps, waves
from konduktor_health.errors import AgentUnavailable, HealthError
from probes.report import Report, Result

MOST_NODES = 64
THREADS = 32
SECONDS = 5
_SERVER_WAITS_S, _CLIENT_WAITS_S = 45, 30
_DEADLINE_S = 120.0
_LOOK_S = 1.0
_OWN = "eth0"  # the pod network: Autopilot leaves it alone where there are others
_WIDE = 40
_MOST_REASONS = 50
_MOST_IDLE = 64  # servers that are waited for: the newest, since all end by themselves in time


@dataclass(frozen=True, slots=True)
class _Rate:
    sender: str
    receiver: str
    gbps: float | None  # None: not measured
    why: str = ""


class Throughput:
    """Rings. Thread-safe; one runs at a time."""

    def __init__(
        self,
        orders: Orders,
        http: AgentHttp,
        clock: Clock,
        *,
        timeout_s: float,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        """``wait``: between two looks for a result, seconds."""
        self._orders, self._http, self._clock = orders, http, clock
        self._timeout_s = timeout_s
        self._wait = wait or (lambda seconds: clock.wait(threading.Event(), seconds))
        self._running = threading.Lock()
        self._idle: list[tuple[AgentPod, str]] = []  # servers whose client told nothing, their runs

    def __call__(self, query: Query, chosen: Chosen) -> Iterator[str]:
        """The answer to /iperf, piece by piece."""
        pods = {name: pod for name, pod in chosen.nodes if pod is not None}
        if len(pods) < 2:
            yield _line("ERROR", "a ring needs two nodes with an agent. ABORT")
            return
        if len(pods) > MOST_NODES:
            what = f"{len(pods)} nodes are {len(pods) * (len(pods) - 1)} pairs: at most"
            yield _line("ERROR", f"{what} {MOST_NODES}, by host, job or nodelabel. ABORT")
            return
        if not self._running.acquire(blocking=False):
            yield _line("ERROR", "another ring runs. ABORT")
            return
        self._idle = []
        try:
            yield from self._ring(query, pods)
            if query.cleanup:
                yield from self._until_all_ended()
        finally:
            self._running.release()

    def _until_all_ended(self) -> Iterator[str]:
        """``cleanup``: a server ends with its client, or by itself where none has come; that is
        waited for."""
        idle = self._idle[-_MOST_IDLE:]
        left = []
        with ThreadPoolExecutor(THREADS) as pool:
            looks = [(agent, pool.submit(self._results, agent, run)) for agent, run in idle]
            for agent, look in looks:
                try:
                    look.result()
                except HealthError as error:
                    left.append(f"{agent.node}: {plain(str(error))}")
        yield from (_line("ERROR", f"a server may be left on {each}") for each in left)
        if not left:
            yield _line("INFO", "no iperf3 servers are left")

    def _ring(self, query: Query, pods: Mapping[str, AgentPod]) -> Iterator[str]:
        means: dict[str, float] = {}
        for interface in _interfaces(pods):
            names = [name for name, pod in pods.items() if dict(pod.interfaces).get(interface)]
            rates: list[_Rate] = []
            for number, step in enumerate(steps(names), 1):
                yield _line("INFO", f"{interface}: step {number} of {len(names) - 1}")
                for wave in waves(step):
                    rates += self._wave([(pods[a], pods[b]) for a, b in wave], interface, query)
            yield from _grid(interface, names, pods, rates)
            measured = [each.gbps for each in rates if each.gbps is not None]
            if measured:
                means[interface] = sum(measured) / len(measured)
        if not means:
            yield _line("ERROR", "no pair could be measured. ABORT")
            return
        yield "Overall Network Interface Average Bandwidth:\n"
        yield from (f"{name} Average Bandwidth Gb/s: {mean:.2f}\n" for name, mean in means.items())

    def _wave(
        self, pairs: Sequence[tuple[AgentPod, AgentPod]], interface: str, query: Query
    ) -> list[_Rate]:
        """What comes through between these pairs, measured at once."""
        with ThreadPoolExecutor(min(len(pairs), THREADS)) as pool:
            made = [pool.submit(self._pair, *pair, interface, query) for pair in pairs]
            return [each.result() for each in made]

    def _pair(self, sender: AgentPod, receiver: AgentPod, interface: str, query: Query) -> _Rate:
        """What one node gets through to another."""
        there, here = dict(receiver.interfaces)[interface], dict(sender.interfaces)[interface]
        address, bind = facing(there, here)
        run_id, served = PAIR + secrets.token_hex(8), PAIR + secrets.token_hex(8)
        common = {"address": address, "port": str(query.port), "seconds": str(SECONDS)}
        serves = {**common, "wait": str(_SERVER_WAITS_S)}
        sends = {**common, "wait": str(_CLIENT_WAITS_S), "direction": "send", "bind": bind}
        sends |= {"parallel": str(query.clients), "peer": receiver.node, "interface": interface}
        try:
            self._ask(receiver.node, "iperf3-server", serves, served)
        except HealthError as error:
            return _Rate(sender.node, receiver.node, None, str(error))
        try:
            self._ask(sender.node, "iperf3-client", sends, run_id)
            rate = _rate(sender.node, receiver.node, self._results(sender, run_id))
        except HealthError as error:
            rate = _Rate(sender.node, receiver.node, None, str(error))
        if rate.gbps is None:
            self._idle.append((receiver, served))
        return rate

    def _ask(self, node: str, check: str, options: Mapping[str, str], run_id: str) -> None:
        told = {f"{check}.{name}": value for name, value in options.items() if value}
        self._orders.run(node, checks=(check,), options=told, request_id=run_id)

    def _results(self, agent: AgentPod, run_id: str) -> Sequence[Result]:
        """What the run found, once it has ended. Raises AgentUnavailable: not in time."""
        end_s = self._clock.monotonic() + _DEADLINE_S
        etag = ""
        while self._clock.monotonic() < end_s:
            self._wait(_LOOK_S)
            answer = self._http.get(
                agent.address,
                agent.port,
                "/v1/report",
                timeout_s=self._timeout_s,
                etag=etag,
                keep=False,
            )
            etag = answer.etag
            if answer.status == 304:
                continue
            try:
                report = Report.model_validate_json(answer.body)
            except ValidationError as error:
                raise AgentUnavailable("its report is none") from error
            for run in report.runs:
                if run.run_id == run_id:
                    return run.results
        raise AgentUnavailable(f"not measured within {_DEADLINE_S:g} s")


def facing(there: Sequence[str], here: Sequence[str]) -> tuple[str, str]:
    """The receiver's address and one of the same family to send from, "" where there is none."""
    for address in there:
        for own in here:
            if _family(address) == _family(own):
                return address, own
    return there[0], ""


def _family(address: str) -> int:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 0


def _rate(sender: str, receiver: str, results: Sequence[Result]) -> _Rate:
    for each in results:
        if each.check != "iperf3-client":
            continue
        if each.fake or each.outcome not in ("pass", "warn"):
            return _Rate(sender, receiver, None, f"{each.outcome}: {each.message}")
        for measured in each.measurements:
            is_rate = measured.name == "send" and measured.unit == "Gb/s"
            if is_rate and math.isfinite(measured.value) and measured.value >= 0:
                return _Rate(sender, receiver, measured.value)
        return _Rate(sender, receiver, None, each.message)
    return _Rate(sender, receiver, None, "the run tells nothing of it")


def _interfaces(pods: Mapping[str, AgentPod]) -> list[str]:
    """Those that two nodes have: all but the pod network's, or that where there is no other."""
    found: dict[str, int] = {}
    for pod in pods.values():
        for name, addresses in pod.interfaces:
            if addresses:
                found[name] = found.get(name, 0) + 1
    shared = [name for name, many in found.items() if many > 1]
    return [name for name in shared if name != _OWN] or shared


def _grid(
    interface: str, names: Sequence[str], pods: Mapping[str, AgentPod], rates: Sequence[_Rate]
) -> Iterator[str]:
    known = {(each.sender, each.receiver): each for each in rates}
    titles = {name: f"{pods[name].name}_on_{name}" for name in names}
    yield f"Network Throughput {interface}:\n"
    yield _row("src/dst", [titles[name] for name in names])
    for sender in names:
        cells = [
            f"{rate.gbps:.2f}"
            if (rate := known.get((sender, receiver))) is not None and rate.gbps is not None
            else "N/A"
            for receiver in names
        ]
        yield _row(titles[sender], cells)
    yield "\n"
    untold = [each for each in rates if each.gbps is None]
    for each in untold[:_MOST_REASONS]:
        yield _line("ERROR", f"{each.sender} to {each.receiver}: {plain(each.why)}")
    if len(untold) > _MOST_REASONS:
        yield _line("ERROR", f"and {len(untold) - _MOST_REASONS} more pairs")


def _row(first: str, cells: Sequence[str]) -> str:
    return "".join(f"{each:<{_WIDE}}" for each in (first, *cells)).rstrip() + "\n"


def _line(level: str, text: str) -> str:
    return f"[NETWORK] - [IPERF] - [{level}] : {text}\n"
