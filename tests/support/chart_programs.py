"""What do the programs make of what the chart renders for them?"""

from __future__ import annotations

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

    monkeypatch.setattr(cli, "run_kmsg", take)
    dropped: list[bool] = []  # not really: pytest would lose its own
    monkeypatch.setattr("probes.privileges.drop_privileges", lambda _: dropped.append(True))
    monkeypatch.setenv("NODE_NAME", "gpu-1")
    (daemon_set,) = [each for each in found if each["kind"] == "DaemonSet"]
    (container,) = pod_of(daemon_set)["containers"]
    assert container["command"] == ["konduktor-probe"]
    assert cli.main(container["args"]) == 0
    assert dropped == [True]
    return taken[0]
