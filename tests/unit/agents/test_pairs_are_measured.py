"""What agents are asked for, of which addresses, and what is made of what they tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from konduktor_health.adapters.probes.pair_measuring import Bandwidth, PairMeasuring
from konduktor_health.adapters.probes.pair_runs import Job, Said
from konduktor_health.core.pair_tests import Kind, PairOutcome, PairTest
from konduktor_health.errors import AgentUnavailable
from probes.report import Measured, Result
from tests.support.agents import result
from tests.support.rounds import pod_of

STOP = threading.Event()
BOTH = ("eth0", "net1")


def pod(name: str, number: int, *more: tuple[str, tuple[str, ...]]):  # type: ignore[no-untyped-def]
    return pod_of(name, number, interfaces=(("eth0", (f"10.0.0.{number}",)), *more))


PODS = {
    "a": pod("a", 1, ("net1", ("10.1.0.1", "fd00::1"))),
    "b": pod("b", 2, ("net1", ("fd00::2",))),
    "c": pod("c", 3), "d": pod("d", 4), "e": pod("e", 5), "f": pod("f", 6),
    "g": pod("g", 7), "h": pod("h", 8), "i": pod("i", 9), "j": pod("j", 10),
}  # fmt: skip


def answers(*peers: str, device: str = "eth0") -> Result:
    detail = {f"peer.{n}": each for n, each in enumerate(peers, 1)}
    return result("ping", "pass", device=device, detail=detail)


def rate(peer: str, gbps: float, said: str = "ok", device: str = "eth0") -> Result:
    measured = tuple(Measured(name=n, value=gbps, unit="Gb/s") for n in ("send", "receive"))
    return result(
        "iperf3-client", "pass", device=device, measurements=measured,
        detail={"peer": peer, "result": said},
    )  # fmt: skip


@dataclass
class Runs:
    """Answers jobs as the test says; ``waves``: what was asked for at once."""

    tells: Callable[[Job], Said]
    waves: list[tuple[list[Job], int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    busy_on: tuple[str, ...] = ()

    def run(self, jobs: Sequence[Job], *, at_once: int, stop: threading.Event) -> list[Said]:
        if jobs:
            self.waves.append((list(jobs), at_once))
        return [self.tells(job) for job in jobs]

    def busy(self, node: str) -> tuple[str, ...]:
        if node == "away":
            raise AgentUnavailable("no connection")
        return ("0000:3b:00",) if node in self.busy_on else ()


def measuring(runs: Runs, **more: object) -> PairMeasuring:
    return PairMeasuring(runs, runs, PODS.get, **more)  # type: ignore[arg-type]


def pings_well(job: Job) -> Said:
    options = job.steps[-1].options
    peer = options["peer"]
    if job.steps[-1].check == "ping":
        pairs = [pair.partition("=") for pair in options["addresses"].split()]
        return Said(
            tuple(answers(f"{peer} {address} loss=0", device=name) for name, _, address in pairs)
        )
    return Said((rate(peer, 90.0, device=options["interface"]),))


def test_a_ping_names_all_addresses_of_the_server_on_the_interfaces_of_the_test() -> None:
    runs = Runs(pings_well)
    found = measuring(runs).measure(Kind.PING, [PairTest("b", "a", BOTH)], at_once=5, stop=STOP)
    ((job,), at_once), *rest = runs.waves
    (step,) = job.steps
    assert (step.node, step.check, at_once, rest) == ("b", "ping", 5, [])
    assert step.options == {
        "peer": "a", "addresses": "eth0=10.0.0.1 net1=10.1.0.1 net1=fd00::1",
    }  # fmt: skip
    assert [(each.interface, each.outcome) for each in found] == [
        ("eth0", PairOutcome.OK), ("net1", PairOutcome.OK),
    ]  # fmt: skip


def test_what_was_not_measured_says_why() -> None:
    runs = Runs(lambda _job: Said(why="a was not asked: it is away"))
    (found,) = measuring(runs).measure(
        Kind.PING, [PairTest("a", "b", ("eth0",))], at_once=1, stop=STOP
    )
    assert (found.outcome, found.text) == (
        PairOutcome.NOT_MEASURED, "a was not asked: it is away",
    )  # fmt: skip


def test_each_interface_is_loaded_by_itself_between_addresses_of_one_family() -> None:
    runs = Runs(pings_well)
    measuring(runs, bandwidth=Bandwidth(7, 4, 50.0)).measure(
        Kind.BANDWIDTH, [PairTest("a", "b", BOTH), PairTest("c", "d", ("eth0",))], at_once=2,
        stop=STOP,
    )  # fmt: skip
    _, (first, _), (second, _) = runs.waves
    assert [job.steps[1].options["interface"] for job in first] == ["eth0", "eth0"]
    (job,) = second
    server, client = job.steps
    assert (server.node, client.node) == ("b", "a")
    assert server.options["address"] == client.options["address"] == "fd00::2"
    assert client.options["bind"] == "fd00::1"
    assert client.options["bandwidth"] == "50"
    assert (client.options["seconds"], client.options["parallel"]) == ("7", "4")


def test_a_pair_far_below_the_others_is_measured_once_more_alone() -> None:
    slow_once = {"count": 0}

    def tells(job: Job) -> Said:
        options = job.steps[-1].options
        if job.steps[-1].check == "iperf3-client" and options["peer"] == "b":
            slow_once["count"] += 1
            return Said((rate("b", 10.0 if slow_once["count"] == 1 else 88.0),))
        return pings_well(job)

    runs = Runs(tells)
    tests = [PairTest(c, s, ("eth0",)) for c, s in ("ab", "cd", "ef", "gh", "ij")]
    found = measuring(runs).measure(Kind.BANDWIDTH, tests, at_once=5, stop=STOP)
    assert {each.outcome for each in found} == {PairOutcome.OK}
    (last,), at_once = runs.waves[-1]
    assert (last.steps[-1].node, at_once) == ("a", 1)


def test_a_pair_that_stays_slow_is_slow_and_follow_ups_are_judged_by_the_round() -> None:
    def tells(job: Job) -> Said:
        options = job.steps[-1].options
        if job.steps[-1].check == "iperf3-client" and "b" in (options["peer"], job.steps[-1].node):
            return Said((rate(options["peer"], 10.0),))
        return pings_well(job)

    made = measuring(Runs(tells))
    tests = [PairTest(c, s, ("eth0",)) for c, s in ("ab", "cd", "ef", "gh", "ij")]
    found = made.measure(Kind.BANDWIDTH, tests, at_once=5, stop=STOP)
    assert [each.outcome for each in found] == [PairOutcome.SLOW] + [PairOutcome.OK] * 4
    follow = PairTest("c", "b", ("eth0",), follow_up=True)
    (again,) = made.measure(Kind.BANDWIDTH, [follow], at_once=5, stop=STOP)
    assert (again.outcome, again.text) == (PairOutcome.SLOW, "10 Gb/s, usual are 90")


def test_an_all_reduce_disturbs_nobody_who_is_busy() -> None:
    runs = Runs(lambda _job: Said(()), busy_on=("b",))
    tests = [PairTest("a", "b", ("nccl",)), PairTest("c", "d", ("nccl",))]
    made = measuring(runs, gpus=lambda _node: 8)
    busy, idle = made.measure(Kind.NCCL, tests, at_once=1, stop=STOP)
    assert (busy.outcome, busy.text) == (
        PairOutcome.NOT_MEASURED, "something runs on b: 0000:3b:00",
    )  # fmt: skip
    assert idle.outcome is PairOutcome.NOT_MEASURED
    ((job,), _) = runs.waves[0]
    (step,) = job.steps
    assert (step.node, step.check) == ("c", "nccl-pair")
    assert step.options == {"peer": PODS["d"].address, "peer-gpus": "8"}


def test_whoever_cannot_say_whether_it_is_busy_is_left_alone() -> None:
    runs = Runs(lambda _job: Said(()))
    (found,) = measuring(runs).measure(
        Kind.NCCL, [PairTest("a", "away", ("nccl",))], at_once=1, stop=STOP
    )
    assert "not known" in found.text
    assert runs.waves == []
