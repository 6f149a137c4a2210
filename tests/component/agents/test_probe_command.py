"""``konduktor-health probe`` as a person runs it, through the API server to real agents."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health import settings
from konduktor_health.adapters.kube import build_cluster
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.operators import find_agents, reach
from konduktor_health.clock import SystemClock
from tests.support.agent import GPU
from tests.support.controller import NAMESPACE, cli, eventually
from tests.support.probe_fleet import ProbeFleet, finding

Json = dict[str, Any]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[ProbeFleet]:
    """gpu-a in zone eu-2, gpu-b in eu-1, gpu-c in eu-2; gpu-bare has no agent."""
    with ExitStack() as stack:
        made = ProbeFleet(stack, tmp_path, "gpu-a", "gpu-b", "gpu-c")
        made.node("gpu-bare", labels={"zone": "eu-9"})
        yield made
        assert made.api.failures == []


def probe(fleet: ProbeFleet, *arguments: str) -> Any:
    return cli("probe", *arguments, *fleet.flags)


def told(done: Any) -> dict[str, Json]:
    """The nodes of a JSON answer."""
    return {each["node"]: each for each in json.loads(done.stdout)["nodes"]}


def ran(fleet: ProbeFleet) -> set[str]:
    """Nodes that were asked for a run."""
    return {name for name, runner in fleet.runners.items() if runner.orders}


# ---------------------------------------------------------------- run


def test_checks_are_run_and_all_passed(fleet: ProbeFleet) -> None:
    done = probe(fleet, "run", "gpu-health", "pcie-bandwidth", "--all")
    assert (done.returncode, done.stderr) == (0, "")
    assert ran(fleet) == {"gpu-a", "gpu-b", "gpu-c"}
    assert done.stdout.splitlines()[-1] == "3 nodes: 3 done; 6 pass"
    (order,) = fleet.runners["gpu-a"].orders
    assert tuple(order.checks) == ("gpu-health", "pcie-bandwidth")
    assert (order.cadence, order.run_id[:7]) == ("requested", "checks-")


def test_a_tier_is_run_whole_so_that_its_passes_are_proof(fleet: ProbeFleet) -> None:
    done = probe(fleet, "run", "--tier", "light", "--node", "gpu-b")
    assert done.returncode == 0
    (order,) = fleet.runners["gpu-b"].orders
    assert order.run_id.startswith("tier-light-")
    assert tuple(order.checks) == ("gpu-health", "pcie-bandwidth")


def test_what_fails_is_3_and_what_was_not_measured_4(fleet: ProbeFleet) -> None:
    fleet.runners["gpu-b"].found["gpu-health"] = (
        finding("gpu-health", "fail", device=GPU, message="97 °C\x1b[31m of 90"),
        finding("gpu-health", "pass", device="0000:4b:00"),
    )
    done = probe(fleet, "run", "gpu-health", "--all")
    assert done.returncode == 3
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["gpu-b", "gpu-health", GPU, "fail", "97", "°C", "[31m", "of", "90"] in lines
    assert ["gpu-b", "pass", "1", "result"] in lines
    assert "\x1b" not in done.stdout
    for outcome in ("skip", "error", "timeout"):
        fleet.runners["gpu-b"].found["gpu-health"] = (finding("gpu-health", outcome),)
        assert probe(fleet, "run", "gpu-health", "--all").returncode == 4


def test_what_a_fake_backend_says_is_no_pass(fleet: ProbeFleet) -> None:
    fleet.runners["gpu-b"].found["gpu-health"] = (finding("gpu-health", "pass", fake=True),)
    done = probe(fleet, "run", "gpu-health", "--all")
    assert done.returncode == 4
    assert "fake backend: proves nothing" in done.stdout


def test_json_has_each_result_and_the_sums(fleet: ProbeFleet) -> None:
    fleet.runners["gpu-b"].found["gpu-health"] = (finding("gpu-health", "fail", device=GPU),)
    done = probe(
        fleet, "run", "gpu-health", "--node", "gpu-a", "--node", "gpu-b", "--output", "json"
    )
    assert done.returncode == 3
    whole = json.loads(done.stdout)
    assert whole["summary"]["outcomes"] == {
        "fail": 1, "timeout": 0, "error": 0, "warn": 0, "skip": 0, "pass": 1,
    }  # fmt: skip
    assert (whole["version"], whole["summary"]["nodes"]) == (1, 2)
    node = told(done)["gpu-b"]
    assert (node["state"], node["message"]) == ("done", None)
    assert node["run_id"] == fleet.runners["gpu-b"].orders[0].run_id
    (result,) = node["results"]
    assert (result["check"], result["device"], result["outcome"]) == ("gpu-health", GPU, "fail")
    assert result["ended"].endswith("Z")


def test_options_go_to_the_checks_that_may_take_them(fleet: ProbeFleet) -> None:
    done = probe(fleet, "run", "gpu-health", "--node", "gpu-a", "--option", "gpu-health.program=/x")
    assert done.returncode == 4
    assert "not_for_requests" in done.stdout
    assert "gpu-health.program" in done.stdout
    assert ran(fleet) == set()


# ---------------------------------------------------------------- which nodes


def test_selectors_add_up(fleet: ProbeFleet) -> None:
    fleet.pod("job-0", "gpu-c", "training", {"job-name": "llm"})
    fleet.pod("job-1", "gpu-b", "training", {"job-name": "other"})
    done = probe(
        fleet, "run", "gpu-health", "--node", "gpu-a", "--pod-label", "training:job-name=llm"
    )
    assert done.returncode == 0
    assert ran(fleet) == {"gpu-a", "gpu-c"}
    done = probe(fleet, "run", "gpu-health", "--node-label", "zone=eu-1", "-o", "json")
    assert set(told(done)) == {"gpu-b"}
    done = probe(fleet, "run", "gpu-health", "--node-label", "zone in (eu-1, eu-2)", "-o", "json")
    assert set(told(done)) == {"gpu-a", "gpu-b", "gpu-c"}


def test_a_node_without_an_agent_or_that_is_none_was_not_measured(fleet: ProbeFleet) -> None:
    done = probe(fleet, "run", "gpu-health", "--node", "gpu-bare", "--node", "gpu-a")
    assert done.returncode == 4
    assert ["gpu-bare", "no", "agent"] in [line.split() for line in done.stdout.splitlines()]
    done = probe(fleet, "run", "gpu-health", "--node", "gpu-zzz", "--node", "gpu-a")
    assert (done.returncode, done.stderr) == (4, "gpu-zzz: no such node\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "gpu-health"), "say which nodes"),
        (("run", "--all"), "name the checks, or a --tier"),
        (("run", "Bad Name", "--all"), "no name of a check"),
        (("run", "x", "--pod-label", "job=llm"), "namespace and a colon"),
        (("run", "x", "--pod-label", "training:"), "empty selector"),
        (("run", "x", "--node-label", "a in"), "--node-label"),
        (("run", "x", "--all", "--option", "count=3"), "CHECK.NAME=VALUE"),
        (("results", "--check", "../x"), "no name of a check"),
    ],
)
def test_wrong_usage_is_2_with_the_value_and_a_hint(
    fleet: ProbeFleet, arguments: tuple[str, ...], said: str
) -> None:
    done = probe(fleet, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert ran(fleet) == set()


# ---------------------------------------------------------------- what agents refuse


def test_busy_gpus_and_unknown_checks_are_refusals_with_their_reason(fleet: ProbeFleet) -> None:
    fleet.runners["gpu-a"].found["gpu-health"] = (
        finding("gpu-health", "pass", device=GPU, busy=True),
    )
    assert probe(fleet, "run", "gpu-health", "--node", "gpu-a").returncode == 0
    done = probe(fleet, "run", "dcgm-3", "--node", "gpu-a", "--node", "gpu-b")
    assert done.returncode == 4
    assert "gpus_busy" in done.stdout
    assert GPU in done.stdout
    assert "drain the node" in done.stdout, "with the agent's hint"
    assert tuple(fleet.runners["gpu-b"].orders[-1].checks) == ("dcgm-3",)
    done = probe(fleet, "run", "unheard-of", "--node", "gpu-a")
    assert done.returncode == 4
    assert "unknown_check" in done.stdout


def test_an_agent_that_does_not_answer_costs_its_own_node(fleet: ProbeFleet) -> None:
    fleet.node("gpu-dead")
    fleet.agent("gpu-dead", 99, listens=False)
    done = probe(fleet, "run", "gpu-health", "--all")
    assert done.returncode == 4
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("gpu-dead")]
    assert "silent" in line
    assert "the API server does not reach the agent" in line
    assert done.stdout.splitlines()[-1].startswith("4 nodes: ")
    assert ran(fleet) == {"gpu-a", "gpu-b", "gpu-c"}


def test_a_run_that_takes_too_long_is_not_measured(fleet: ProbeFleet) -> None:
    fleet.runners["gpu-a"].gate.clear()
    done = probe(fleet, "run", "gpu-health", "--node", "gpu-a", "--timeout", "2")
    assert done.returncode == 4
    assert "did not tell within the time" in done.stdout


def test_no_more_nodes_measure_at_once_than_may(fleet: ProbeFleet) -> None:
    for runner in fleet.runners.values():
        runner.gate.clear()
    done: list[Any] = []
    thread = threading.Thread(
        target=lambda: done.append(probe(fleet, "run", "gpu-health", "--all", "--batch", "1"))
    )
    thread.start()
    seen: list[set[str]] = []
    for _ in range(3):
        eventually(lambda: ran(fleet) != (seen[-1] if seen else set()), "the next node")
        seen.append(ran(fleet))
        (new,) = seen[-1] - (seen[-2] if len(seen) > 1 else set())
        fleet.runners[new].gate.set()
    thread.join(60)
    assert [len(names) for names in seen] == [1, 2, 3]
    assert done[0].returncode == 0


# ---------------------------------------------------------------- rights


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "pods/proxy"), ("get", "secrets"), ("list", "pods"), ("get", "daemonsets")],
)
def test_a_right_that_is_missing_is_named_and_nothing_is_asked(
    fleet: ProbeFleet, verb: str, resource: str
) -> None:
    fleet.api.deny["*"] = {(verb, resource)}
    done = probe(fleet, "run", "gpu-health", "--all")
    assert done.returncode == 1
    assert f"grant verb {verb!r} on resource {resource!r}" in done.stderr
    assert ran(fleet) == set()


def test_reading_needs_no_key_and_no_right_to_start_anything(fleet: ProbeFleet) -> None:
    fleet.api.deny["*"] = {("create", "pods/proxy"), ("get", "secrets")}
    for command in ("list", "results"):
        assert probe(fleet, command, "--node", "gpu-a").returncode in (0, 4)
    fleet.api.deny["*"] = {("get", "pods/proxy")}
    done = probe(fleet, "list")
    assert done.returncode == 1
    assert "pods/proxy" in done.stderr


def test_without_a_signing_key_nothing_is_run(fleet: ProbeFleet) -> None:
    fleet.api.store.edit(
        "secrets", "konduktor-health-signing", lambda secret: secret.update(data={}),
        namespace=NAMESPACE,
    )  # fmt: skip
    done = probe(fleet, "run", "gpu-health", "--all")
    assert done.returncode == 1
    assert "konduktor-health-signing" in done.stderr
    assert ran(fleet) == set()


def test_an_api_server_that_is_not_there_is_1_since_3_says_what_failed(fleet: ProbeFleet) -> None:
    fleet.api.stop()
    done = probe(fleet, "results")
    assert done.returncode == 1
    assert "hint: " in done.stderr


def test_from_a_pod_agents_are_asked_past_the_api_server(fleet: ProbeFleet) -> None:
    """In this process: a controller refuses to ask loopback addresses, which no pod has."""
    clock = SystemClock()
    flags = {"cluster": {"kubeconfig": fleet.kubeconfig}, "probes": {"port": fleet.port}}
    wanted = settings.load(fleet.config, flags, environ={})
    http, cluster = build_cluster(wanted, clock)
    pods = find_agents(wanted, http, clock)
    views = {view.name: view for view in cluster.list_nodes()}
    asking = AgentHttp(clock, may_ask=lambda _address: True)
    found = reach(wanted, http, pods, views, clock, direct=True, agents=asking)
    fleet.api.requests.clear()
    accepted = found.orders.run("gpu-a", checks=("gpu-health",))
    eventually(lambda: found.asked.look("gpu-a", accepted.run_id).results, "the run")
    paths = [request.path for request in fleet.api.requests.all()]
    assert [path.rpartition("/")[2] for path in paths] == ["konduktor-health-signing"]
    http.close()


# ---------------------------------------------------------------- list and results


def test_what_nodes_can_check_is_listed(fleet: ProbeFleet) -> None:
    assert probe(fleet, "run", "gpu-health", "--node", "gpu-a").returncode == 0
    done = probe(fleet, "list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["dcgm-3"] == [
        "dcgm-3", "invasive", "invasive", "600", "s", "idle", "GPUs", "3", "3", "not", "run",
    ]  # fmt: skip
    assert lines["gpu-health"][-5:] == ["2", "not", "run,", "1", "pass"]
    done = probe(fleet, "list", "--node", "gpu-a", "-o", "json")
    checks = {each["name"]: each for each in told(done)["gpu-a"]["checks"]}
    assert checks["gpu-health"]["last"] == "pass"
    done = probe(fleet, "list", "--node", "gpu-bare")
    assert (done.returncode, done.stderr) == (4, "gpu-bare: no agent\n")


def test_the_newest_results_are_shown(fleet: ProbeFleet) -> None:
    runner = fleet.runners["gpu-a"]
    runner.found["gpu-health"] = (finding("gpu-health", "fail", device=GPU, message="hot"),)
    assert probe(fleet, "run", "gpu-health", "--node", "gpu-a").returncode == 3
    done = probe(fleet, "results", "--node", "gpu-a")
    assert done.returncode == 3
    assert "hot" in done.stdout
    first = runner.orders[0].run_id
    runner.found.clear()
    assert probe(fleet, "run", "gpu-health", "driver", "--node", "gpu-a").returncode == 0
    done = probe(fleet, "results", "--node", "gpu-a", "-o", "wide")
    assert done.returncode == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:-1]] == [
        ["gpu-a", "driver", "pass"], ["gpu-a", "gpu-health", "pass"],
    ]  # fmt: skip
    assert probe(fleet, "results", "--node", "gpu-a", "--run", first).returncode == 3
    done = probe(fleet, "results", "--node", "gpu-a", "--check", "driver", "-o", "json")
    assert [each["check"] for each in told(done)["gpu-a"]["results"]] == ["driver"]
    assert probe(fleet, "results", "--node", "gpu-b").returncode == 4, "nothing was measured yet"


# ---------------------------------------------------------------- terminals and signals


def test_a_terminal_sees_how_it_goes_on_and_ctrl_c_says_what_becomes_of_it(
    fleet: ProbeFleet,
) -> None:
    fleet.runners["gpu-a"].gate.clear()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "konduktor_health", "probe", "run", "gpu-health", "--all"]
    process = subprocess.Popen(
        [*command, *fleet.flags], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "20"},
    )  # fmt: skip
    os.close(theirs)
    shown = ""

    def sees(words: str) -> bool:
        nonlocal shown
        shown += os.read(ours, 4096).decode()
        return words in shown

    eventually(lambda: sees("1 running"), lambda: shown, 40)
    eventually(lambda: sees("2 done"), lambda: shown, 40)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert process.returncode == 130
    assert b"\x1b" not in out, "what is in a pipe is plain"
    assert b"gpu-a" in out
    assert b"running" in out


# ---------------------------------------------------------------- explain


def explain(fleet: ProbeFleet, *arguments: str) -> Any:
    return cli("explain", *arguments, *fleet.flags)


def test_explain_asks_the_agent_when_it_is_told_to(fleet: ProbeFleet) -> None:
    fleet.runners["gpu-b"].found["gpu-health"] = (
        finding("gpu-health", "fail", device=GPU, message="97 °C\x1b[31m of 90"),
    )
    assert probe(fleet, "run", "gpu-health", "pcie-bandwidth", "--node", "gpu-b").returncode == 3
    asked = explain(fleet, "gpu-b", "--agent")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "measured last  as the node's agent tells" in asked.stdout
    assert f"gpu-health on {GPU}, " in asked.stdout
    assert "97 °C [31m of 90" in " ".join(asked.stdout.split())
    assert "\x1b" not in asked.stdout
    assert "1 more results, the newest " in asked.stdout
    assert "measured last" not in explain(fleet, "gpu-b").stdout
    whole = json.loads(explain(fleet, "gpu-b", "--agent", "-o", "json").stdout)["measured"]
    assert whole["unknown_because"] is None
    assert [(each["check"], each["outcome"]) for each in whole["results"]] == [
        ("gpu-health", "fail"),
        ("pcie-bandwidth", "pass"),
    ]
    assert json.loads(explain(fleet, "gpu-b", "-o", "json").stdout)["measured"] is None


def test_explain_goes_on_without_an_agent(fleet: ProbeFleet) -> None:
    done = explain(fleet, "gpu-bare", "--agent")
    assert done.returncode == 0
    assert "not known: no agent runs there" in done.stdout
    fleet.node("gpu-dead")
    fleet.agent("gpu-dead", 9, listens=False)
    done = explain(fleet, "gpu-dead", "--agent")
    assert done.returncode == 0
    assert "not known: " in done.stdout
    told = json.loads(explain(fleet, "gpu-dead", "--agent", "-o", "json").stdout)["measured"]
    assert told["results"] == []
    assert told["unknown_because"]


def test_a_fault_has_no_agent(fleet: ProbeFleet) -> None:
    done = explain(fleet, "xid", "79", "--agent")
    assert done.returncode == 2
    assert "--agent: a fault has no agent" in done.stderr
