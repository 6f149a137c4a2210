"""The port for users of Autopilot: off unless it is asked for, and asked of agents alone."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.autopilot.fan_out import NO_CLASS
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.wiring import build
from konduktor_health.settings import Settings

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def settings(tmp_path: Path, **more: Any) -> Settings:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG)
    own = {"cluster": {"kubeconfig": file}, "http": {"enabled": False}}
    return Settings.model_validate({**own, **more})


def test_it_is_off(tmp_path: Path) -> None:
    assert build(settings(tmp_path), dry_run=True).autopilot is None


def test_it_is_a_port_of_its_own(tmp_path: Path) -> None:
    wanted = {"enabled": True, "host": "127.0.0.1", "port": 0}
    controller = build(settings(tmp_path, autopilot=wanted), dry_run=True)
    server = controller.autopilot
    assert server is not None
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/status")
        text = connection.getresponse().read().decode()
        connection.close()
    finally:
        server.stop()
    assert "Which nodes have an agent is not known yet. ABORT" in text


def test_without_agents_it_is_a_mistake(tmp_path: Path) -> None:
    off: dict[str, Any] = {"autopilot": {"enabled": True}, "probes": {"enabled": False}}
    with pytest.raises(ConfigError, match="there are no agents to ask"):
        build(settings(tmp_path, **off), dry_run=True)


@pytest.mark.parametrize(
    ("jobs", "allowed", "dry_run", "said"),
    [
        (False, False, False, "probes.jobs.enabled is off"),
        (False, True, False, "probes.jobs.enabled is off"),
        (True, False, False, "autopilot.start_invasive is off"),
        (True, True, True, "this is a dry run"),
        (True, True, False, "Which nodes have an agent is not known yet. ABORT"),
    ],
)
def test_invasive_tests_are_wanted_where_jobs_and_the_port_allow_it(
    tmp_path: Path, jobs: bool, allowed: bool, dry_run: bool, said: str
) -> None:
    more = {
        "autopilot": {
            "enabled": True, "host": "127.0.0.1", "port": 0, "start_invasive": allowed,
        },
        "probes": {"namespace": "n", "jobs": {"enabled": jobs, "image": "probe:1"}},
    }  # fmt: skip
    server = build(settings(tmp_path, **more), dry_run=dry_run).autopilot
    assert server is not None
    server._leads = lambda: True
    try:
        with server.answering("/invasive?host=all") as answer:
            text = "".join(answer.pieces)
    finally:
        server.stop()
    assert said in text
    assert (answer.status == 403) is (("ABORT" in text and "is off" in text) or dry_run)


@pytest.mark.parametrize(
    ("storage_class", "dry_run", "said"),
    [
        ("", False, "Storage class not set. Cannot run. ABORT"),
        ("fast", False, "Storage was not tested yet. ABORT"),
        ("fast", True, "A dry run claims nothing. ABORT"),
    ],
)
def test_storage_is_told_where_a_class_is_set(
    tmp_path: Path, storage_class: str, dry_run: bool, said: str
) -> None:
    more = {
        "autopilot": {"enabled": True, "host": "127.0.0.1", "port": 0},
        "probes": {"namespace": "n", "pvc": {"storage_class": storage_class}},
    }
    server = build(settings(tmp_path, **more), dry_run=dry_run).autopilot
    assert server is not None
    claims = server._fan_out._claims
    server.stop()
    assert said in (claims("gpu-1") if claims is not None else NO_CLASS)
