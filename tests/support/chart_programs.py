"""What do the programs make of what the chart renders for them?"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from konduktor_health.settings import Settings, load
from probes import cli
from probes.kmsg.command import KmsgOptions
from tests.support.chart import NAME, Object, one, pod_of


def settings_of(found: list[Object], folder: Path) -> Settings:
    """The controller's settings, from the ConfigMap; ``folder`` takes the file."""
    text = one(found, "ConfigMap", f"{NAME}-settings")["data"]["settings.yaml"]
    path = folder / "settings.yaml"
    path.write_text(text)
    return load(path)


def kmsg_options(found: list[Object], monkeypatch: pytest.MonkeyPatch) -> KmsgOptions:
    """What the forwarder itself makes of the container's command line, and that it first gives
    up its privileges."""
    taken: list[KmsgOptions] = []

    def take(options: KmsgOptions) -> int:
        taken.append(options)
        return 0

    monkeypatch.setattr("probes.commands.kmsg.run_kmsg", take)
    dropped: list[bool] = []  # not really: pytest would lose its own
    monkeypatch.setattr("probes.privileges.drop_privileges", lambda _: dropped.append(True))
    monkeypatch.setenv("NODE_NAME", "gpu-1")
    (daemon_set,) = [each for each in found if each["kind"] == "DaemonSet"]
    container = container_of(daemon_set, "kmsg")
    assert container["command"] == ["konduktor-probe"]
    assert cli.main(container["args"]) == 0
    assert dropped == [True]
    return taken[0]


def agent_options(found: list[Object]) -> argparse.Namespace:
    """What the agent makes of the container's command line; an unknown option ends the test."""
    (daemon_set,) = [each for each in found if each["kind"] == "DaemonSet"]
    container = container_of(daemon_set, "agent")
    assert container["command"] == ["konduktor-probe"]
    return cli.parser_of({"agent"}).parse_args(container["args"])


def container_of(workload: Object, name: str) -> Object:
    """The container of this name."""
    containers: list[Object] = pod_of(workload)["containers"]
    (found,) = [each for each in containers if each["name"] == name]
    return found
