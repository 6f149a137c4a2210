"""A node comes back by proof, on a real API server and a real Loki, and by nothing less."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from konduktor_health import settings
from konduktor_health.clock import SystemClock
from konduktor_health.runtime.wiring import build
from konduktor_health.sandbox.probes import SimulatedAgents
from tests.e2e.conftest import Stage
from tests.support.controller import OUR_KEY, ControllerProcess, cli, eventually, steadily
from tests.support.loglines import LOST, otel

CONTAINED = "NVRM: Xid (PCI:0000:3b:00): 94, pid=71, name=python, Contained: SM. RST: No"
ECC = (
    "NVRM: Xid (PCI:0000:3b:00): 48, pid='<unknown>', name=<unknown>, "
    "An uncorrectable double bit error (DBE) has been detected on GPU."
)
RELOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"
QUIET_S = 3.0
POLICY = f"""\
version: 1
rules:
  - name: soon-over
    match: {{severity: [degraded], trust: [attested, kernel]}}
    mode: act
    effect: PreferNoSchedule
    clear: {{probes: [{{name: light, times: 3}}], quiet: {QUIET_S:g}s, log_only: true}}
  - name: soon-proven
    match: {{severity: [fatal], trust: [attested, kernel]}}
    mode: act
    clear:
      probes: [{{name: boot}}, {{name: light, times: 3}}, {{name: invasive}}]
      quiet: {QUIET_S:g}s
"""


def started(stage: Stage) -> ControllerProcess:
    """A controller whose policy is not patient."""
    return stage.controller(policy_file=str(policy_in(stage.folder))).leading()


def policy_in(folder: Path) -> Path:
    path = folder / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def ledger(stage: Stage, node: str = "gpu-a") -> dict[str, Any]:
    return dict(json.loads(stage.annotation(node, "ledger") or "{}"))


def record(stage: Stage, node: str = "gpu-a") -> dict[str, Any]:
    """Its one open record; empty when there is none."""
    records = ledger(stage, node).get("records", [])
    assert len(records) <= 1
    return dict(records[0]) if records else {}


def missing(stage: Stage, node: str = "gpu-a") -> set[str]:
    return set(record(stage, node).get("missing", {}))


def effects(stage: Stage, node: str = "gpu-a") -> list[str]:
    return [taint["effect"] for taint in stage.kube.taints(node) if taint["key"] == OUR_KEY]


def label(stage: Stage, node: str = "gpu-a") -> str | None:
    labels: dict[str, str] = stage.kube.node(node)["metadata"]["labels"]
    return labels.get("trainy.konduktor.ai/health")


def run(stage: Stage, *arguments: str) -> None:
    done = cli(*arguments, "--kubeconfig", str(stage.folder / "kubeconfig"))
    assert done.returncode == 0, done.stderr


def stays_tainted(stage: Stage, why: str, node: str = "gpu-a") -> None:
    """For longer than what has to be quiet."""
    steadily(lambda: stage.tainted() == [node], why, QUIET_S + 2)


def well_again(stage: Stage, node: str = "gpu-a") -> dict[str, Any]:
    """Wait until nothing is left but history; what is remembered of the one fault."""
    stage.until_tainted()
    eventually(lambda: stage.condition(node)["status"] == "True", "healthy")
    assert stage.condition(node)["reason"] == "NoActingFault"
    assert label(stage, node) is None
    assert "node.kubernetes.io/not-ready" in {t["key"] for t in stage.kube.taints(node)}
    assert record(stage, node) == {}
    (past,) = ledger(stage, node)["history"]
    return dict(past)


def test_degraded_node_comes_back_after_repair_and_quiet(stage: Stage) -> None:
    stage.nodes("gpu-a", "gpu-b")
    started(stage)
    stage.push(otel("gpu-a", CONTAINED))
    stage.until_tainted("gpu-a")
    assert effects(stage) == ["PreferNoSchedule"]
    assert label(stage) == "suspect"
    stays_tainted(stage, "quiet alone is no proof")
    assert missing(stage) == {"repair"}
    stage.push(otel("gpu-a", RELOADED))
    past = well_again(stage)
    assert (past["fault"], past["times"]) == ("xid/94", 1)
    assert past["repaired"] > past["last"]
    eventually(
        lambda: "NoActingFault" in {event["reason"] for event in stage.kube.events("gpu-a")},
        "its Event",
    )
    assert stage.condition("gpu-b") == {}


def test_fault_that_returns_after_its_repair_asks_for_more(stage: Stage) -> None:
    stage.nodes("gpu-a")
    stage.kube.set_boot_id("gpu-a", "1" * 32)
    started(stage)
    stage.push(otel("gpu-a", CONTAINED))
    stage.until_tainted("gpu-a")
    stage.push(otel("gpu-a", RELOADED))
    well_again(stage)
    stage.push(otel("gpu-a", CONTAINED))
    stage.until_tainted("gpu-a")
    assert (record(stage)["flaps"], record(stage)["attempts"]) == (1, 1)
    stage.push(otel("gpu-a", RELOADED))
    steadily(
        lambda: stage.tainted() == ["gpu-a"], "a GPU reset did not hold", 2 * QUIET_S + 2
    )  # twice as long
    assert missing(stage) == {"repair"}
    stage.kube.set_boot_id("gpu-a", "2" * 32)
    past = well_again(stage)
    assert (past["times"], past["attempts"]) == (2, 1)


def test_fatal_node_without_agents_waits_for_a_person(stage: Stage) -> None:
    stage.nodes("gpu-a")
    stage.kube.set_boot_id("gpu-a", "1" * 32)
    started(stage)
    stage.push(otel("gpu-a", LOST))
    stage.until_tainted("gpu-a")
    assert effects(stage) == ["NoSchedule"]
    stage.kube.set_boot_id("gpu-a", "2" * 32)
    eventually(lambda: missing(stage) == {"operator"}, lambda: f"{record(stage)}")
    stays_tainted(stage, "nobody has proven that it is well")
    assert "to clear: an operator's word" in stage.condition("gpu-a")["message"]
    run(stage, "reset", "gpu-a")
    stage.until_tainted()


def test_held_node_is_not_cleared_until_it_is_released(stage: Stage) -> None:
    stage.nodes("gpu-a")
    started(stage)
    stage.push(otel("gpu-a", CONTAINED))
    stage.until_tainted("gpu-a")
    run(stage, "hold", "gpu-a", "--until", "1h", "--reason", "looked at")
    stage.push(otel("gpu-a", RELOADED))
    eventually(lambda: missing(stage) == {"quiet"} or not missing(stage), "the repair is seen")
    stays_tainted(stage, "held")
    run(stage, "release", "gpu-a")
    assert well_again(stage)["fault"] == "xid/94"


@contextmanager
def with_agents(stage: Stage, agents: SimulatedAgents) -> Iterator[None]:
    """A controller in this process that believes these agents: no setting makes one do so."""
    written = ControllerProcess(
        stage.folder,
        kubeconfig=stage.kube.kubeconfig(stage.folder / "kubeconfig"),
        loki=stage.loki.url,
        settings={
            "reading": {"cluster": stage.cluster},
            "policy_file": str(policy_in(stage.folder)),
        },
    ).config
    controller = build(settings.load(written, environ={}), serve=False, probes=agents)
    thread = threading.Thread(target=controller.run, daemon=True)
    thread.start()
    try:
        eventually(controller.reading, "leads and reads")
        yield
    finally:
        controller.stop.set()
        controller.wake.set()
        thread.join(10)
        assert not thread.is_alive()


def test_fatal_node_comes_back_when_its_agent_has_proven_it(stage: Stage) -> None:
    stage.nodes("gpu-a")
    agents = SimulatedAgents(["gpu-a"], SystemClock())
    agents.breaks("gpu-a")
    with with_agents(stage, agents):
        stage.push(otel("gpu-a", ECC))
        stage.until_tainted("gpu-a")
        stage.push(otel("gpu-a", RELOADED))
        eventually(lambda: label(stage) == "recovering", lambda: f"{record(stage)}")
        stays_tainted(stage, "its checks fail")
        eventually(
            lambda: missing(stage) == {"probe:boot", "probe:light", "probe:invasive"},
            lambda: f"{record(stage)}",
        )
        agents.mends("gpu-a")
        past = well_again(stage)
    assert (past["fault"], past["times"]) == ("xid/48", 1)
