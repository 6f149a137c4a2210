"""Which rounds does a controller make, as it is set?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from konduktor_health import settings
from konduktor_health.core.pair_tests import Kind
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.controller import Controller
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.runtime.wiring import build

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
users: [{name: c, user: {}}]
"""


def made(folder: Path, *, dry_run: bool = False, **probes: Any) -> Controller:
    path = folder / "kubeconfig"
    path.write_text(KUBECONFIG, encoding="utf-8")
    flags: Mapping[str, Any] = {
        "cluster": {"kubeconfig": path},
        "probes": probes,
        "http": {"enabled": False},
    }
    return build(settings.load(flags=flags, environ={}), dry_run=dry_run)


def rounds_of(controller: Controller) -> Rounds | None:
    return next((part for part in controller.aside if isinstance(part, Rounds)), None)


def kinds(controller: Controller) -> set[Kind]:
    rounds = rounds_of(controller)
    return set() if rounds is None else set(rounds._courses)


def test_by_default_nodes_ping_each_other_and_nothing_loads_the_network(tmp_path: Path) -> None:
    assert kinds(made(tmp_path)) == {Kind.PING}


def test_each_kind_can_be_switched_on_and_off(tmp_path: Path) -> None:
    wanted = {"interval_s": 0, "bandwidth_interval_s": 86400, "nccl_interval_s": 86400}
    assert kinds(made(tmp_path, rounds=wanted)) == {Kind.BANDWIDTH, Kind.NCCL}
    assert kinds(made(tmp_path, rounds={"interval_s": 0})) == set()


def test_a_dry_run_and_one_without_agents_ask_nobody(tmp_path: Path) -> None:
    assert rounds_of(made(tmp_path, dry_run=True)) is None
    assert rounds_of(made(tmp_path, enabled=False)) is None


def test_what_is_found_is_decided_on_and_stored(tmp_path: Path) -> None:
    controller = made(tmp_path)
    rounds = rounds_of(controller)
    assert rounds is not None
    assert controller.loop.situation.pairs is rounds.findings
    assert rounds in controller.loop.followers
    assert controller.checkpoint._parts["rounds"] is rounds


@pytest.mark.parametrize("wrong", [{"nodes": "a in"}, {"shape": "star"}, {"interval_s": -1}])
def test_a_wrong_setting_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"probes.rounds.{next(iter(wrong))}"):
        made(tmp_path, rounds=wrong)
