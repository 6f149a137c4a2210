"""The port for users of Autopilot: off unless it is asked for, and asked of agents alone."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pytest

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
