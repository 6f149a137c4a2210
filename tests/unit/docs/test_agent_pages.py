"""What the pages say of the node agent is what it serves, and the other way round."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from probes.agent.metrics import NAMESPACE
from probes.agent.refusals import CODES
from probes.commands.agent import VARIABLES
from probes.runner.job import RUN_VARIABLE
from tests.support.agent import GPU, AgentWorld, found, gbps

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference"


def reference(name: str) -> str:
    return (REFERENCE / name).read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AgentWorld]:
    """An agent that has measured, and has Autopilot's gauge."""
    made = AgentWorld(tmp_path, compat_autopilot=True)
    made.runner.found["pcie-bandwidth"] = (
        found("pcie-bandwidth", "pass", device=GPU, backend="nvml",
              measurements=(gbps("h2d", 50.0),)),
    )  # fmt: skip
    parts = made.start()
    for _ in range(5):
        parts.worker.step()
        made.clock.seconds += 400
    parts.metrics.refused("/v1/run", "unsigned")
    yield made
    made.close()


def test_the_metrics_that_are_served_are_those_that_are_documented(world: AgentWorld) -> None:
    assert world.made is not None
    served = set(re.findall(r"^([a-z_]+)(?:\{| )", world.made.metrics.render().decode(), re.M))
    served = {name for name in served if not re.match(r"process_|.*_created$", name)}
    page = reference("probe-metrics.md")
    documented = set(re.findall(rf"`({NAMESPACE}_[a-z_]+)`", page)) | {"autopilot_health_checks"}
    assert served == documented


def test_every_label_that_is_served_is_explained(world: AgentWorld) -> None:
    assert world.made is not None
    text = world.made.metrics.render().decode()
    own = "\n".join(line for line in text.splitlines() if line.startswith(NAMESPACE))
    labels = set(re.findall(r'[{,]([a-z]+)="', own)) - {"le"}
    assert "device" in labels
    for label in labels:
        assert f"| `{label}` |" in reference("probe-metrics.md"), label


def test_metrics_of_the_agent_that_pages_mention_exist() -> None:
    page = reference("probe-metrics.md")
    for other in DOCS.rglob("*.md"):
        for name in re.findall(rf"`({NAMESPACE}_[a-z_]+)`", other.read_text()):
            assert f"`{name}`" in page, f"{other.name}: {name}"


def test_every_path_and_every_refusal_is_documented(world: AgentWorld) -> None:
    assert world.made is not None
    page = reference("agent-api.md")
    routes = [route for route in world.made.app.routes if isinstance(route, APIRoute)]
    assert len(routes) >= 9
    for route in routes:
        [method] = sorted(route.methods or set())
        assert f"| {method} | `{route.path}` |" in page, route.path
    for code, (status, _) in CODES.items():
        assert f"| {status} | `{code}` |" in page, code


def test_every_refusal_is_in_the_openapi_document() -> None:
    document = json.loads(reference("agent-openapi.json"))
    described = json.dumps(document["paths"])
    for code in CODES:
        if code not in ("method_not_allowed", "internal"):  # of every path
            assert f"`{code}`" in described, code


def test_variables_of_the_agent_that_pages_mention_are_those_of_options() -> None:
    section = reference("cli.md").split("## `konduktor-probe agent`")[1].split("\n## ")[0]
    options = set(re.findall(r"`--([a-z-]+)`", section))
    for page in DOCS.rglob("*.md"):
        for name in re.findall(rf"\b{VARIABLES}([A-Z_]+)\b", page.read_text()):
            known = VARIABLES + name == RUN_VARIABLE  # marks the processes of a run
            assert known or name.lower().replace("_", "-") in options, f"{page.name}: {name}"
