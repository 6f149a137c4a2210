"""Agents are told what only the controller knows, and few are told when one comes or goes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.telling import Peers, Teller, thresholds_of
from konduktor_health.errors import AgentUnavailable
from konduktor_health.model import NodeView
from probes.report import NodeSettings, settings_digest
from tests.support.builders import KEYS, NOW, node
from tests.support.memory_loki import FakeClock

NAMES = frozenset(f"gpu-{n}" for n in range(40))


def agent_of(name: str) -> AgentPod | None:
    if name not in NAMES:
        return None
    interfaces = (("eth0", (f"10.0.0.{name[4:]}",)), ("net1", (f"192.168.0.{name[4:]}",)))
    return AgentPod(name, name, name, "10.0.0.1", 9410, interfaces=interfaces)


class Scene:
    def __init__(self, **how: object) -> None:
        self.clock = FakeClock(NOW)
        self.sent: list[tuple[str, NodeSettings]] = []
        self.error: Exception | None = None
        self.names: frozenset[str] | None = NAMES
        self.teller = Teller(
            self._send,
            lambda: self.names,
            agent_of,
            KEYS,
            self.clock,
            **how,  # type: ignore[arg-type]
        )

    def _send(self, name: str, told: NodeSettings) -> None:
        self.sent.append((name, told))
        if self.error is not None:
            raise self.error

    def answers(self, view: NodeView, digest: str = "") -> None:
        self.teller.answered(view.name, view, digest)


def test_an_agent_is_told_until_its_report_says_so() -> None:
    scene, view = Scene(), node("gpu-1")
    scene.answers(view)
    ((name, told),) = scene.sent
    assert name == told.node == "gpu-1"
    scene.answers(view, settings_digest(told))
    scene.answers(view, settings_digest(told))
    assert len(scene.sent) == 1


def test_it_is_told_again_when_something_has_changed() -> None:
    scene = Scene()
    view = node("gpu-1")
    scene.answers(view)
    digest = settings_digest(scene.sent[0][1])
    scene.answers(node("gpu-1", labels=((KEYS.expected_gpus, "8"),)), digest)
    assert len(scene.sent) == 1, "not twice within a minute"
    scene.clock.advance(61)
    scene.answers(node("gpu-1", labels=((KEYS.expected_gpus, "8"),)), digest)
    assert scene.sent[1][1].expected_gpus == 8


def test_one_that_refuses_is_told_again_with_the_next_question() -> None:
    scene, view = Scene(), node("gpu-1")
    scene.error = AgentUnavailable("there is no signing key yet")
    for _ in range(3):
        scene.answers(view)
        scene.clock.advance(61)
    assert (len(scene.sent), dict(scene.teller.counted())) == (3, {"failed": 3})


def test_only_labels_that_matter_are_told() -> None:
    scene = Scene(labels=("nvidia.com/gpu.product",))
    labels = (("nvidia.com/gpu.product", "H100"), ("team", "secret-project"))
    scene.answers(node("gpu-1", labels=labels))
    assert scene.sent[0][1].labels == {"nvidia.com/gpu.product": "H100"}


def test_peers_are_told_with_the_addresses_of_all_their_interfaces() -> None:
    scene = Scene(peers=3)
    scene.answers(node("gpu-1"))
    peers = scene.sent[0][1].peers
    assert len(peers) == 3
    assert "gpu-1" not in peers
    assert all(set(interfaces) == {"eth0", "net1"} for interfaces in peers.values())


def test_until_the_agents_are_known_nobody_has_peers() -> None:
    scene = Scene()
    scene.names = None
    scene.answers(node("gpu-1"))
    assert scene.sent[0][1].peers == {}


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({}, {"pcie-bandwidth/h2d": 20.0}),
        ({"threshold.pcie-bandwidth.h2d": "12.5"}, {"pcie-bandwidth/h2d": 12.5}),
        ({"threshold.a.b": "1e3"}, {"a/b": 1000.0, "pcie-bandwidth/h2d": 20.0}),
        ({"threshold.pcie-bandwidth.h2d": "fast"}, {"pcie-bandwidth/h2d": 20.0}),
        ({"threshold.pcie-bandwidth.h2d": "nan"}, {"pcie-bandwidth/h2d": 20.0}),
        ({"threshold.pcie-bandwidth.h2d": "inf"}, {"pcie-bandwidth/h2d": 20.0}),
        ({"threshold.ping": "3"}, {"pcie-bandwidth/h2d": 20.0}),
    ],
)  # fmt: skip
def test_labels_override_thresholds_where_they_are_numbers(
    labels: Mapping[str, str], found: Mapping[str, float]
) -> None:
    pairs = tuple(sorted((f"{KEYS.prefix}/{key}", value) for key, value in labels.items()))
    assert thresholds_of(node(labels=pairs), KEYS, {"pcie-bandwidth/h2d": 20.0}) == found


@given(st.sets(st.text("abcdef", min_size=1, max_size=6), max_size=40), st.integers(0, 6))
def test_peers_are_others_and_as_many_as_there_can_be(names: set[str], many: int) -> None:
    peers, frozen = Peers(many), frozenset(names)
    for name in names:
        found = peers.of(name, frozen)
        assert name not in found
        assert set(found) <= frozen
        assert len(set(found)) == len(found) == min(many, len(names) - 1)


def test_an_agent_that_goes_changes_the_peers_of_a_few() -> None:
    names = frozenset(f"node-{n}" for n in range(500))
    before = {name: Peers(4).of(name, names) for name in names}
    left = names - {"node-7"}
    peers = Peers(4)
    changed = [name for name in left if peers.of(name, left) != before[name]]
    assert all("node-7" in before[name] for name in changed)
    assert 0 < len(changed) < 40
    assert {peer for found in before.values() for peer in found} == names, "all are measured"


def test_the_same_agents_told_anew_make_no_new_ring() -> None:
    """A rolling update tells the set again with each pod; sorting 10,000 each time is not free."""
    names = [f"node-{n}" for n in range(50)]
    peers = Peers(4)
    before = peers.of("node-1", frozenset(names))
    ring = peers._ring
    assert peers.of("node-1", frozenset(names)) == before
    assert peers._ring is ring
    assert peers.of("node-1", frozenset(names[:-1])) is not None
    assert peers._ring is not ring


def test_settings_that_cannot_be_told_are_logged_once() -> None:
    said: list[str] = []
    sink = logger.add(lambda message: said.append(str(message)), level="WARNING")
    key = "x" * 129
    scene, view = Scene(labels=(key,)), node("gpu-1", labels=((key, "1"),))
    for _ in range(3):
        scene.answers(view)
    logger.remove(sink)
    assert scene.sent == []
    assert len([each for each in said if "cannot be told" in each]) == 1
