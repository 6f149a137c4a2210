"""What agents are asked to do: signed so that the agent's own code takes it, for one node, once."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import ValidationError

from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.keys import Key, published, rotated
from konduktor_health.adapters.probes.orders import VALID_S, AgentOrders
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import SystemClock
from konduktor_health.errors import AgentRefused, AgentUnavailable, LeadershipLost, NotFound
from probes.agent.clocks import HostClock
from probes.agent.files import StateDir
from probes.agent.keys import PublicKeys
from probes.agent.log import JsonLog
from probes.agent.nonces import Nonces
from probes.agent.refusals import Refusal
from probes.agent.signatures import Signatures
from probes.report import (
    SIGNATURE_HEADER,
    KmsgQuestion,
    NodeSettings,
    RunRequest,
    settings_digest,
    signed_bytes,
)
from tests.support.agents import AgentServer, answer

BOOT = "a" * 32


@dataclass
class Scene:
    """A controller's orders, and an agent that checks them with the agent's own code."""

    server: AgentServer
    orders: AgentOrders
    keys: tuple[Key, ...]
    taken: list[RunRequest | NodeSettings] = field(default_factory=list)
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)  # endpoint, header, body


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    keys = rotated((), SystemClock().now_ns(), rotate_s=0)
    mounted = tmp_path / "keys"
    mounted.mkdir()
    for name, pem in published(keys).items():
        (mounted / name).write_text(pem)
    clock = HostClock()
    log = JsonLog(io.StringIO(), clock)
    state = StateDir(str(tmp_path / "state"), log)
    held = PublicKeys(str(mounted), log, clock.monotonic)
    signatures = Signatures(held, Nonces(state, clock, grace_ns=0), clock, node="gpu-1")
    with AgentServer() as server:
        agent = AgentPod("gpu-1", "p", "u", server.address, server.port)
        orders = AgentOrders(
            lambda node: agent if node in ("gpu-1", "gpu-2") else None,
            AgentHttp(SystemClock(), may_ask=lambda _address: True),
            lambda endpoint, body: keys[0].signature(signed_bytes(endpoint, body)),
            SystemClock(),
            timeout_s=2.0,
        )
        found = Scene(server, orders, keys)
        server.behave = _agent(found, signatures)
        yield found


def _agent(scene: Scene, signatures: Signatures) -> Callable[[socket.socket, str], None]:
    def behave(connection: socket.socket, request: str) -> None:
        head, _, body = request.partition("\r\n\r\n")
        endpoint = head.split(" ")[1]
        name = SIGNATURE_HEADER.lower() + ": "
        header = next(
            (each[len(name) :] for each in head.split("\r\n") if each.lower().startswith(name)), ""
        )
        scene.requests.append((endpoint, header, body.encode()))
        model = RunRequest if endpoint == "/v1/run" else NodeSettings
        try:
            signatures.check(endpoint, header, body.encode())
            asked = model.model_validate_json(body)
            signatures.addressed(asked)
            signatures.take(asked)
        except Refusal as refusal:
            connection.sendall(answer(refusal.code.encode(), "403 Forbidden"))
            return
        scene.taken.append(asked)
        said = {"run_id": getattr(asked, "request_id", "")}
        connection.sendall(answer(json.dumps(said).encode(), "202 Accepted"))

    return behave


def test_the_agents_own_code_takes_what_we_sign(scene: Scene) -> None:
    accepted = scene.orders.run("gpu-1", tier="light")
    other = scene.orders.run(
        "gpu-1", checks=["pcie-bandwidth"], options={"iperf3.server": "10.0.0.7"}
    )
    tier, few = scene.taken
    assert isinstance(tier, RunRequest)
    assert isinstance(few, RunRequest)
    assert (tier.tier, tier.node, tier.request_id) == ("light", "gpu-1", accepted.run_id)
    assert accepted.run_id.startswith("tier-light-"), "a pass of it is one of the tier"
    assert not other.run_id.startswith("tier-")
    assert (few.checks, dict(few.options)) == (("pcie-bandwidth",), {"iperf3.server": "10.0.0.7"})
    assert 0 < tier.expires_ns - tier.issued_ns <= VALID_S * 10**9
    assert tier.nonce != few.nonce


def test_settings_are_taken_and_known_by_the_digest_that_the_agent_will_report(
    scene: Scene,
) -> None:
    told = NodeSettings(
        node="gpu-1", expected_gpus=8, thresholds={"pcie-bandwidth/h2d": 20.5},
        issued_ns=0, expires_ns=0, nonce="0" * 16,
    )  # fmt: skip
    scene.orders.settings("gpu-1", told)
    (taken,) = scene.taken
    assert isinstance(taken, NodeSettings)
    assert settings_digest(taken) == settings_digest(told)
    assert taken.nonce != told.nonce


def test_what_is_for_one_node_does_nothing_on_another(scene: Scene) -> None:
    with pytest.raises(AgentRefused, match="foreign_node"):
        scene.orders.run("gpu-2", tier="light")  # its address is gpu-1's by now
    assert scene.taken == []


def test_a_request_that_is_heard_again_or_for_another_purpose_is_refused(scene: Scene) -> None:
    scene.orders.run("gpu-1", tier="light")
    endpoint, header, body = scene.requests[0]
    http = AgentHttp(SystemClock(), may_ask=lambda _address: True)
    where = (scene.server.address, scene.server.port)
    for path, code in ((endpoint, "replayed"), ("/v1/settings", "bad_signature")):
        with pytest.raises(AgentRefused, match=code):
            http.post(*where, path, body, timeout_s=2, headers={SIGNATURE_HEADER: header})
    assert len(scene.taken) == 1


def test_a_key_that_agents_do_not_hold_signs_nothing_that_they_take(scene: Scene) -> None:
    foreign = rotated((), 0, rotate_s=0)[0]
    scene.orders._sign = lambda endpoint, body: foreign.signature(signed_bytes(endpoint, body))
    with pytest.raises(AgentRefused, match="bad_signature"):
        scene.orders.run("gpu-1", tier="light")


def test_a_node_without_an_agent_cannot_be_asked(scene: Scene) -> None:
    with pytest.raises(NotFound, match="no agent runs there"):
        scene.orders.run("gpu-9", tier="light")


def test_what_no_request_can_say_is_not_sent(scene: Scene) -> None:
    with pytest.raises(ValidationError):
        scene.orders.run("gpu-1", checks=["Not A Name"])
    assert scene.requests == []


def test_one_that_does_not_lead_any_more_asks_for_nothing(scene: Scene) -> None:
    def lost() -> None:
        raise LeadershipLost("another one leads")

    scene.orders._assert_leader = lost
    with pytest.raises(LeadershipLost):
        scene.orders.run("gpu-1", tier="light")
    assert scene.requests == []


# ---------------------------------------------------------------- the kernel log


def test_the_kernel_log_is_asked_about(scene: Scene) -> None:
    said = {"boot_id": BOOT, "answers": [{"answer": "denied", "reason": "no such record"}]}
    scene.server.behave = lambda c, _: c.sendall(answer(json.dumps(said).encode()))
    question = KmsgQuestion(boot_id=BOOT, uptime_us=7, text="NVRM: Xid")
    found = scene.orders.kernel_log("gpu-1", [question], timeout_s=2)
    assert [each.answer for each in found.answers] == ["denied"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"boot_id": "x", "answers": []}',
        json.dumps({"boot_id": BOOT, "answers": []}).encode(),
    ],
)
def test_an_answer_that_does_not_fit_the_questions_is_none(scene: Scene, body: bytes) -> None:
    scene.server.behave = lambda c, _: c.sendall(answer(body))
    with pytest.raises(AgentUnavailable):
        scene.orders.kernel_log("gpu-1", [KmsgQuestion(text="x")], timeout_s=2)
