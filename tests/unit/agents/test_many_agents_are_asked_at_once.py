"""Jobs of agents: within bounds of number and time, whatever the agents do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from konduktor_health.adapters.probes.asked import Looked
from konduktor_health.adapters.probes.pair_runs import Job, PairRuns, Said, Step
from konduktor_health.clock import SystemClock
from konduktor_health.errors import AgentRefused, AgentUnavailable, LeadershipLost
from probes.report import RunAccepted
from tests.support.agents import result


def _tells_at_once(_node: str, _looks: int) -> Looked | Exception:
    return Looked((result("ping"),))


@dataclass
class Agents:
    """What agents do with requests (``orders``) and what they tell (``asked``)."""

    refuse: Callable[[str], Exception | None] = lambda _node: None
    tells: Callable[[str, int], Looked | Exception] = _tells_at_once
    requests: list[tuple[str, str, Mapping[str, str], str]] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    etags: list[str] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, node: str, *, checks: Sequence[str] = (), options: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> RunAccepted:  # fmt: skip
        if (error := self.refuse(node)) is not None:
            raise error
        with self.lock:
            self.requests.append((node, checks[0], dict(options or {}), request_id))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        return RunAccepted(run_id=request_id)

    def look(self, node: str, run_id: str, etag: str = "") -> Looked:
        with self.lock:
            self.looks[node] = self.looks.get(node, 0) + 1
            self.etags.append(etag)
        said = self.tells(node, self.looks[node])
        if isinstance(said, Exception):
            raise said
        if said.results is not None:
            with self.lock:
                self.under_way -= 1
        return said

    def of(self, *nodes: str, at_once: int = 4, stop: threading.Event | None = None) -> list[Said]:
        runs = PairRuns(self, self, SystemClock(), workers=4, look_s=0.02)
        jobs = [Job((Step(name, "ping", {"peer": "b"}),), 0.0, 0.4) for name in nodes]
        said = runs.run(jobs, at_once=at_once, stop=stop or threading.Event())
        self.counts = dict(runs.counts)
        return said


def test_each_job_gets_its_own_answer_and_no_more_are_under_way_than_may_be() -> None:
    agents = Agents(tells=lambda node, looks: Looked((result(node),) if looks > 2 else None, "e"))
    names = [f"n{number}" for number in range(20)]
    said = agents.of(*names, at_once=3)
    assert [each.results[0].check for each in said] == names
    assert agents.most <= 3
    assert agents.counts == {"accepted": 20}
    assert agents.etags.count("e") == 40, "unchanged is asked for by what was told last"


def test_options_are_those_of_the_check_and_runs_are_known_as_pair_tests() -> None:
    agents = Agents()
    agents.of("a", "b")
    ids = {request_id for *_, request_id in agents.requests}
    assert [(node, check, options) for node, check, options, _ in sorted(agents.requests)] == [
        (name, "ping", {"ping.peer": "b"}) for name in ("a", "b")
    ]
    assert len(ids) == 2
    assert all(each.startswith("pair-") for each in ids), "their failures accuse nobody"


def test_who_refuses_or_is_not_reached_was_not_measured_and_says_why() -> None:
    errors: dict[str, Exception] = {
        "busy": AgentRefused("the agent refused (409): gpus_busy", status=409),
        "away": AgentUnavailable("no connection within the time-out"),
        "odd": ValueError("no name"),
    }
    agents = Agents(refuse=errors.get)
    said = agents.of("busy", "fine", "away", "odd")
    assert [bool(each.results) for each in said] == [False, True, False, False]
    assert "gpus_busy" in said[0].why
    assert "no connection" in said[2].why
    assert agents.counts == {"accepted": 1, "refused": 1, "failed": 2}


def test_who_does_not_tell_in_time_was_not_measured() -> None:
    agents = Agents(
        tells=lambda node, _: Looked(None) if node == "slow" else AgentUnavailable("gone silent")
    )
    slow, silent = agents.of("slow", "silent")
    assert slow == Said(why="slow: it did not tell within the time")
    assert silent == Said(why="silent: gone silent")


def test_an_agent_that_is_silent_for_a_moment_is_asked_again() -> None:
    agents = Agents(
        tells=lambda _, looks: AgentUnavailable("x") if looks < 3 else Looked((result("ping"),))
    )
    (said,) = agents.of("a")
    assert said.results


def test_the_second_of_two_is_not_asked_where_the_first_refuses() -> None:
    agents = Agents(refuse=lambda n: AgentUnavailable("away") if n == "server" else None)
    runs = PairRuns(agents, agents, SystemClock(), look_s=0.02)
    steps = (Step("server", "iperf3-server", {}), Step("client", "iperf3-client", {}))
    (said,) = runs.run([Job(steps, 0.0, 0.4)], at_once=1, stop=threading.Event())
    assert "server was not asked" in said.why
    assert agents.requests == []


def test_one_that_leads_no_more_asks_nobody_further() -> None:
    agents = Agents(refuse=lambda _: LeadershipLost("another one leads"))
    with pytest.raises(LeadershipLost):
        agents.of("a", "b", "c", "d", "e")


def test_it_ends_at_once_when_it_is_to_stop() -> None:
    stop = threading.Event()

    def told(_node: str, _looks: int) -> Looked:
        stop.set()
        return Looked(None)

    said = Agents(tells=told).of(*(f"n{number}" for number in range(50)), stop=stop)
    assert {each.why for each in said} <= {"stopped", ""}
    assert len(said) == 50
