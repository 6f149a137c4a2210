"""What the agent answers over HTTP: its real server on loopback."""

from __future__ import annotations

import json
import select
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.agent import connections
from probes.agent.build import Surroundings, build
from probes.registry import CHECKS
from probes.report import (
    LONGEST_VALIDITY_S,
    MOST_BODY_BYTES,
    SIGNATURE_HEADER,
    CheckInfo,
    KmsgAnswers,
    NodeSettings,
    Report,
    Result,
    RunAccepted,
    settings_digest,
)
from tests.support.agent import GPU, NODE, AgentWorld, Client, eventually, found

SIGNED = ("/v1/run", "/v1/settings")
BODIES: dict[str, dict[str, Any]] = {
    "/v1/run": {"request_id": "r1", "checks": ["gpu-health"]},
    "/v1/settings": {"expected_gpus": 8},
}
S = 1_000_000_000


def ran(world: AgentWorld, times: int = 3) -> None:
    """Let some runs be due."""
    made = world.made or world.start()
    for _ in range(times):
        made.worker.step()
        world.clock.seconds += 400


# ---------------------------------------------------------------- reading


def test_the_report_is_that_of_the_schema(world: AgentWorld, client: Client) -> None:
    ran(world)
    answer = client.get("/v1/report")
    report = Report.model_validate_json(answer.body)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (report.node, report.agent, len(report.runs)) == (NODE, "1.2.3", 3)


@pytest.mark.parametrize("sent", ["{}", "W/{}", '"other", {}', "*"])
def test_a_client_that_has_the_report_is_told_so_until_a_run_ends(
    world: AgentWorld, client: Client, sent: str
) -> None:
    etag = client.get("/v1/report").headers["etag"]
    known = {"If-None-Match": sent.format(etag)}
    same = client.call("GET", "/v1/report", headers=known)
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    ran(world)
    assert client.call("GET", "/v1/report", headers=known).status == (304 if sent == "*" else 200)


def test_the_checks_are_listed(world: AgentWorld, client: Client) -> None:
    ran(world, 1)
    listed = [CheckInfo.model_validate(each) for each in client.get("/v1/checks").json()]
    assert [each.name for each in listed] == ["driver", "gpu-health", "pcie-bandwidth", "dcgm-3"]
    assert [each.last for each in listed] == ["pass", None, None, None]
    assert [each.interval_s for each in listed] == [0, 60, 3600, 14400]


def test_the_history_of_a_check_is_newest_first_and_bounded(
    world: AgentWorld, client: Client
) -> None:
    for number in range(5):
        world.runner.found["gpu-health"] = (found("gpu-health", "pass", message=f"run {number}"),)
        world.clock.seconds += 100
        (world.made or world.start()).worker.step()
        (world.made or world.start()).worker.step()
    results = [
        Result.model_validate(each)
        for each in client.get("/v1/history?check=gpu-health&limit=2").json()
    ]
    assert [each.message for each in results] == ["run 4", "run 3"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "invalid"), ("?check=", "invalid"), ("?check=UPPER", "invalid"),
        ("?check=gpu-health&limit=0", "invalid"), ("?check=gpu-health&limit=x", "invalid"),
        ("?check=gpu-health&limit=501", "invalid"), ("?check=unheard-of", "not_found"),
    ],
)  # fmt: skip
def test_a_wrong_question_of_the_history_says_what_is_wrong(
    client: Client, query: str, code: str
) -> None:
    answer = client.get(f"/v1/history{query}")
    assert (answer.status, answer.code) == (404 if code == "not_found" else 422, code)
    assert answer.json()["error"]["hint"]


def test_unknown_paths_and_methods_are_refused_in_the_same_form(client: Client) -> None:
    assert (client.get("/nope").status, client.get("/nope").code) == (404, "not_found")
    answer = client.call("DELETE", "/v1/report")
    assert (answer.status, answer.code, answer.headers["allow"]) == (
        405,
        "method_not_allowed",
        "GET",
    )


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_no_page_comes_from_elsewhere(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_health_and_readiness(world: AgentWorld, client: Client) -> None:
    assert client.get("/healthz").body == b"ok\n"
    assert client.get("/readyz").status == 200
    world.ring.openable = False
    assert world.made is not None
    world.made.chores.step()
    answer = client.get("/readyz")
    assert (answer.status, b"hint: " in answer.body) == (503, True)
    assert client.get("/healthz").status == 200


# ---------------------------------------------------------------- signatures


@pytest.mark.parametrize("path", SIGNED)
def test_what_is_not_signed_is_refused_and_does_nothing(
    world: AgentWorld, client: Client, path: str
) -> None:
    answer = client.post(path, world.request(**BODIES[path]))
    assert (answer.status, answer.code) == (401, "unsigned")
    assert answer.headers["www-authenticate"]
    nothing_happened(world)


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize(
    "header", ["x", ":", "a:b", "controller:AAAA", f"controller:{'A' * 88}", "é:ü", ":" * 200]
)
def test_what_is_no_signature_is_refused(
    world: AgentWorld, client: Client, path: str, header: str
) -> None:
    raw = json.dumps(world.request(**BODIES[path])).encode()
    answer = client.post(path, raw, {SIGNATURE_HEADER: header})
    assert (answer.status, answer.code) == (403, "bad_signature")
    nothing_happened(world)


@pytest.mark.parametrize("path", SIGNED)
def test_a_signature_of_another_key_body_or_endpoint_is_refused(
    world: AgentWorld, client: Client, path: str
) -> None:
    raw = json.dumps(world.request(**BODIES[path])).encode()
    other = {"/v1/run": "/v1/settings", "/v1/settings": "/v1/run"}[path]
    for body, header in [
        (raw, world.signature(path, raw, Ed25519PrivateKey.generate())),
        (raw + b" ", world.signature(path, raw)),
        (raw, world.signature(other, raw)),
    ]:
        answer = client.post(path, body, header)
        assert (answer.status, answer.code) == (403, "bad_signature")
    nothing_happened(world)


@pytest.mark.parametrize("path", SIGNED)
def test_a_request_for_another_node_is_refused(
    world: AgentWorld, client: Client, path: str
) -> None:
    answer = client.signed(path, **{**BODIES[path], "node": "node-b"})
    assert (answer.status, answer.code) == (403, "foreign_node")
    nothing_happened(world)


@pytest.mark.parametrize("path", SIGNED)
@pytest.mark.parametrize(
    ("issued_s", "expires_s"),
    [
        (-100, -31), (31, 60), (0, 0), (0, -1), (0, LONGEST_VALIDITY_S + 1),
        (-400, 10), (-(10**9), 10**9),
    ],
)  # fmt: skip
def test_a_request_that_is_not_good_now_is_refused(
    world: AgentWorld, client: Client, path: str, issued_s: int, expires_s: int
) -> None:
    now = world.clock.now_ns()
    times = {"issued_ns": now + int(issued_s * S), "expires_ns": now + int(expires_s * S)}
    answer = client.signed(path, **{**BODIES[path], **times})
    assert (answer.status, answer.code) == (403, "expired")
    nothing_happened(world)


@pytest.mark.parametrize("offset_s", [-29, 29])
def test_clocks_may_be_half_a_minute_apart(
    world: AgentWorld, client: Client, offset_s: int
) -> None:
    issued = world.clock.now_ns() + offset_s * S
    answer = client.signed("/v1/settings", issued_ns=max(issued, world.clock.now_ns()),
                           expires_ns=issued + 60 * S)  # fmt: skip
    assert answer.status == 204


@pytest.mark.parametrize("path", SIGNED)
def test_a_request_is_taken_once_also_over_a_restart(world: AgentWorld, path: str) -> None:
    raw = json.dumps(world.request(**BODIES[path])).encode()
    header = world.signature(path, raw)
    with world.serving() as client:
        assert client.post(path, raw, header).status in (202, 204)
        assert client.post(path, raw, header).code == "replayed"
    world.start()
    with world.serving() as client:
        answer = client.post(path, raw, header)
    assert (answer.status, answer.code) == (409, "replayed")


@pytest.mark.parametrize("path", SIGNED)
def test_an_agent_that_cannot_tell_what_was_taken_says_when_it_can(
    world: AgentWorld, path: str
) -> None:
    (Path(world.options.state) / "nonces.json").unlink()
    with world.serving() as client:
        answer = client.signed(path, **BODIES[path])
        assert (answer.status, answer.code) == (503, "uncertain")
        assert answer.headers["retry-after"] == "30"
        nothing_happened(world)
        world.clock.seconds += 31
        assert client.signed(path, **BODIES[path]).status in (202, 204)


def test_without_a_key_nothing_signed_is_taken_and_it_is_said_what_to_do(
    world: AgentWorld, client: Client
) -> None:
    (world.keys / "controller.pem").unlink()
    for path in SIGNED:
        answer = client.signed(path, **BODIES[path])
        assert (answer.status, answer.code) == (503, "no_keys")
        assert "--keys" in answer.json()["error"]["hint"]


def test_a_request_whose_nonce_cannot_be_kept_is_refused(world: AgentWorld, client: Client) -> None:
    part = Path(world.options.state) / "nonces.json.part"
    part.mkdir()
    answer = client.signed("/v1/run", **BODIES["/v1/run"])
    assert (answer.status, answer.code) == (503, "state_unwritable")
    nothing_happened(world)
    part.rmdir()
    assert client.signed("/v1/run", **BODIES["/v1/run"]).status == 202


def nothing_happened(world: AgentWorld) -> None:
    """Neither a run nor settings came of it."""
    assert world.made is not None
    world.made.worker.step()  # the boot run
    assert [order.cadence for order in world.runner.orders] in (["boot"], [])
    assert not (Path(world.options.state) / "settings.json").exists()


# ---------------------------------------------------------------- what signed requests do


def test_a_run_that_was_asked_for_is_told_under_its_id(world: AgentWorld, client: Client) -> None:
    answer = client.signed("/v1/run", request_id="r-1", checks=["gpu-health"], tier="boot")
    assert answer.status == 202
    assert RunAccepted.model_validate_json(answer.body) == RunAccepted(run_id="r-1", queued=0)
    ran(world, 1)
    run = Report.model_validate_json(client.get("/v1/report").body).runs[0]
    assert (run.run_id, run.cadence, run.reason) == ("r-1", "requested", "request r-1")
    assert [result.check for result in run.results] == ["driver", "gpu-health"]


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"checks": ["unheard-of"]}, 422, "unknown_check"),
        ({"checks": []}, 422, "invalid"),
        ({"checks": ["gpu-health"], "options": {"driver.x": "1"}}, 422, "invalid"),
        ({"checks": ["gpu-health"], "options": {"gpu-health": "1"}}, 422, "invalid"),
        ({"checks": "gpu-health"}, 422, "invalid"),
        ({"checks": ["gpu-health"], "tier": "heavy"}, 422, "invalid"),
        ({"checks": ["gpu-health"], "nonce": "short"}, 422, "invalid"),
        ({"checks": ["gpu-health"], "issued_ns": "now"}, 422, "invalid"),
        ({"checks": ["gpu-health"], "request_id": "../../etc/passwd"}, 422, "invalid"),
    ],
)  # fmt: skip
def test_a_wrong_request_says_what_is_wrong_and_may_be_sent_again(
    world: AgentWorld, client: Client, members: dict[str, Any], status: int, code: str
) -> None:
    answer = client.signed("/v1/run", **{"request_id": "r1", **members})
    assert (answer.status, answer.code) == (status, code)
    assert client.signed("/v1/run", request_id="r1", checks=["gpu-health"]).status == 202
    assert len(world.runner.orders) == 0


@pytest.mark.parametrize(
    "option",
    ["dcgm-1.program", "dcgm-1.host", "nccl-pair.rsh-agent", "nccl-pair.mpirun",
     "nccl-pair.program", "disk.paths", "ping.unheard-of"],
)  # fmt: skip
def test_what_a_check_runs_and_whom_it_trusts_is_not_taken_from_a_request(
    world: AgentWorld, option: str
) -> None:
    world.specs = tuple(check.spec for check in CHECKS)
    with world.serving() as client:
        checks = [option.partition(".")[0]]
        asked = {"checks": checks, "options": {option: "/tmp/evil", "ping.peer": "b"}}
        answer = client.signed("/v1/run", request_id="r1", **asked | {"checks": [*checks, "ping"]})
        assert (answer.status, answer.code) == (422, "not_for_requests")
        assert option in answer.json()["error"]["message"]
        assert world.runner.orders == []
        fits = {
            "checks": ["ping"],
            "options": {"ping.peer": "b", "ping.addresses": "eth0=10.0.0.7"},
        }
        assert client.signed("/v1/run", request_id="r1", **fits).status == 202


def test_a_request_can_set_no_option_that_names_a_program_or_a_service() -> None:
    taken = {check.spec.name: check.spec.request_options for check in CHECKS}
    assert {name for name, options in taken.items() if options} == {
        "ping", "iperf3-client", "iperf3-server", "nccl-pair",
    }  # fmt: skip
    assert not set().union(*taken.values()) & {"program", "mpirun", "rsh-agent", "host", "paths"}


def test_invasive_work_is_refused_while_a_gpu_is_busy(world: AgentWorld, client: Client) -> None:
    world.runner.found["driver"] = (found("driver", "pass", device=GPU, busy=True),)
    ran(world, 1)
    for what in ({"checks": ["dcgm-3"]}, {"tier": "invasive"}):
        answer = client.signed("/v1/run", request_id="r1", **what)
        assert (answer.status, answer.code) == (409, "gpus_busy")
        assert GPU in answer.json()["error"]["message"]
    assert client.signed("/v1/run", request_id="r2", checks=["gpu-health"]).status == 202
    world.runner.found["driver"] = (found("driver", "pass", device=GPU, busy=False),)
    client.signed("/v1/run", request_id="r3", checks=["driver"])
    ran(world, 2)
    assert client.signed("/v1/run", request_id="r4", checks=["dcgm-3"]).status == 202


def test_a_run_id_is_taken_once_also_over_a_restart(world: AgentWorld) -> None:
    with world.serving() as client:
        client.signed("/v1/run", request_id="r1", checks=["gpu-health"])
        answer = client.signed("/v1/run", request_id="r1", checks=["gpu-health"])
        assert (answer.status, answer.code) == (409, "known_run")
        ran(world, 1)
    world.start()
    with world.serving() as client:
        assert client.signed("/v1/run", request_id="r1", checks=["driver"]).code == "known_run"


def test_a_full_queue_says_when_to_come_again(world: AgentWorld, client: Client) -> None:
    answers = []
    for number in range(18):
        world.clock.seconds += 3  # within the rate
        answers.append(client.signed("/v1/run", request_id=f"r{number}", checks=["gpu-health"]))
    assert [answer.status for answer in answers] == [202] * 16 + [503] * 2
    assert answers[-1].code == "queue_full"
    assert int(answers[-1].headers["retry-after"]) > 0


def test_settings_are_in_force_and_told_by_their_digest(world: AgentWorld, client: Client) -> None:
    body = world.request(
        expected_gpus=8, labels={"pool": "h100"}, peers={"node-b": {"eth0": ["10.0.0.7"]}}
    )
    raw = json.dumps(body).encode()
    assert client.post("/v1/settings", raw, world.signature("/v1/settings", raw)).status == 204
    digest = settings_digest(NodeSettings.model_validate(body))
    first = client.get("/v1/report")
    assert first.json()["settings"] == digest
    client.signed("/v1/settings", **{k: body[k] for k in ("expected_gpus", "labels", "peers")})
    assert client.get("/v1/report").headers["etag"] == first.headers["etag"]  # the same again
    client.signed("/v1/settings", expected_gpus=4)
    assert client.get("/v1/report").json()["settings"] != digest


def test_settings_never_go_back(world: AgentWorld, client: Client) -> None:
    now = world.clock.now_ns()
    assert client.signed("/v1/settings", issued_ns=now + S, expires_ns=now + 9 * S).status == 204
    answer = client.signed("/v1/settings", expected_gpus=1)
    assert (answer.status, answer.code) == (409, "older_settings")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", '"1.5"', "true"])
def test_a_threshold_that_is_no_number_is_refused(
    world: AgentWorld, client: Client, value: str
) -> None:
    text = json.dumps(world.request(thresholds={"a/b": 77.25})).replace("77.25", value)
    raw = text.encode()
    answer = client.post("/v1/settings", raw, world.signature("/v1/settings", raw))
    assert (answer.status, answer.code) == (422, "invalid")
    assert "thresholds" in answer.json()["error"]["message"] or value == "Infinity"


# ---------------------------------------------------------------- bodies, rates, connections


def test_a_record_of_the_ring_is_confirmed_over_http(world: AgentWorld, client: Client) -> None:
    world.ring.log("NVRM: Xid (PCI:0000:3b:00): 79, gone", 1_000_001)
    questions = [
        {"text": "NVRM: Xid (PCI:0000:3b:00): 79, gone", "uptime_us": 1_000_001},
        {"text": "NVRM: Xid (PCI:0000:3b:00): 48, gone", "uptime_us": 1_000_001},
    ]
    answer = client.post("/v1/kmsg", {"questions": questions})
    answers = KmsgAnswers.model_validate_json(answer.body).answers
    assert [each.answer for each in answers] == ["confirmed", "denied"]


@pytest.mark.parametrize("path", [*SIGNED, "/v1/kmsg"])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    world: AgentWorld, client: Client, path: str
) -> None:
    answer = client.call("POST", path, b"x" * (MOST_BODY_BYTES + 1))
    assert (answer.status, answer.code) == (413, "too_large")
    with socket.create_connection(("127.0.0.1", client.port), 10) as raw:  # without a length
        raw.sendall(
            f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        head = b""
        try:
            for _ in range(40):
                raw.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            head = raw.recv(100)
        except OSError:  # cut while it was still sending
            return
    assert head.startswith(b"HTTP/1.1 413") or head == b""


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"questions":[]}', b"\xff\xfe",
     b'{"questions":5}', b'{"questions":[{"text":""}]}',
     json.dumps({"questions": [{"text": "x"}] * 257}).encode()],
    ids=range(10),
)  # fmt: skip
def test_a_body_that_does_not_fit_is_refused(client: Client, body: bytes) -> None:
    answer = client.call("POST", "/v1/kmsg", body)
    assert (answer.status, answer.code) == (422, "invalid")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200), path=st.sampled_from([*SIGNED, "/v1/kmsg"]))
def test_no_body_is_a_fault_of_the_agent(
    world: AgentWorld, client: Client, body: bytes, path: str
) -> None:
    world.clock.seconds += 10
    for headers in ({}, world.signature(path, body)):
        answer = client.post(path, body, headers)
        assert answer.status in (200, 401, 422), (body, answer)


def test_who_asks_too_often_is_told_when_to_come_again(world: AgentWorld, client: Client) -> None:
    answers = [client.get("/v1/history?check=driver") for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert answers[-1].code == "rate_limited"
    world.clock.seconds += int(answers[-1].headers["retry-after"])
    assert client.get("/v1/history?check=driver").status == 200
    assert client.get("/healthz").status == 200


def test_a_fault_of_the_agent_tells_nothing_of_its_insides(
    world: AgentWorld, client: Client
) -> None:
    assert world.made is not None
    del world.made.board.told
    answer = client.get("/v1/report")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"told" not in answer.body
    assert "a request failed" in world.log.warnings()


def test_slow_clients_are_cut_and_keep_nobody_out(
    world: AgentWorld, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_S", 0.5)
    slow = [socket.create_connection(("127.0.0.1", client.port), 10) for _ in range(30)]
    try:
        for each in slow[:10]:
            each.sendall(b"GET /v1/report HTTP/1.1\r\nHost")  # and no more
        for each in slow[10:]:
            each.settimeout(10)
        assert all(closed(each) for each in slow)
    finally:
        for each in slow:
            each.close()
    eventually(lambda: client.get("/healthz").status == 200)


def test_one_address_gets_its_share_of_connections_and_no_more(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_S", 30)
    held = [socket.create_connection(("127.0.0.1", client.port), 10) for _ in range(40)]
    try:
        eventually(lambda: len(held) - len(select.select(held, [], [], 0.1)[0]) < 17)
        ended = select.select(held, [], [], 0.1)[0]
        assert all(closed(each) for each in ended)
        assert len(held) - len(ended) == connections.MOST_OF_ONE
    finally:
        for each in held:
            each.close()
    eventually(lambda: client.get("/healthz").status == 200)


def closed(connection: socket.socket, seconds: float = 10.0) -> bool:
    """Whether the other side has closed it."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_what_is_no_http_is_answered_with_400(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), 10) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert raw.recv(20).startswith(b"HTTP/1.1 400")


# ---------------------------------------------------------------- the whole agent


def test_an_agent_runs_checks_answers_and_ends_in_seconds(world: AgentWorld) -> None:
    around = Surroundings(runner=world.runner, clock=world.clock, log=world.log,
                          open_ring=world.ring.open)  # fmt: skip
    agent = build(world.options, world.specs, around)
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(agent.run()))
    thread.start()
    try:
        client = Client(world, agent.port)
        eventually(lambda: len(client.get("/v1/report").json()["runs"]) >= 1)
        world.runner.gate.clear()  # a run that hangs
        world.runner.began.clear()
        assert client.signed("/v1/run", request_id="r1", checks=["gpu-health"]).status == 202
        assert world.runner.began.wait(10)
        assert client.get("/v1/report").status == 200
    finally:
        agent.stop()
        thread.join(10)
    assert ended == [True]
    assert world.runner.stopped


def test_a_part_that_ends_by_itself_ends_the_agent(world: AgentWorld) -> None:
    around = Surroundings(runner=world.runner, clock=world.clock, log=world.log,
                          open_ring=world.ring.open)  # fmt: skip
    agent = build(world.options, world.specs, around)
    agent._worker.stop()
    assert agent.run() is False
    assert "a part of the agent has ended by itself" in world.log.warnings()
