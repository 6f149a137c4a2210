"""From a Job's command on the node to the pass that a clear rule counts; nothing of it is made up.

The command is the manifest's own, on fake GPUs; agent and controller take up what it has left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from konduktor_health.adapters.kube.job_manifest import Shape, job_manifest
from konduktor_health.adapters.probes.reading import results_of
from konduktor_health.core.clearing import Watch, still_missing, with_probes
from konduktor_health.jobs import WantedJob
from konduktor_health.treatment import INVASIVE, Asked, ClearRule, ProbeNeed, Treatment
from probes.agent.delivered import Deliveries
from probes.agent.files import StateDir
from probes.kmsg.command import read_boot_id
from probes.report import NodeSettings, Run
from tests.support.agent import FakeClock, LogLines
from tests.support.builders import policy
from tests.support.ledgers import record

ROOT = Path(__file__).parents[3]
NODE = "gpu-a"


class Host:
    """The directories of a node, as the agent makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "konduktor-health"
        self.log = LogLines()
        self.state = StateDir(str(self.folder / "agent"), self.log)
        self.inbox = self.folder / "agent" / "delivered"
        self.inbox.mkdir(mode=0o700)
        told = NodeSettings(node=NODE, issued_ns=0, expires_ns=0, nonce="0" * 16)
        (self.folder / "agent" / "settings.json").write_text(told.model_dump_json())

    def job(self, *probes: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """What the container does."""
        shape = Shape("health", "image", state_directory=str(self.folder))
        body = job_manifest(WantedJob(NODE, "uid-a", "job-1", probes), shape)
        (container,) = body["spec"]["template"]["spec"]["containers"]
        fake = {"KONDUKTOR_FAKE_GPU": "true", "KONDUKTOR_GPU_COUNT": "2"}
        return subprocess.run(
            [sys.executable, "-m", "probes.cli", *container["args"]],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "NODE_NAME": NODE}
            | fake
            | environ,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def taken(self) -> list[Run]:
        """What the agent takes up."""
        boot_id = read_boot_id()
        deliveries = Deliveries(
            str(self.inbox),
            self.state,
            self.log,
            boot_id=boot_id,
            now_ns=FakeClock().now_ns,
            owner=os.geteuid(),
        )
        return list(deliveries.take())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def missing(run: Run, need: str, *, device: str = "") -> tuple[str, ...]:
    """What a record still waits for once the run was counted."""
    boot_id = run.boot_id
    one = record(device=device, boot_id=boot_id, rule="own", reached=True, last_ns=1, first_ns=1)
    rule = Treatment(clear=ClearRule(Asked.NOTHING, (ProbeNeed(need),), quiet_s=0.0))
    watch = Watch(boot_id, 0, observed_from_ns=1, agent=True)
    results = results_of(run, boot_id, accept_fake=True)
    counted = with_probes(one, rule, results, watch)
    return still_missing(counted, rule, watch, policy(), run.ended_ns + 1).missing


def test_the_tier_that_a_job_ran_is_the_pass_that_clearing_waited_for(host: Host) -> None:
    done = host.job(INVASIVE)
    assert done.returncode == 0, done.stderr
    (run,) = host.taken()
    assert (run.run_id, run.cadence, run.reason) == ("job-1", "invasive", "job job-1")
    outcomes = {result.outcome for result in run.results}
    assert "pass" in outcomes
    assert outcomes <= {"pass", "warn", "skip"}, done.stdout
    assert missing(run, INVASIVE) == ()
    assert missing(run, "gpu-memory") == ()
    assert host.taken() == []


def test_one_check_of_the_tier_proves_itself_and_not_the_tier(host: Host) -> None:
    done = host.job("gpu-memory")
    assert done.returncode == 0, done.stderr
    (run,) = host.taken()
    assert {result.check for result in run.results} == {"gpu-memory"}
    assert missing(run, "gpu-memory") == ()
    assert missing(run, INVASIVE) == (f"probe:{INVASIVE}",)


def test_a_fake_run_proves_nothing_to_a_controller_that_accepts_none(host: Host) -> None:
    host.job("gpu-memory")
    (run,) = host.taken()
    assert all(each.fake for each in results_of(run, run.boot_id, accept_fake=False))


def test_without_the_agents_settings_the_job_fails_and_says_so(host: Host) -> None:
    (host.folder / "agent" / "settings.json").unlink()
    done = host.job(INVASIVE)
    assert done.returncode == 1
    assert "settings.json: No such file or directory" in done.stderr
    assert host.taken() == []
