"""A report is believed of the node whose pod served it, and of no other; silence says nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.adapters.probes.client import Answer
from konduktor_health.adapters.probes.collector import GONE_S, Collector
from konduktor_health.adapters.probes.memory import MOST_FAULTS
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.schedule import Pace
from konduktor_health.agents import AgentState
from konduktor_health.errors import AgentRefused, AgentUnavailable
from konduktor_health.model import Fault, NodeView, ProbeStatus, Remedy, Severity, Trust
from konduktor_health.treatment import UNRESPONSIVE
from probes.report import Report, Run
from tests.support.agents import MemoryNodes, MemoryPods, report, result, run, slow_link
from tests.support.builders import BOOT, NOW, OTHER_BOOT, node
from tests.support.memory_loki import FakeClock

GPU = "0000:3b:00"
AGENT = AgentPod("gpu-1", "probe-x", "uid-x", "10.0.0.7", 9410, ready=True)
FAILED = result("pcie-bandwidth", "fail", message="12 GB/s", measurements=(slow_link(),))


class ScriptedHttp:
    """Agents that answer what they are told to, by address."""

    def __init__(self) -> None:
        self.says: dict[str, Callable[[str], Answer]] = {}
        self.asked: list[tuple[str, str]] = []  # address, etag

    def get(
        self, address: str, port: int, path: str, *, timeout_s: float, etag: str = "", keep: bool
    ) -> Answer:
        assert (port, path) == (9410, "/v1/report")
        self.asked.append((address, etag))
        return self.says[address](etag)

    def close(self) -> None:
        """Nothing is open."""


class Scene:
    """One collector, its nodes and agents; nothing runs by itself."""

    def __init__(self, *names: str, accept_fake: bool = False, **view: Any) -> None:
        self.clock = FakeClock(NOW)
        self.http = ScriptedHttp()
        names = names or ("gpu-1",)
        self.nodes = MemoryNodes(*(node(name, **view) for name in names))
        self.pods = MemoryPods()
        self.told: list[set[str]] = []
        self.collector = Collector(
            self.pods,
            self.http,  # type: ignore[arg-type]
            self.nodes,
            clock=self.clock,
            pace=Pace(),
            closely=lambda view: view.health_label is not None,
            accept_fake=accept_fake,
            jitter=lambda: 0.5,
        )
        self.collector.on_news(lambda names: self.told.append(set(names)))
        for number, name in enumerate(names, 7):
            self.pods.put(name, replace(AGENT, node=name, address=f"10.0.0.{number}"))

    def says(
        self, said: Report | bytes | Exception, etag: str = "", address: str = "10.0.0.7"
    ) -> None:
        """What the agent at this address answers from now on."""

        def answer(known: str) -> Answer:
            if isinstance(said, Exception):
                raise said
            if etag and known == etag:
                return Answer(304, etag=etag)
            body = said if isinstance(said, bytes) else said.model_dump_json().encode()
            return Answer(200, body, etag)

        self.http.says[address] = answer

    def hear(self, *runs: Run, name: str = "gpu-1", **fields: Any) -> tuple[Fault, ...]:
        """The agent says this; the faults that it comes to."""
        self.says(report(name, *runs, **fields))
        self.collector.ask(name)
        return self.collector.faults()

    def state(self, name: str = "gpu-1") -> AgentState:
        return self.collector.standing([name])[name].state

    def change(self, name: str = "gpu-1", **fields: Any) -> NodeView:
        view = replace(self.nodes.views[name], **fields)
        self.nodes.put(view)
        return view


# ---------------------------------------------------------------- faults


def test_a_failing_result_is_a_fault_of_its_device_with_the_measurement_as_evidence() -> None:
    scene = Scene()
    (fault,) = scene.hear(run("r1", FAILED))
    assert (fault.node, fault.device, fault.fault_id) == ("gpu-1", GPU, "probe/pcie-bandwidth")
    assert (fault.severity, fault.remedy) == (Severity.DEGRADED, Remedy.INSPECT)
    assert (fault.trust, fault.injected, fault.boot_id) == (Trust.PROBE, False, BOOT)
    assert fault.event_ns == fault.time_ns == FAILED.ended_ns
    assert fault.text == "12 GB/s [h2d 12 GB/s, wanted >= 20 GB/s (H100 SXM, PCIe 5 x16)]"
    assert scene.told[-1] == {"gpu-1"}


def test_severity_and_remedy_are_the_checks_own() -> None:
    failed = result("driver", "fail", severity="fatal", remedy="reboot", device="")
    (fault,) = Scene().hear(run("r1", failed))
    assert (fault.severity, fault.remedy, fault.device) == (Severity.FATAL, Remedy.REBOOT, "")


def test_a_run_that_is_told_again_accuses_once() -> None:
    scene = Scene()
    assert len(scene.hear(run("r1", FAILED))) == 1
    assert scene.hear(run("r1", FAILED)) == ()
    assert len(scene.hear(run("r1", FAILED), run("r2", FAILED))) == 1


def test_a_restart_tells_the_same_fault_with_the_same_identity() -> None:
    before, after = Scene().hear(run("r1", FAILED)), Scene().hear(run("r1", FAILED))
    assert before[0].identity == after[0].identity


@pytest.mark.parametrize("outcome", ["pass", "warn", "skip", "timeout", "error"])
def test_only_a_failure_accuses(outcome: str) -> None:
    scene = Scene()
    scene.hear()
    assert scene.hear(run("r1", result("ping", outcome))) == ()


def test_what_had_passed_again_before_anybody_looked_is_history() -> None:
    later: dict[str, Any] = {"ended_ns": NOW}
    passed = run("r2", result("pcie-bandwidth", **later))
    assert Scene().hear(run("r1", FAILED), passed) == ()
    other_gpu = run("r2", result("pcie-bandwidth", device="0000:86:00", **later))
    assert len(Scene().hear(run("r1", FAILED), other_gpu)) == 1
    whole_node = run("r2", result("pcie-bandwidth", device="", **later))
    assert Scene().hear(run("r1", FAILED), whole_node) == ()
    again = run("r3", FAILED)
    assert len(Scene().hear(run("r1", FAILED), passed, again)) == 1


def test_a_failure_between_two_looks_is_told_though_it_has_passed_since() -> None:
    scene = Scene()
    scene.hear(run("r0", result()))
    assert len(scene.hear(run("r0", result()), run("r1", FAILED), run("r2", result()))) == 1


def test_one_half_of_a_pair_test_accuses_nobody() -> None:
    pair = run("pair-7", result("iperf3-client", "fail"), cadence="requested")
    assert Scene().hear(pair) == ()
    forged = run("pair-7", result("iperf3-client", "fail"), cadence="light")
    assert len(Scene().hear(forged)) == 1


def test_a_check_that_is_not_measured_again_and_again_is_told_and_accuses_nobody() -> None:
    scene = Scene()
    runs: list[Run] = []
    found: list[Fault] = []
    for n in range(70):
        outcome = "timeout" if n % 2 else "error"
        runs.append(run(f"r{n}", result("dcgm-1", outcome, message="no answer")))
        found += scene.hear(*runs[-10:])
        told = dict(scene.collector.standing(["gpu-1"])["gpu-1"].unmeasured)
        assert bool(told) is (n >= 5)  # the first look counts nothing
    assert [fault.fault_id for fault in found] == [UNRESPONSIVE] * 2, "once, and an hour later"
    assert found[0].severity is Severity.UNKNOWN
    assert "dcgm-1 was not measured 5 times in a row: timeout: no answer" in found[0].text
    assert scene.collector.census().unmeasured_nodes == 1
    scene.hear(run("r99", result("dcgm-1")))
    assert scene.collector.census().unmeasured_nodes == 0


def test_text_of_an_agent_is_bounded_and_cannot_move_a_terminal() -> None:
    failed = result("x", "fail", message="a\x1b[31m\u202e\n" * 60)
    (fault,) = Scene().hear(run("r1", failed))
    assert len(fault.text) <= 512
    assert fault.text.isprintable()


# ---------------------------------------------------------------- who is believed


def test_a_report_that_names_another_node_changes_nothing_there_or_here() -> None:
    scene = Scene("gpu-1", "gpu-2")
    scene.says(report("gpu-2", run("r1", FAILED)))
    scene.collector.ask("gpu-1")
    assert scene.collector.faults() == ()
    assert scene.state() is AgentState.WRONG_NODE
    assert scene.state("gpu-2") is AgentState.NEW
    assert scene.collector.census().answers == {"wrong-node": 1}


@pytest.mark.parametrize("boot_id", [OTHER_BOOT, ""])
def test_a_report_of_another_boot_is_of_no_use(boot_id: str) -> None:
    scene = Scene(health_label="faulty")
    assert scene.hear(run("r1", FAILED), boot_id=boot_id) == ()
    assert scene.state() is AgentState.WRONG_BOOT
    assert scene.collector.results(["gpu-1"]) == {}


def test_a_node_that_reports_no_boot_matches_none() -> None:
    scene = Scene(boot_id="")
    scene.hear(run("r1", FAILED), boot_id="")
    assert scene.state() is AgentState.WRONG_BOOT


@pytest.mark.parametrize("fake", [{"fake": True}, {"backend": "fake"}])
def test_a_fake_backend_is_refused_unless_the_wiring_accepts_it(fake: dict[str, Any]) -> None:
    scene = Scene(health_label="faulty")
    assert scene.hear(run("r1", FAILED), **fake) == ()
    assert scene.state() is AgentState.FAKE
    sandbox = Scene(accept_fake=True, health_label="faulty")
    made_up = result("a", "pass", fake=True)
    assert len(sandbox.hear(run("r1", FAILED, made_up), **fake)) == 1
    assert not any(each.fake for each in sandbox.collector.results(["gpu-1"])["gpu-1"])


def test_a_fake_result_in_an_honest_report_neither_accuses_nor_proves() -> None:
    scene = Scene(health_label="faulty")
    made_up = (result("a", "fail", fake=True), result("b", "pass", fake=True))
    assert scene.hear(run("r1", *made_up)) == ()
    assert all(each.fake for each in scene.collector.results(["gpu-1"])["gpu-1"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"node": "gpu-1"}',
        b"\xff\xfe",
        b"[" * 100_000,
        report("gpu-1", run("r1", result())).model_dump_json().encode()[:-2],
        report("gpu-1", run("r1", result()))
        .model_dump_json()
        .replace('"pass"', '"great"')
        .encode(),
        report("gpu-1", run("r1", result(ended_ns=NOW + 3600 * 10**9))).model_dump_json().encode(),
    ],
)
def test_garbage_is_no_report_and_proves_nothing(body: bytes) -> None:
    scene = Scene(health_label="faulty")
    scene.says(body)
    scene.collector.ask("gpu-1")
    assert scene.state() is AgentState.GARBLED
    assert (scene.collector.faults(), scene.collector.results(["gpu-1"])) == ((), {})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_pass_with_a_number_that_is_none_is_an_error(value: str) -> None:
    scene = Scene(health_label="faulty")
    text = report("gpu-1", run("r1", result(measurements=(slow_link(25.0),)))).model_dump_json()
    scene.says(text.replace('"value":25.0', f'"value":{value}').encode())
    scene.collector.ask("gpu-1")
    for each in scene.collector.results(["gpu-1"]).get("gpu-1", ()):
        assert each.status is ProbeStatus.ERROR


def test_unchanged_without_a_question_is_no_answer() -> None:
    scene = Scene()
    scene.http.says["10.0.0.7"] = lambda _etag: Answer(304)
    scene.collector.ask("gpu-1")
    assert scene.state() is AgentState.GARBLED


def test_a_report_of_a_pod_that_was_replaced_meanwhile_is_dropped() -> None:
    scene = Scene()

    def replaced(_etag: str) -> Answer:
        scene.pods.put("gpu-1", replace(AGENT, uid="uid-y", address="10.0.0.9"))
        return Answer(200, report("gpu-1", run("r1", FAILED)).model_dump_json().encode())

    scene.http.says["10.0.0.7"] = replaced
    scene.collector.ask("gpu-1")
    assert scene.collector.faults() == ()


def test_the_node_that_rebooted_while_its_agent_was_asked_is_judged_as_it_is_now() -> None:
    scene = Scene()

    def late(_etag: str) -> Answer:
        scene.change(boot_id=OTHER_BOOT)
        return Answer(200, report("gpu-1", run("r1", FAILED)).model_dump_json().encode())

    scene.http.says["10.0.0.7"] = late
    scene.collector.ask("gpu-1")
    assert (scene.collector.faults(), scene.state()) == ((), AgentState.WRONG_BOOT)


def test_a_node_that_has_booted_while_its_agent_was_away_is_asked_often() -> None:
    scene = Scene()
    scene.pods.put("gpu-1", None)
    scene.change(boot_id=OTHER_BOOT)
    scene.pods.put("gpu-1", AGENT)
    scene.clock.advance(30)
    scene.collector.find_due()
    scene.hear(run("r1", result()), boot_id=OTHER_BOOT)
    assert scene.state() is AgentState.OK
    assert scene.collector.find_due() - scene.clock.monotonic() < 35


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (AgentUnavailable("no answer within the time-out"), AgentState.SILENT),
        (AgentRefused("the agent refused (403)", status=403), AgentState.REFUSING),
    ],
)
def test_no_answer_is_no_evidence(error: Exception, state: AgentState) -> None:
    scene = Scene(health_label="faulty")
    scene.hear(run("r1", result()))
    kept = scene.collector.results(["gpu-1"])
    scene.says(error)
    for _ in range(20):
        scene.collector.ask("gpu-1")
    assert (scene.collector.faults(), scene.state()) == ((), state)
    assert scene.collector.results(["gpu-1"]) == kept
    assert scene.collector.agents() == frozenset({"gpu-1"}), "its node needs no less proof for it"


def test_an_agent_that_measures_nothing_new_is_stale_and_accuses_nobody() -> None:
    scene = Scene()
    scene.hear(run("r1", result()))
    scene.clock.advance(899)
    scene.collector.ask("gpu-1")
    assert scene.state() is AgentState.OK
    scene.clock.advance(2)
    scene.collector.ask("gpu-1")
    assert (scene.state(), scene.collector.faults()) == (AgentState.STALE, ())
    scene.hear(run("r2", result()))
    assert scene.state() is AgentState.OK


def test_a_wall_clock_that_is_set_makes_no_agent_stale() -> None:
    scene = Scene()
    scene.hear(run("r1", result()))
    scene.clock.wall_ns += 10**6 * 10**9
    assert scene.state() is AgentState.OK


def test_an_agent_is_one_until_its_pod_is_away_for_long() -> None:
    scene = Scene()
    scene.pods.put("gpu-1", None)
    assert scene.collector.agents() == frozenset({"gpu-1"})
    scene.clock.advance(GONE_S - 1)
    scene.collector.find_due()
    assert scene.collector.agents() == frozenset({"gpu-1"})
    scene.told.clear()
    scene.clock.advance(2)
    scene.collector.find_due()
    assert (scene.collector.agents(), scene.told) == (frozenset(), [{"gpu-1"}])


def test_a_replica_that_begins_to_lead_asks_the_ill_at_once_and_the_others_not_all_together() -> (
    None
):
    scene = Scene("gpu-1", "gpu-2", "gpu-3")
    scene.change("gpu-2", health_label="faulty")
    scene.clock.advance(3600)  # it stood by for so long
    stop = threading.Event()
    stop.set()  # nobody works: what is due is counted by hand
    scene.collector.start(stop)
    assert scene.collector._schedule.take(scene.clock.monotonic()) == ["gpu-2"]
    scene.clock.advance(Pace().close_s)
    assert set(scene.collector._schedule.take(scene.clock.monotonic())) == {"gpu-1", "gpu-3"}


def test_until_the_pods_are_listed_nobody_knows_who_has_an_agent() -> None:
    scene = Scene()
    scene.pods.known = False
    assert scene.collector.agents() is None


# ---------------------------------------------------------------- proof


def test_results_are_kept_of_nodes_that_are_watched_closely_alone() -> None:
    scene = Scene()
    scene.hear(run("r1", result()))
    assert scene.collector.results(["gpu-1"]) == {}
    scene.change(health_label="faulty")
    scene.hear(run("r1", result(), result("ping", "skip", device="")))
    found = scene.collector.results(["gpu-1", "gpu-2"])
    assert list(found) == ["gpu-1"]
    told = [(each.check, each.status, each.device, each.run_id) for each in found["gpu-1"]]
    assert told == [
        ("pcie-bandwidth", ProbeStatus.PASS, GPU, "r1"),
        ("ping", ProbeStatus.SKIP, "", "r1"),
    ]


def test_a_node_that_becomes_ill_is_asked_at_once_for_all_that_its_agent_has() -> None:
    scene = Scene()
    scene.says(report("gpu-1", run("r1", result())), etag='"7"')
    scene.collector.ask("gpu-1")
    scene.change(health_label="faulty")
    assert scene.collector.find_due() > scene.clock.monotonic()
    scene.collector.ask("gpu-1")
    assert scene.http.asked[-1] == ("10.0.0.7", "")
    assert len(scene.collector.results(["gpu-1"])["gpu-1"]) == 1


def test_an_unchanged_report_is_not_read_again() -> None:
    scene = Scene()
    scene.says(report("gpu-1", run("r1", FAILED)), etag='"7"')
    for _ in range(3):
        scene.collector.ask("gpu-1")
    assert [etag for _, etag in scene.http.asked] == ["", '"7"', '"7"']
    assert len(scene.collector.faults()) == 1
    assert scene.collector.census().answers == {"ok": 1, "unchanged": 2}
    assert scene.state() is AgentState.OK


def test_a_few_checks_that_somebody_asked_for_are_no_run_of_their_tier() -> None:
    scene = Scene(health_label="faulty")
    few = run("x-1", result(), cadence="requested")
    whole = run("tier-light-77", result(ended_ns=NOW), cadence="requested")
    scene.hear(few, whole)
    tiers = [each.tier for each in scene.collector.results(["gpu-1"])["gpu-1"]]
    assert tiers == ["", "light"]


def test_of_many_runs_the_newest_are_kept_whole() -> None:
    scene = Scene(health_label="faulty")
    runs = [
        run(f"r{n}", *(result(f"c{i}", ended_ns=NOW - (50 - n) * 10**9) for i in range(300)))
        for n in range(10)
    ]
    scene.hear(*runs)
    kept = scene.collector.results(["gpu-1"])["gpu-1"]
    assert {each.run_id for each in kept} == {"r7", "r8", "r9"}
    assert len(kept) == 900
    assert [each.time_ns for each in kept] == sorted(each.time_ns for each in kept)


def test_a_node_that_is_gone_leaves_nothing() -> None:
    scene = Scene(health_label="faulty")
    scene.hear(run("r1", FAILED))
    old = scene.nodes.views.pop("gpu-1")
    scene.collector._node_changed(old, None)
    assert scene.collector.results(["gpu-1"]) == {}
    assert scene.collector.census().states == {}
    scene.collector.ask("gpu-1")
    assert scene.collector.faults() == ()


def test_managed_nodes_without_an_agent_are_counted() -> None:
    scene = Scene("gpu-1", "gpu-2")
    scene.pods.put("gpu-2", None)
    scene.hear(run("r1", result()))
    assert scene.collector.census().states == {AgentState.OK: 1, AgentState.MISSING: 1}


# ---------------------------------------------------------------- DCGM


def diagnosed(outcome: str, run_id: str, **fields: Any) -> Run:
    return run(run_id, result("dcgm-1", outcome), cadence="hourly", **fields)


def test_what_dcgm_came_to_is_known_of_healthy_nodes_and_told_when_it_changes() -> None:
    scene = Scene()
    told: list[str] = []
    scene.collector.on_diagnosis(told.append)
    scene.hear(run("l1", result("gpu-count", "pass")))
    assert scene.collector.diagnoses(["gpu-1"]) == {}
    scene.hear(diagnosed("pass", "h1"))
    [known] = scene.collector.diagnoses(["gpu-1", "gpu-9"])["gpu-1"]
    assert (known.level, known.passed) == (1, True)
    scene.hear(diagnosed("pass", "h1"), run("l2", result("gpu-count", "pass")))
    assert told == ["gpu-1"]
    scene.hear(diagnosed("fail", "h2"))
    assert told == ["gpu-1", "gpu-1"]
    assert not scene.collector.diagnoses(["gpu-1"])["gpu-1"][0].passed
    scene.pods.put("gpu-1", None)
    assert scene.collector.diagnoses(["gpu-1"]) == {}


def test_what_a_node_says_of_dcgm_that_is_not_believed_is_not_known() -> None:
    scene = Scene()
    scene.hear(diagnosed("pass", "h1"), fake=True, backend="fake")
    scene.hear(diagnosed("pass", "h1"), boot_id=OTHER_BOOT)
    assert scene.collector.diagnoses(["gpu-1"]) == {}


def test_a_node_that_becomes_ill_while_its_agent_says_unchanged_is_read_again() -> None:
    scene = Scene()
    scene.says(report("gpu-1", run("r1", result())), etag='"7"')
    scene.collector.ask("gpu-1")
    says = scene.http.says["10.0.0.7"]

    def meanwhile(etag: str) -> Answer:
        scene.change(health_label="faulty")
        return says(etag)

    scene.http.says["10.0.0.7"] = meanwhile
    scene.collector.ask("gpu-1")
    assert scene.state() is AgentState.OK
    scene.http.says["10.0.0.7"] = says
    scene.collector.ask("gpu-1")
    assert scene.http.asked[-1] == ("10.0.0.7", "")
    assert len(scene.collector.results(["gpu-1"])["gpu-1"]) == 1


def test_a_result_of_the_future_is_no_report() -> None:
    scene = Scene()
    ahead = Run(
        run_id="r1", cadence="light", began_ns=NOW, ended_ns=NOW,
        results=(result(outcome="fail", ended_ns=NOW + 3600 * 10**9),),
    )  # fmt: skip
    assert scene.hear(ahead) == ()
    assert scene.state() is AgentState.GARBLED


def test_one_agent_cannot_crowd_out_what_others_have_found() -> None:
    scene = Scene()
    many = [result(f"check-{n}", "fail") for n in range(MOST_FAULTS + 50)]
    found = scene.hear(run("r1", *many))
    assert len(found) == MOST_FAULTS
    assert found[-1].fault_id == f"probe/{many[-1].check}"
