"""A node that waits for invasive proof is tested by one Job, once its GPUs are free; in bounds."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.invasive_note import Stage
from konduktor_health.core.invasive_step import Pace
from konduktor_health.errors import ClusterForbidden, ClusterUnavailable, LeadershipLost
from konduktor_health.jobs import InvasiveJob, JobState
from konduktor_health.model import NodeView, Policy, Severity
from konduktor_health.runtime.invasive import LIST_AGAIN_S, LOOKS, Limits
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Match, Mode, Rule, Treatment
from tests.support.builders import KEYS, NOW, node, policy
from tests.support.job_world import Crash, JobScene, proving
from tests.support.ledgers import record, sick


def test_the_intent_is_noted_then_one_job_takes_all_gpus_and_its_end_is_noted() -> None:
    scene = JobScene(proving("probe:invasive", "quiet"))
    assert scene.turn() == 1
    assert (scene.stage(), scene.labelled(), scene.jobs.made) == ("testing", True, [])
    assert scene.turn() == 1
    (made,) = scene.jobs.made
    assert (made.node, made.node_uid, made.probes) == ("gpu-1", "uid-gpu-1", ("invasive",))
    assert made.gpus == {"nvidia.com/gpu": 8}
    note = scene.note()
    assert note is not None
    assert made.run_id == note.run_id
    scene.jobs.becomes("gpu-1", JobState.RUNNING)
    assert scene.turn(3600) == 0
    scene.jobs.becomes("gpu-1", JobState.DONE)
    scene.settle()
    assert (scene.stage(), scene.labelled()) == ("tested", False)
    assert len(scene.jobs.there) == 1  # kept for its log
    assert scene.tests.work.drain_counts() == {"begun": 1, "delivered": 1}


def test_once_the_proof_is_there_nothing_is_left_on_the_node() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.DONE)
    scene.settle()
    scene.put(proving("quiet", passed_ns=NOW + 1))
    scene.settle()
    assert (scene.stage(), scene.labelled(), len(scene.jobs.made)) == ("", False, 1)


def test_while_pods_hold_the_gpus_no_job_is_made_and_the_note_names_them() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.jobs.held["gpu-1"] = ("train/b-0", "train/a-0", "x/c", "y/d", "z/e")
    scene.settle()
    note = scene.note()
    assert note is not None
    assert note.stage is Stage.WAITING
    assert note.why == "GPUs busy (pods train/a-0, train/b-0, x/c and 2 more)"
    assert (scene.jobs.made, scene.labelled()) == ([], False)
    scene.jobs.held.clear()
    assert scene.turn(59) == 0
    scene.turn(2)
    assert scene.stage() == "testing"


def test_looks_at_busy_gpus_become_rarer_up_to_ten_minutes_and_since_stays() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.jobs.held["gpu-1"] = ("a/b",)
    pauses = []
    for _ in range(8):
        scene.settle()
        note = scene.note()
        assert note is not None
        pauses.append((note.until_ns - scene.clock.now_ns()) / NS)
        assert note.since_ns == NOW
        scene.clock.advance(pauses[-1] + 1)
    assert pauses == [60, 120, 240, 480, 600, 600, 600, 600]


def test_a_job_that_does_not_begin_is_given_up_and_its_gpus_are_told_never_a_fault() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.held["gpu-1"] = ("train/late",)
    scene.jobs.pod_says = "its pod does not run: Unschedulable"
    assert scene.turn(299) == 0
    scene.turn(2)
    note = scene.note()
    assert note is not None
    assert (note.stage, note.why) == (Stage.WAITING, "GPUs busy (pods train/late)")
    scene.settle()
    assert scene.jobs.there == {}
    assert not scene.labelled()


def test_a_job_that_does_not_begin_for_another_reason_says_which() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.pod_says = "its pod does not run: ImagePullBackOff"
    scene.turn(301)
    note = scene.note()
    assert note is not None
    assert note.why == "its pod does not run: ImagePullBackOff"


def test_a_job_whose_pod_runs_is_not_given_up_though_its_status_lags() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    assert scene.turn(301) == 0
    assert scene.stage() == "testing"


def test_a_job_that_fails_is_told_in_its_own_words_and_tried_again_less_often() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.jobs.last_words = "exit code 1: settings.json: No such file or directory"
    pauses = []
    for number in range(1, 9):
        scene.settle()
        assert len(scene.jobs.made) == number
        scene.jobs.becomes("gpu-1", JobState.FAILED, "BackoffLimitExceeded")
        scene.settle()
        note = scene.note()
        assert note is not None
        assert (note.stage, note.why) == (Stage.FAILED, scene.jobs.last_words)
        pauses.append((note.until_ns - scene.clock.now_ns()) / NS)
        scene.clock.advance(pauses[-1] + 1)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_failed_job_without_a_pod_says_what_kubernetes_says() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.FAILED, "DeadlineExceeded: too long")
    scene.turn()
    note = scene.note()
    assert note is not None
    assert note.why == "DeadlineExceeded: too long"


def test_a_job_that_outlives_its_deadline_is_given_up_and_deleted() -> None:
    pace = Pace()
    scene = JobScene(proving("probe:invasive"), pace=pace)
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.RUNNING)
    assert scene.turn(pace.pending_s + pace.deadline_s + pace.overdue_s - 1) == 0
    scene.turn(2)
    scene.settle()
    assert (scene.stage(), scene.jobs.there) == ("failed", {})


def test_a_job_that_somebody_deletes_is_not_made_again_at_once() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.turn()
    scene.jobs.there.clear()
    scene.turn()
    note = scene.note()
    assert note is not None
    assert (note.stage, note.why, len(scene.jobs.made)) == (Stage.FAILED, "its Job is gone", 1)


def test_a_rule_that_wants_three_passes_gets_three_jobs_soon_after_each_other() -> None:
    scene = JobScene(proving("probe:invasive"))
    for number in range(1, 4):
        scene.settle()
        assert len(scene.jobs.made) == number
        scene.jobs.becomes("gpu-1", JobState.DONE)
        scene.settle()
        scene.put(proving("probe:invasive", passed_ns=scene.clock.now_ns()))
        scene.clock.advance(121)
    note = scene.note()
    assert note is not None
    assert note.tries == 1  # each pass begins the row anew


def test_runs_that_prove_nothing_become_rarer() -> None:
    scene = JobScene(proving("probe:invasive"))
    pauses = []
    for _ in range(4):
        scene.settle()
        scene.jobs.becomes("gpu-1", JobState.DONE)
        scene.settle()
        note = scene.note()
        assert note is not None
        pauses.append((note.until_ns - scene.clock.now_ns()) / NS)
        scene.clock.advance(pauses[-1] + 1)
    assert pauses == [120, 120, 240, 480]


# ---------------------------------------------------------------- when not


@pytest.mark.parametrize(
    "missing",
    [
        ("probe:invasive", "repair"),
        ("probe:invasive", "operator"),
        ("probe:invasive", "probe:light"),
        ("probe:invasive", "observation"),
        ("quiet",),
        ("probe:light",),
        (),
    ],
    ids=",".join,
)
def test_a_test_comes_last_after_the_repair_and_all_other_proof(missing: tuple[str, ...]) -> None:
    scene = JobScene(proving(*missing))
    scene.settle()
    assert (scene.stage(), scene.jobs.lists) == ("", 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"hold": "{}"},
        {"maintenance": "{}"},
        {"unschedulable": True},
        {"ready": False},
        {"created_ns": NOW - 10 * NS},
        {"labels": (("nvidia.com/gpu-driver-upgrade-state", "pod-restart-required"),)},
    ],
    ids=str,
)
def test_a_node_that_somebody_has_in_hand_is_left_alone(fields: dict[str, Any]) -> None:
    scene = JobScene(proving("probe:invasive", **fields))
    scene.settle()
    assert (scene.stage(), scene.jobs.made) == ("", [])


def test_without_an_agent_that_is_believed_nobody_would_tell_and_nothing_is_tested() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.believed = False
    scene.settle()
    assert scene.stage() == ""
    scene.believed = True
    scene.settle()
    assert scene.stage() == "testing"


def test_a_hold_ends_a_test_that_has_not_begun_and_not_one_that_runs() -> None:
    for state, left in ((JobState.PENDING, ("", {})), (JobState.RUNNING, ("testing", None))):
        scene = JobScene(proving("probe:invasive"))
        scene.settle()
        scene.jobs.becomes("gpu-1", state)
        scene.put(proving("probe:invasive", hold="{}", labels=((KEYS.testing, "true"),)))
        scene.settle()
        assert scene.stage() == left[0]
        assert left[1] is None or scene.jobs.there == left[1]


def test_a_reset_ends_a_test_that_runs() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.RUNNING)
    scene.put(node(labels=((KEYS.testing, "true"),)))
    scene.settle()
    assert (scene.stage(), scene.labelled(), scene.jobs.there) == ("", False, {})


def test_a_fault_that_comes_back_meanwhile_does_not_end_the_test() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.RUNNING)
    scene.put(proving("probe:invasive", "repair", labels=((KEYS.testing, "true"),)))
    scene.settle()
    assert (scene.stage(), len(scene.jobs.there)) == ("testing", 1)
    scene.jobs.becomes("gpu-1", JobState.DONE)
    scene.settle()
    assert scene.stage() == ""  # the repair comes first: nothing is waited for


def test_a_node_without_gpus_to_reserve_waits_and_says_so() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.jobs.gpus["gpu-1"] = {}
    scene.settle()
    note = scene.note()
    assert note is not None
    assert (note.stage, note.why) == (Stage.WAITING, "the Node offers no GPUs to pods")


def test_gpus_that_vanish_after_the_intent_are_waited_for_within_bounds() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.turn()
    scene.jobs.gpus["gpu-1"] = {}
    assert scene.turn(60) == 0
    scene.turn(300)
    assert (scene.stage(), scene.jobs.made) == ("failed", [])


# ---------------------------------------------------------------- how much


def fleet(many: int) -> list[str]:
    return [f"gpu-{number}" for number in range(many)]


def test_no_more_are_tested_at_once_than_may_be() -> None:
    views = [proving("probe:invasive", name=name) for name in fleet(30)]
    scene = JobScene(*views, limits=Limits(most_percent=10, most=10))
    scene.settle()
    testing = [name for name in fleet(30) if scene.stage(name) == "testing"]
    assert len(testing) == len(scene.jobs.made) == 3
    scene.jobs.becomes(testing[0], JobState.DONE)
    scene.settle()
    assert len(scene.jobs.made) == 4


def test_one_node_of_a_small_fleet_may_always_be_tested_and_never_more_than_so_many() -> None:
    for nodes, most, tested in ((3, 10, 1), (20, 2, 2)):
        views = [proving("probe:invasive", name=name) for name in fleet(nodes)]
        scene = JobScene(*views, limits=Limits(most_percent=10 if most > 2 else 100, most=most))
        scene.settle()
        assert len(scene.jobs.made) == tested


def test_the_one_that_waits_longest_comes_first() -> None:
    views = [
        proving("probe:invasive", name=name, since_ns=NOW - number * NS)
        for number, name in enumerate(fleet(5))
    ]
    scene = JobScene(*views, limits=Limits(most_percent=100, most=1))
    scene.settle()
    assert [made.node for made in scene.jobs.made] == ["gpu-4"]


def test_a_look_lists_the_pods_of_a_few_nodes_only() -> None:
    views = [proving("probe:invasive", name=name) for name in fleet(50)]
    scene = JobScene(*views, limits=Limits(most_percent=100, most=1000))
    for name in fleet(50):
        scene.jobs.held[name] = ("a/b",)
    scene.turn()
    assert scene.jobs.pod_lists == LOOKS


def test_where_nothing_is_wanted_jobs_are_looked_for_every_ten_minutes_and_no_more() -> None:
    scene = JobScene(node("gpu-1"), node("gpu-2"))
    for _ in range(120):
        scene.turn(5)
    assert (scene.jobs.lists, scene.jobs.pod_lists, scene.cluster.writes) == (1, 0, [])
    scene.turn(LIST_AGAIN_S)
    assert scene.jobs.lists == 2


# ---------------------------------------------------------------- what was left behind


def left(node_name: str = "gpu-1", uid: str = "uid-gpu-1", **fields: object) -> InvasiveJob:
    return replace(InvasiveJob(f"job-{uid}", f"u-{uid}", node_name, uid, "run-0"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "job",
    [
        left(),
        left("gone", "uid-gone"),
        left(uid="uid-before"),
        left(uid="uid-before", state=JobState.DONE),
    ],
    ids=["no note", "node gone", "another Node of the name", "ended, of another Node"],
)  # fmt: skip
def test_a_job_that_nobody_wants_is_deleted(job: InvasiveJob) -> None:
    scene = JobScene(node("gpu-1"))
    scene.jobs.there[job.name] = job
    scene.settle()
    assert scene.jobs.there == {}


def test_one_that_has_ended_is_left_to_kubernetes() -> None:
    scene = JobScene(node("gpu-1"))
    for job in (left(state=JobState.DONE), left("gone", "uid-gone", state=JobState.FAILED)):
        scene.jobs.there[job.name] = job
    scene.settle()
    assert len(scene.jobs.there) == 2


def test_an_ended_job_makes_room_for_the_next_one_of_its_name() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.DONE)
    scene.settle()
    scene.clock.advance(121)
    scene.settle()
    assert len(scene.jobs.made) == 2
    assert [job.run_id for job in scene.jobs.removed] == [scene.jobs.made[0].run_id]


def test_a_name_that_is_still_taken_is_waited_for_within_bounds() -> None:
    scene = JobScene(proving("probe:invasive"))
    ending = left(ending=True, state=JobState.RUNNING)
    scene.jobs.there["x"] = ending
    assert scene.turn() == 0
    del scene.jobs.there["x"]
    scene.settle()
    assert len(scene.jobs.made) == 1


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "nonsense", '{"state":"odd"}', "\x00", "9" * 5000]
)
def test_a_note_that_makes_no_sense_is_taken_away_and_begun_anew(text: str) -> None:
    scene = JobScene(proving("probe:invasive", testing=text))
    assert scene.turn() == 1
    assert scene.cluster.nodes["gpu-1"].testing is None
    scene.settle()
    assert scene.stage() == "testing"


def test_a_label_without_a_note_goes() -> None:
    scene = JobScene(node("gpu-1", labels=((KEYS.testing, "true"),)))
    scene.settle()
    assert not scene.labelled()


# ---------------------------------------------------------------- the schedule


def test_each_healthy_node_is_tested_once_in_an_interval_and_carries_nothing_after() -> None:
    names = fleet(20)
    scene = JobScene(*map(node, names), interval_s=14_400.0)
    scene.turn()
    assert scene.jobs.made == []  # a restart tests nobody
    when: dict[str, list[float]] = {name: [] for name in names}
    most_at_once = 0
    for minute in range(480):
        scene.turn(60)
        for name in names:
            if len(when[name]) < sum(made.node == name for made in scene.jobs.made):
                when[name].append(minute)
            job = next((j for j in scene.jobs.there.values() if j.node == name), None)
            if job is not None and job.state is JobState.PENDING:
                scene.jobs.becomes(name, JobState.DONE)
        most_at_once = max(most_at_once, sum(scene.stage(name) == "testing" for name in names))
    assert {len(times) for times in when.values()} == {2}
    assert all(230 <= later - first <= 250 for first, later in when.values())
    assert most_at_once < 10
    scene.turn()
    scene.turn()
    assert all(scene.cluster.nodes[name].testing is None for name in names)


def test_a_healthy_node_whose_gpus_are_in_use_is_asked_again_later_and_nothing_is_written() -> None:
    scene = JobScene(node("gpu-1"), interval_s=600.0)
    scene.jobs.held["gpu-1"] = ("a/b",)
    scene.turn()
    for _ in range(240):
        scene.turn(5)
    assert scene.cluster.writes == []
    assert 1 <= scene.jobs.pod_lists <= 3
    scene.jobs.held.clear()
    for _ in range(130):
        scene.turn(5)
    assert len(scene.jobs.made) >= 1


def test_nodes_that_are_not_well_are_no_matter_of_the_schedule() -> None:
    views = (proving("repair"), node("gpu-2", health_label="suspect"), node("gpu-3", taints=()))
    scene = JobScene(*views, interval_s=600.0)
    for _ in range(150):
        scene.turn(5)
    assert {made.node for made in scene.jobs.made} == {"gpu-3"}


def test_a_scheduled_test_that_does_not_begin_gives_its_place_up() -> None:
    scene = JobScene(node("gpu-1"), interval_s=86_400.0)
    scene.turn()
    while not scene.jobs.made:
        scene.turn(60)
    scene.jobs.pod_says = "its pod does not run: Unschedulable"
    scene.turn(301)
    scene.settle()
    assert (scene.stage(), scene.jobs.there) == ("", {})
    assert scene.tests.work.drain_counts() == {"begun": 1, "waiting": 1}


# ---------------------------------------------------------------- by request


def test_a_healthy_node_that_somebody_asks_for_is_tested_once() -> None:
    scene = JobScene(node("gpu-1"), node("gpu-2"))
    assert scene.turn() == 0
    assert scene.tests.ask("gpu-1") == ""
    scene.settle()
    note = scene.note()
    assert note is not None
    assert (note.stage, note.purpose.value, note.probes) == (
        Stage.TESTING,
        "request",
        ("invasive",),
    )
    assert (scene.labelled(), [made.node for made in scene.jobs.made]) == (True, ["gpu-1"])
    assert scene.tests.ask("gpu-1") == "it is being tested, or waits for it"
    scene.jobs.becomes("gpu-1", JobState.DONE)
    scene.settle()
    assert (scene.stage(), scene.labelled()) == ("", False)
    assert "in the last four hours" in scene.tests.ask("gpu-1")
    scene.turn(4 * 3600 + 1)
    assert scene.tests.ask("gpu-1") == ""


def test_a_requested_test_waits_for_idle_gpus_and_is_given_up_after_an_hour() -> None:
    scene = JobScene(node("gpu-1"))
    scene.jobs.held["gpu-1"] = ("train/a-0",)
    assert scene.tests.ask("gpu-1") == ""
    for _ in range(100):
        scene.turn(5)
    assert (scene.stage(), scene.jobs.made) == ("", [])
    assert scene.jobs.pod_lists == 1  # not at each look
    scene.turn(3600)
    scene.jobs.held.clear()
    scene.settle()
    assert scene.jobs.made == []
    assert scene.tests.ask("gpu-1") == ""
    scene.settle()
    assert len(scene.jobs.made) == 1


def test_requests_are_bounded_as_all_tests_are() -> None:
    names = [f"gpu-{number}" for number in range(30)]
    scene = JobScene(*map(node, names), limits=Limits(most_percent=100, most=3))
    assert {scene.tests.ask(name) for name in names} == {""}
    for _ in range(20):
        scene.turn(5)
    assert len(scene.jobs.made) == 3


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (None, "no node of that name is managed"),
        (proving("repair"), "something is open on the node"),
        (node("gpu-1", health_label="suspect"), "something is open on the node"),
        (node("gpu-1", unschedulable=True), "somebody has cordoned the node"),
        (node("gpu-1", ready=False), "the node is not ready"),
    ],
)
def test_a_node_that_may_not_be_tested_now_says_why(view: Any, why: str) -> None:
    scene = JobScene(*([] if view is None else [view]))
    assert scene.tests.ask("gpu-1").startswith(why)
    scene.settle()
    assert scene.jobs.made == []


def test_a_node_whose_agent_is_not_heard_is_not_tested_by_request() -> None:
    scene = JobScene(node("gpu-1"))
    scene.believed = False
    assert scene.tests.ask("gpu-1") == "its agent is not heard, or not believed"


def test_a_node_that_falls_ill_meanwhile_is_left_to_clearing() -> None:
    scene = JobScene(node("gpu-1"))
    assert scene.tests.ask("gpu-1") == ""
    scene.put(proving("repair"))
    for _ in range(10):
        scene.turn(5)
    assert scene.jobs.made == []
    assert scene.jobs.lists <= 2


def test_a_requested_test_that_fails_says_nothing_of_the_node() -> None:
    scene = JobScene(node("gpu-1"))
    scene.tests.ask("gpu-1")
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.FAILED, "DeadlineExceeded")
    scene.settle()
    assert (scene.stage(), scene.labelled()) == ("", False)


def test_nodes_whose_gpus_are_in_use_keep_no_other_from_its_turn() -> None:
    names = [f"gpu-{number:02}" for number in range(60)]
    scene = JobScene(*map(node, names), pace=Pace(busy_most_s=10.0))
    scene.jobs.held = dict.fromkeys(names[:-1], ("train/a-0",))
    assert {scene.tests.ask(name) for name in names} == {""}
    for _ in range(200):
        scene.turn(5)
    assert [made.node for made in scene.jobs.made] == names[-1:]


# ---------------------------------------------------------------- rules that verify


def verifying(*names: str, mode: Mode = Mode.OBSERVE) -> Policy:
    rule = Rule("look", Match(faults=("xid/*",)), Treatment(mode, verify=names))
    return policy(rules=(rule,))


def suspect(**fields: Any) -> NodeView:
    """A node with a record that does not act."""
    one = record("xid/48", severity=Severity.DEGRADED)
    return sick(one, owned=(), taints=(), health_label="suspect", **fields)


@pytest.mark.parametrize(
    ("names", "probes"),
    [
        (("invasive",), ("invasive",)),
        (("light", "gpu-memory", "dcgm-3"), ("dcgm-3", "gpu-memory")),
    ],
)
def test_a_rule_that_verifies_by_it_has_the_node_tested_at_once(
    names: tuple[str, ...], probes: tuple[str, ...]
) -> None:
    scene = JobScene(suspect(), policy=verifying(*names))
    scene.settle()
    assert [(made.node, made.probes) for made in scene.jobs.made] == [("gpu-1", probes)]
    note = scene.note()
    assert note is not None
    assert note.purpose.value == "request"


def test_while_the_record_stays_open_it_is_tested_again_after_hours_only() -> None:
    scene = JobScene(suspect(), policy=verifying("invasive"))
    scene.settle()
    scene.jobs.becomes("gpu-1", JobState.DONE)
    for _ in range(200):
        scene.turn(60)
    assert len(scene.jobs.made) == 1
    scene.turn(4 * 3600)
    scene.settle()
    assert len(scene.jobs.made) == 2


def test_once_the_record_is_gone_nothing_is_tested_any_more() -> None:
    scene = JobScene(suspect(), policy=verifying("invasive"))
    scene.jobs.held["gpu-1"] = ("train/a-0",)
    scene.turn()
    scene.put(node("gpu-1"))
    scene.jobs.held.clear()
    for _ in range(100):
        scene.turn(60)
    assert scene.jobs.made == []


@pytest.mark.parametrize("names", [(), ("light",), ("boot", "pcie-bandwidth")])
def test_what_agents_run_themselves_needs_no_job(names: tuple[str, ...]) -> None:
    scene = JobScene(suspect(), policy=verifying(*names))
    scene.settle()
    assert (scene.jobs.made, scene.jobs.lists) == ([], 1)


def test_a_policy_that_is_taken_up_is_gone_by() -> None:
    scene = JobScene(suspect(), policy=verifying("light"))
    scene.settle()
    assert scene.jobs.made == []
    scene.tests.use(verifying("invasive"))
    scene.settle()
    assert len(scene.jobs.made) == 1


def test_a_node_that_somebody_has_cordoned_is_not_verified() -> None:
    scene = JobScene(suspect(unschedulable=True), policy=verifying("invasive"))
    for _ in range(20):
        scene.turn(5)
    assert scene.jobs.made == []
    assert scene.jobs.lists <= 3


# ---------------------------------------------------------------- trouble


def test_an_error_on_one_node_stops_no_other_and_is_counted() -> None:
    scene = JobScene(proving("probe:invasive"), proving("probe:invasive", name="gpu-2"))
    scene.turn()

    def refuse(what: str) -> None:
        scene.jobs.before = lambda _what: None
        raise ClusterForbidden("not allowed to create jobs", hint="grant it")

    scene.jobs.before = refuse
    scene.turn()
    assert [made.node for made in scene.jobs.made] == ["gpu-2"]
    assert scene.tests.work.drain_counts()["error"] == 1
    scene.turn()
    assert [made.node for made in scene.jobs.made] == ["gpu-2", "gpu-1"]


def test_jobs_that_cannot_be_listed_end_the_look_and_nothing_is_done() -> None:
    scene = JobScene(proving("probe:invasive"))

    def refuse() -> tuple[InvasiveJob, ...]:
        raise ClusterUnavailable("no answer")

    scene.jobs.jobs = refuse  # type: ignore[method-assign]
    with pytest.raises(ClusterUnavailable):
        scene.turn()
    assert scene.stage() == ""


def test_who_does_not_lead_changes_nothing() -> None:
    scene = JobScene(proving("probe:invasive"))
    scene.leading = False
    with pytest.raises(LeadershipLost):
        scene.turn()
    assert scene.stage() == ""
    scene.leading = True
    scene.turn()
    scene.leading = False
    with pytest.raises(LeadershipLost):
        scene.turn()
    assert scene.jobs.made == []


EFFECTS = 14  # more than a whole life has


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, EFFECTS))
def test_a_crash_around_any_effect_and_a_new_start_end_the_same(number: int, moment: str) -> None:
    """A life: busy, tested, one Job fails, the next delivers, the proof is there."""
    whole, interrupted = life(0, ""), life(number, moment)
    assert interrupted == whole
    assert whole == (None, False, "DONE")


def life(number: int, moment: str) -> tuple[object, bool, str]:
    scene = JobScene(proving("probe:invasive"))
    counter = itertools.count(1)
    effects = {"before": scene.jobs, "after": scene.jobs}

    def strike(_what: str) -> None:
        if next(counter) == number:
            raise Crash

    if moment:
        setattr(effects[moment], moment, strike)

        def on_edit(at: str) -> None:
            if at == moment:
                strike("edit")

        scene.on_edit = on_edit

    def settle() -> None:
        for _ in range(40):
            try:
                if not scene.tests.turn():
                    return
            except Crash:
                scene.restart()
        raise AssertionError("the steps do not come to rest")

    scene.jobs.held["gpu-1"] = ("train/a",)
    settle()
    scene.jobs.held.clear()
    scene.clock.advance(61)
    settle()
    assert len(scene.jobs.there) == 1
    scene.jobs.becomes("gpu-1", JobState.FAILED, "BackoffLimitExceeded")
    settle()
    scene.clock.advance(601)
    settle()
    (job,) = scene.jobs.there.values()
    assert job.state is JobState.PENDING
    scene.jobs.becomes("gpu-1", JobState.RUNNING)
    settle()
    scene.jobs.becomes("gpu-1", JobState.DONE)
    settle()
    assert len({made.run_id for made in scene.jobs.made}) == 2
    scene.put(proving("quiet", passed_ns=scene.clock.now_ns()))
    settle()
    return scene.note(), scene.labelled(), "".join(j.state.name for j in scene.jobs.there.values())
