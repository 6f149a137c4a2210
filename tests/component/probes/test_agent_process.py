"""``konduktor-probe agent`` as a process: real children, signals, crashes, this machine's log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from konduktor_health.cli.inject import write_local
from probes.kmsg.command import read_boot_id
from probes.report import Report
from tests.support.agent import eventually
from tests.support.agent_process import ROOT, AgentProcess

QUIET = ("--light-interval", "0", "--hourly-interval", "0", "--invasive-interval", "0")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    made = AgentProcess(tmp_path, "--no-kmsg", *QUIET)
    made.put("site-boot", """echo '{"outcome":"pass","message":"well"}'""", cadence="boot")
    yield made
    made.close()


def runs(agent: AgentProcess, cadence: str) -> int:
    return sum(run["cadence"] == cadence for run in agent.report()["runs"])


def test_it_runs_checks_in_children_and_tells_what_they_found(agent: AgentProcess) -> None:
    agent.start()
    eventually(lambda: runs(agent, "boot") == 1, 60, 0.3)
    report = Report.model_validate_json(agent.get("/v1/report").body)
    assert (report.node, report.boot_id) == ("node-a", read_boot_id())
    mine = [result for result in report.runs[0].results if result.check == "site-boot"]
    assert [(result.outcome, result.message) for result in mine] == [("pass", "well")]
    assert (report.backend, report.fake) == ("fake", True)
    assert agent.rss_mib() <= 80
    code, seconds = agent.end()
    assert (code, seconds < 5) == (0, True)
    assert [line["message"] for line in agent.lines()][-1] == "agent has ended"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_seconds_with_all_that_a_check_has_started(
    agent: AgentProcess, number: signal.Signals
) -> None:
    mark = f"30{uuid.uuid4().int % 10**6:06d}"
    agent.put("site-hangs", f"setsid sleep {mark} & sleep {mark}", cadence="boot", deadline_s=600)
    agent.start()
    eventually(lambda: len(processes_with(mark)) >= 2, 60)
    assert agent.get("/v1/report").status == 200  # it answers meanwhile
    code, seconds = agent.end(number)
    assert code == 0
    assert seconds < 8
    eventually(lambda: processes_with(mark) == [])


def processes_with(argument: str) -> list[str]:
    """Processes that have this argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:1] == [b"sleep"] and argument.encode() in words:
            found.append(folder.name)
    return found


def test_after_a_crash_it_tells_what_it_knew_and_runs_no_boot_checks_again(
    agent: AgentProcess,
) -> None:
    agent.start()
    eventually(lambda: runs(agent, "boot") == 1, 60, 0.3)
    before = agent.report()["runs"]
    code, _ = agent.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    agent.start()
    assert agent.report()["runs"] == before
    agent.end()
    began = [line for line in agent.lines() if line["message"] == "run ended"]
    assert len(began) == 1


def test_a_port_that_is_taken_is_told_and_ends_it(agent: AgentProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "probes.cli", "agent", "--no-kmsg", "--node", "a", "--state",
             str(agent.path / "other"), "--listen", f"127.0.0.1:{port}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["why"] == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use (choose another with --listen)"
    )
    assert done.stderr == ""


@pytest.mark.root
@as_root
def test_a_run_that_a_job_delivers_is_taken_up(agent: AgentProcess) -> None:
    agent.put("site-job", """echo '{"outcome":"fail","message":"bad"}'""", cadence="never")
    agent.start()
    command = [
        sys.executable, "-m", "probes.cli", "run", "site-job", "--user-checks", str(agent.site),
        "--run-id", "job-1", "--deliver", str(agent.path / "state" / "delivered"),
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    eventually(lambda: runs(agent, "requested") == 1, 20, 0.3)
    (run,) = (run for run in agent.report()["runs"] if run["run_id"] == "job-1")
    assert [(result["check"], result["outcome"]) for result in run["results"]] == [
        ("site-job", "fail")
    ]
    assert os.listdir(agent.path / "state" / "delivered") == []


@pytest.mark.root
@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/kmsg", os.R_OK | os.W_OK),
    reason="needs root and a readable and writable /dev/kmsg",
)
def test_a_line_of_this_machines_kernel_log_is_attested_and_a_forged_one_is_not(
    tmp_path: Path,
) -> None:
    text = f"NVRM: Xid (PCI:0000:3b:00): 79, {uuid.uuid4().hex} é \\ end"
    agent = AgentProcess(tmp_path, "--no-boot-checks", *QUIET)
    try:
        agent.start()
        write_local(text)
        boot = read_boot_id()
        forged = {"boot_id": boot, "uptime_us": uptime_us(), "text": f"forged {text}"}
        questions = [{"boot_id": boot, "text": text}, {"boot_id": "f" * 32, "text": text}, forged]
        answer = agent.post("/v1/kmsg", {"questions": questions}).json()
    finally:
        agent.close()
    assert answer["boot_id"] == boot
    mine, of_another_boot, never_there = answer["answers"]
    assert (mine["answer"], mine["injected"]) == ("confirmed", True)
    assert of_another_boot["answer"] == "unknown"
    assert never_there["answer"] == "denied"


def uptime_us() -> int:
    return int(float(Path("/proc/uptime").read_text().split()[0]) * 1e6)
