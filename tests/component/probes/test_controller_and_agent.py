"""The controller's client and the agent's server understand each other, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.keys import Key, published
from konduktor_health.adapters.probes.orders import AgentOrders
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import SystemClock
from konduktor_health.errors import AgentRefused, AgentUnavailable
from probes.report import (
    KmsgQuestion,
    NodeSettings,
    Report,
    settings_digest,
    signed_bytes,
)
from tests.support.agent import GPU, NODE, AgentWorld, Client, found


class Pair:
    """A controller's client and an agent."""

    def __init__(self, world: AgentWorld, client: Client) -> None:
        self.world, self.port = world, client.port
        self.key = Key(world.key, 0)
        self.http = AgentHttp(SystemClock(), may_ask=lambda _: True)
        pod = AgentPod(NODE, "probe-x", "uid", "127.0.0.1", client.port, ready=True)
        self.orders = AgentOrders(lambda _: pod, self.http, self.sign, world.clock)  # type: ignore[arg-type]

    def sign(self, endpoint: str, body: bytes) -> str:
        return self.key.signature(signed_bytes(endpoint, body))

    def publish(self, *keys: Key) -> None:
        """What the controller's ConfigMap has, mounted."""
        for file in self.world.keys.iterdir():
            file.unlink()
        for name, content in published(keys).items():
            (self.world.keys / name).write_text(content)
        self.world.clock.seconds += 2

    def report(self, etag: str = "") -> tuple[int, str, Report | None]:
        answer = self.http.get(
            "127.0.0.1", self.port, "/v1/report", timeout_s=10, etag=etag, keep=True
        )
        told = Report.model_validate_json(answer.body) if answer.body else None
        return answer.status, answer.etag, told


@pytest.fixture
def pair(world: AgentWorld, client: Client) -> Iterator[Pair]:
    made = Pair(world, client)
    made.publish(made.key)
    yield made
    made.http.close()


def test_a_run_that_the_controller_asks_for_is_in_the_report(pair: Pair) -> None:
    pair.world.runner.found["gpu-health"] = (found("gpu-health", "fail", device=GPU),)
    accepted = pair.orders.run(NODE, checks=["gpu-health"])
    assert pair.world.made is not None
    pair.world.made.worker.step()
    _, etag, report = pair.report()
    assert report is not None
    (run,) = report.runs
    assert (run.run_id, run.cadence) == (accepted.run_id, "requested")
    assert [(each.device, each.outcome) for each in run.results] == [(GPU, "fail")]
    assert pair.report(etag) == (304, etag, None)


def test_settings_that_the_controller_tells_are_in_force(pair: Pair) -> None:
    told = NodeSettings(
        node=NODE, labels={"pool": "h100"}, expected_gpus=8, issued_ns=0, expires_ns=0,
        nonce="n" * 16, peers={"node-b": {"eth0": ("10.0.0.7",)}},
    )  # fmt: skip
    pair.orders.settings(NODE, told)
    _, _, report = pair.report()
    assert report is not None
    assert report.settings == settings_digest(told)


def test_a_kernel_line_is_confirmed_to_the_controller(pair: Pair) -> None:
    pair.world.ring.log("NVRM: Xid (PCI:0000:3b:00): 79, gone", 1_000_001)
    questions = [
        KmsgQuestion(text="NVRM: Xid (PCI:0000:3b:00): 79, gone", uptime_us=1_000_001),
        KmsgQuestion(text="NVRM: Xid (PCI:0000:5e:00): 79, gone", uptime_us=1_000_001),
    ]
    answers = pair.orders.kernel_log(NODE, questions, timeout_s=10).answers
    assert [each.answer for each in answers] == ["confirmed", "denied"]


def test_a_key_is_exchanged_without_a_request_that_is_refused(pair: Pair) -> None:
    new = Key(Ed25519PrivateKey.generate(), 1)
    pair.publish(pair.key, new)
    for key in (pair.key, new):
        pair.key = key
        pair.orders.run(NODE, checks=["driver"])
    pair.publish(new)
    pair.orders.run(NODE, checks=["driver"])
    pair.key = Key(pair.world.key, 0)
    with pytest.raises(AgentRefused) as refused:
        pair.orders.run(NODE, checks=["driver"])
    assert refused.value.status == 403


def test_refusals_are_told_with_their_reason(pair: Pair) -> None:
    with pytest.raises(AgentRefused, match="unheard-of"):
        pair.orders.run(NODE, checks=["unheard-of"])
    pair.publish()
    with pytest.raises((AgentRefused, AgentUnavailable), match="no public key"):
        pair.orders.run(NODE, checks=["driver"])
