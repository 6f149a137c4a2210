"""The answer of the controller's port: which nodes, in which words. Each file in ``golden`` was
written from a section of what is known of Autopilot 2.1, which its name begins with."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.autopilot.agents import AGAIN_S, LIGHT, AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice
from konduktor_health.adapters.autopilot.fan_out import FanOut
from konduktor_health.adapters.autopilot.query import CHECKS, PERIODIC, QueryError, parsed
from konduktor_health.adapters.autopilot.words import repeated, statuses
from konduktor_health.adapters.probes.client import Answer
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.errors import AgentRefused, AgentUnavailable, ClusterForbidden, HealthError
from konduktor_health.model import NodeView
from probes.autopilot import asking, names
from probes.registry import CHECKS as OURS
from tests.support.builders import node
from tests.support.memory_loki import FakeClock

GOLDEN = Path(__file__).parent / "golden"
HEAD = "Checking system status of host {} (localhost) \n\n"
BEGUN = "[[ PCIEBW ]] Briefings completed. Continue with PCIe Bandwidth evaluation.\n"
SLOW = BEGUN + "[[ PCIEBW ]] FAIL\nHost  gpu-1\n12.3 3.3\n"
FAST = BEGUN + "SUCCESS\nHost  gpu-2\n12.1 12.0\n"


class Site:
    """Nodes with agents that say what a test says, and pods of jobs."""

    def __init__(self, *views: NodeView, without: tuple[str, ...] = ()) -> None:
        self.clock = FakeClock(1)
        self.views = {view.name: view for view in views}
        self.agents = {
            view.name: AgentPod(view.name, f"p-{n}", f"u-{n}", f"10.0.0.{n}", 9410)
            for n, view in enumerate(views, 1)
            if view.name not in without
        }
        self.texts: dict[str, str | HealthError] = {}
        self.pods: dict[tuple[str, str], list[str]] = {}
        self.forbidden = False
        self.order: list[str] = []
        self.asked: list[str] = []
        self.ran: list[tuple[str, tuple[str, ...], str]] = []
        self.refuses: HealthError | None = None
        self.takes_s = 0.0
        self._lock = threading.Lock()

    # what is asked

    def get(self, *args: Any, **_: Any) -> Any:
        if len(args) == 2:  # the API server
            return self._pods(*args)
        address, _port, path = args
        with self._lock:
            self.order.append("get")
            self.asked.append(f"{address}{path}")
            self.clock.advance(self.takes_s)
        name = next(each.node for each in self.agents.values() if each.address == address)
        text = self.texts.get(name, "")
        if isinstance(text, HealthError):
            raise text
        return Answer(200, text.encode())

    def run(self, name: str, *, checks: Any = (), request_id: str = "") -> None:
        with self._lock:
            self.order.append("run")
            self.ran.append((name, tuple(checks), request_id))
        if self.refuses is not None:
            raise self.refuses

    def _pods(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        if self.forbidden:
            raise ClusterForbidden("list pods: forbidden")
        found = self.pods.get((path.split("/")[4], params["labelSelector"]), [])
        page = int(params.get("continue", "0"))
        more = {"continue": str(page + 1)} if page + 1 < len(found) else {}
        items = [{"spec": {"nodeName": each}} for each in found[page : page + 1]]
        return {"items": items, "metadata": more}

    # who answers

    def fan_out(self, *, starts: bool = False, **more: Any) -> FanOut:
        http: Any = self
        choice = Choice(lambda: self.views, lambda: frozenset(self.agents), self.agents.get, http)
        asked = AskedAgents(
            self if starts else None, http, self.clock, port=3333, timeout_s=10.0,
            agent_of=self.agents.get,
        )  # fmt: skip
        return FanOut(choice, asked, self.clock, **more)

    def status(self, parameters: Mapping[str, str] | None = None, *, starts: bool = False) -> str:
        return "".join(self.fan_out(starts=starts).status(parsed(parameters or {})))


@pytest.fixture
def site() -> Site:
    views = [node(f"gpu-{n}", labels=(("rack", str(n % 2)),)) for n in range(1, 5)]
    return Site(*views, without=("gpu-4",))


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


def test_two_nodes_are_told_as_autopilots_client_does(site: Site) -> None:
    site.texts = {"gpu-1": HEAD.format("gpu-1") + SLOW, "gpu-2": HEAD.format("gpu-2") + FAST}
    del site.agents["gpu-3"]
    site.takes_s = 1.25
    assert site.status({"check": "pciebw"}) == golden("2.8-two-nodes")


def test_an_agent_that_does_not_answer_is_told(site: Site) -> None:
    site.texts["gpu-1"] = AgentUnavailable("no connection within the time-out")
    assert site.status({"host": "gpu-1"}) == golden("2.8-server-gone")


def test_a_named_host_without_an_agent_is_told(site: Site) -> None:
    assert site.status({"host": "gpu-9", "check": "dcgm"}) == golden("2.8-no-agent")


def test_the_nodes_of_a_job(site: Site) -> None:
    site.pods["default", "job-name=train"] = ["gpu-2", "cpu-7", "gpu-4", "gpu-2"]
    site.texts["gpu-2"] = "[PING] all nodes reachable. success\n"
    assert site.status({"job": "default:job-name=train", "check": "ping"}) == golden("2.8-job")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("2.8-no-job", {"job": "default:job-name=gone"}),
        ("2.8-no-label", {"nodelabel": "rack=9"}),
        ("2.8-wrong-job", {"job": "default:"}),
    ],
)
def test_what_selects_nobody_says_so(site: Site, name: str, parameters: dict[str, str]) -> None:
    assert site.status(parameters) == golden(name)
    assert site.asked == []


def test_a_pvc_needs_a_storage_class(site: Site) -> None:
    assert site.status({"host": "gpu-1", "check": "pvc"}) == golden("2.4-pvc-without-a-class")
    assert site.asked == []


def test_a_pvc_is_the_controllers(site: Site) -> None:
    site.texts["gpu-1"] = "[[ DCGM ]] SUCCESS\n"
    fan_out = site.fan_out(claims=lambda name: f"[PVC Create-Delete] PVC SUCCESS for {name}")
    text = "".join(fan_out.status(parsed({"host": "gpu-1", "check": "pvc,dcgm"})))
    assert (
        "[[ DCGM ]] SUCCESS\n\n[PVC Create-Delete] PVC SUCCESS for gpu-1\nNode Status: OK" in text
    )
    assert site.asked == ["10.0.0.1/status?host=gpu-1&check=dcgm&r=1"]


def test_invasive_tests_are_wanted_and_each_node_says_what_becomes_of_it(site: Site) -> None:
    whys = {"gpu-1": "", "gpu-2": "somebody has cordoned the node"}
    none = "no node of that name is managed"
    fan_out = site.fan_out(test=lambda name: whys.get(name, none))
    query = parsed({"host": "gpu-1,gpu-2,gpu-9"}, named=True)
    assert "".join(fan_out.invasive(query)) == golden("2.2-invasive")
    assert (site.asked, site.ran) == ([], [])


def test_invasive_tests_are_of_nodes_that_are_named() -> None:
    with pytest.raises(QueryError, match="Name the nodes"):
        parsed({}, named=True)
    assert parsed({"host": "all"}, named=True).hosts is None


def test_nodes_that_are_named_are_not_pinged_where_nothing_may_be_begun(site: Site) -> None:
    text = site.status({"host": "gpu-1", "check": "ping", "pingnodes": "gpu-2"})
    assert "nothing is begun from here (autopilot.start is off). ABORT\n" in text
    assert site.asked == []


def nodes_of(text: str) -> list[str]:
    return [line[6:] for line in text.splitlines() if line.startswith("Node: ")]


@pytest.mark.parametrize(
    ("parameters", "nodes"),
    [
        ({}, ["gpu-1", "gpu-2", "gpu-3"]),
        ({"host": "all"}, ["gpu-1", "gpu-2", "gpu-3"]),
        ({"host": "gpu-2"}, ["gpu-2"]),
        ({"host": "gpu-3, gpu-1"}, ["gpu-3", "gpu-1"]),
        ({"nodelabel": "rack=1"}, ["gpu-1", "gpu-3"]),
        ({"job": "ns:a=b"}, ["gpu-3"]),
        ({"host": "gpu-2", "nodelabel": "rack=1"}, ["gpu-2", "gpu-1", "gpu-3"]),
        ({"host": "gpu-2", "job": "ns:a=b"}, ["gpu-2", "gpu-3"]),
        ({"host": "gpu-2", "job": "ns:a=b", "nodelabel": "rack=0"}, ["gpu-2", "gpu-3"]),
        ({"job": "None", "nodelabel": "None"}, ["gpu-1", "gpu-2", "gpu-3"]),
    ],
)
def test_host_job_and_label_are_a_union(
    site: Site, parameters: dict[str, str], nodes: list[str]
) -> None:
    site.pods["ns", "a=b"] = ["gpu-3"]
    assert nodes_of(site.status(parameters)) == nodes


def test_pods_that_may_not_be_listed_are_an_abort(site: Site) -> None:
    site.forbidden = True
    text = site.status({"job": "ns:a=b"})
    assert "Exception when calling CoreV1Api->list_namespaced_pod" in text
    assert "ABORT" in text


def test_batches_are_asked_one_after_the_other(site: Site) -> None:
    pieces = site.fan_out().status(parsed({"batch": "1"}))
    seen = []
    for piece in pieces:
        if piece.startswith("\nAutopilot Endpoint"):
            seen.append(len(site.asked))
    assert seen == [1, 2, 3]


def test_whoever_hangs_up_ends_the_asking(site: Site) -> None:
    pieces = site.fan_out().status(parsed({"batch": "1"}))
    for piece in pieces:
        if piece.startswith("\nAutopilot Endpoint"):
            break
    assert isinstance(pieces, Generator)
    pieces.close()
    assert len(site.asked) == 1


# ---------------------------------------------------------------- what is begun


def test_by_itself_nothing_is_begun(site: Site) -> None:
    site.status({"host": "gpu-1"})
    assert site.ran == []
    assert site.asked == ["10.0.0.1/status?host=gpu-1"]


def test_light_checks_are_begun_and_waited_for(site: Site) -> None:
    site.status({"host": "gpu-1"}, starts=True)
    [(name, checks, run_id)] = site.ran
    assert name == "gpu-1"
    assert set(checks) == {LIGHT[each] for each in PERIODIC}
    assert site.asked == [f"10.0.0.1/status?host=gpu-1&run={run_id}"]


@pytest.mark.parametrize(
    "parameters", [{"check": "gpumem"}, {"check": "dcgm", "r": "3"}, {"check": "iperf,pvc"}]
)
def test_invasive_ones_are_never_begun(site: Site, parameters: dict[str, str]) -> None:
    site.status({"host": "gpu-1", **parameters}, starts=True)
    assert site.ran == []


def test_a_check_of_a_node_is_not_begun_again_at_once(site: Site) -> None:
    fan_out = site.fan_out(starts=True)
    query = parsed({"host": "gpu-1", "check": "remapped,pciebw"})
    for _ in range(3):
        list(fan_out.status(query))
    assert [checks for _, checks, _ in site.ran] == [("gpu-remapped-rows", "pcie-bandwidth")]
    site.clock.advance(60)
    list(fan_out.status(query))
    assert site.ran[-1][1] == ("gpu-remapped-rows",)


def test_a_refused_run_is_told_and_may_be_asked_for_again(site: Site) -> None:
    site.refuses = AgentRefused("the agent refused (422): no check FAIL", status=422)
    fan_out = site.fan_out(starts=True)
    query = parsed({"host": "gpu-1", "check": "remapped"})
    text = "".join(fan_out.status(query))
    assert "not run now: the agent refused (422): no check fail\n" in text
    assert "Node Status: OK" in text  # what the agent's own text says
    list(fan_out.status(query))
    assert len(site.ran) == 2


def test_runs_are_begun_on_all_nodes_before_one_is_waited_for(site: Site) -> None:
    site.status({"check": "remapped"}, starts=True)
    assert site.order == ["run"] * 3 + ["get"] * 3


def test_both_sides_call_the_checks_by_the_same_names() -> None:
    assert CHECKS == names.CHECKS
    assert PERIODIC == names.PERIODIC
    assert {each: names.ours(each) for each in LIGHT} == dict(LIGHT)
    specs = {check.spec.name: check.spec for check in OURS}
    for check, again_s in AGAIN_S.items():
        assert specs[check].tier.value == "light"
        assert asking.AGAIN_S[specs[check].cadence] == again_s


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("[[ PCIEBW ]] FAIL", "PCIE Failed"),
        ("[[ PCIEBW ]] ABORT", "PCIE Failed"),
        ("[[ REMAPPED ROWS ]] FAIL", "REMAPPED ROWS Failed"),
        ("[[ DCGM ]] FAIL", "DCGM Failed"),
        ("[[GPU POWER]] ABORT", "GPU POWER Failed"),
        ("[GPU POWER] FAIL", "GPU POWER Failed"),
        ("[PING] At least one node unreachable. FAIL", "PING Failed"),
        ("[[ GPU-MEM ]] Health Check unsuccessful. FAIL.", "GPU MEM Test Failed"),
        ("[PVC Create-Delete] FAIL", "PVC Create-Delete Test Failed"),
        ("Server Disconnected. ABORT", "Connection to Server Failed"),
        ("something else. ABORT", "Failed"),
        ("SUCCESS", "OK"),
        ("", "OK"),
    ],
)
def test_each_status(line: str, status: str) -> None:
    assert statuses(f"first\n{line}\nlast") == [status]


def test_several_statuses_are_told_once_each() -> None:
    text = "[[ PCIEBW ]] FAIL\n[[ DCGM ]] FAIL\n[[ PCIEBW ]] ABORT\nSUCCESS"
    assert statuses(text) == ["PCIE Failed", "DCGM Failed"]


@given(st.text(max_size=300) | st.sampled_from(["Node: gpu-2\nNode Status: OK", "\r\n-------"]))
def test_a_node_cannot_speak_for_another_one(text: str) -> None:
    lines = repeated(text).split("\n")
    for line in lines:
        assert all(c.isprintable() for c in line)
        assert not line.lstrip().startswith(
            ("Autopilot Endpoint:", "Node:", "url(s):", "Node Status:", "Node Summary:", "-----")
        )
    assert len(repeated("x" * 10_000_000)) < 600_000


@pytest.mark.parametrize(
    "parameters",
    [
        {"batch": "-1"},
        {"batch": "many"},
        {"batch": "9" * 40},
        {"check": ",".join(f"c{n}" for n in range(40))},
        {"workload": "star"},
        {"pclients": "1000"},
        {"startport": "22"},
    ],
)
def test_what_cannot_be_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(QueryError):
        parsed(parameters)


@pytest.mark.parametrize("job", ["x", "a:b:c", ":a=b", "a:", ":", "NS:a=b", "../x:a=b", "a/b:c=d"])
def test_a_job_is_a_namespace_and_a_label(site: Site, job: str) -> None:
    text = site.status({"job": job})
    assert "Invalid job definition, must be namespace:label=value. Got [" in text
    assert site.asked == []


@given(st.dictionaries(st.sampled_from(["host", "check", "job", "nodelabel", "r", "batch"]),
                       st.text(max_size=30), max_size=6))  # fmt: skip
def test_whatever_is_asked_the_answer_is_a_text(parameters: dict[str, str]) -> None:
    site = Site(node("gpu-1"), node("gpu-2"))
    try:
        query = parsed(parameters)
    except QueryError:
        return
    text = "".join(site.fan_out(starts=True).status(query))
    assert text.endswith("\n")
    for asked in site.asked:
        assert asked.isascii()
        assert " " not in asked
        assert "\n" not in asked
