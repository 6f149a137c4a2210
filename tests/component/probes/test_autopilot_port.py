"""The agent's port for users of Autopilot, over HTTP on loopback."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.autopilot import ONE, TWO, Answer, Asks, AutopilotNode, got, speed

GOLDEN = Path(__file__).parent / "golden"
HEAD = "Checking system status of host gpu-1 (localhost) \n\n"


@pytest.fixture
def node(tmp_path: Path) -> AutopilotNode:
    """One whose users may have light checks run."""
    return AutopilotNode(tmp_path, autopilot_starts=True)


@pytest.fixture
def asks(node: AutopilotNode) -> Iterator[Asks]:
    with node.running() as client:
        yield client


def test_a_check_is_run_and_its_text_is_autopilots(node: AutopilotNode, asks: Asks) -> None:
    node.runner.found["pcie-bandwidth"] = (speed("pass", ONE, 55.2), speed("pass", TWO, 54.9))
    answer = asks.get("/status?host=gpu-1&check=pciebw")
    assert answer.text == (GOLDEN / "2.2-status-pciebw.txt").read_text()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert node.runner.asked_for() == [("pcie-bandwidth",)]


def test_without_a_check_the_periodic_ones_are_run(node: AutopilotNode, asks: Asks) -> None:
    node.runner.found["pcie-bandwidth"] = (speed("pass", ONE, 55.2),)
    node.runner.found["ping"] = (
        got("ping", "pass", "eth0", detail={"peer.1": "gpu-2 10.0.0.7 loss=0"}),
    )
    assert asks.get("/status?host=gpu-1").text == (GOLDEN / "2.2-status-all.txt").read_text()
    assert len(node.runner.asked_for()) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/pciebw", "Requesting pcie test with bw: 48\n"),
        ("/remapped", "Requesting Remapped Rows check on all GPUs\n"),
        ("/dcgm", "DCGM test\n"),
        ("/gpupower", "GPU Power Measurement test\n"),
        ("/ping", "Ping test\n"),
    ],
)
def test_each_check_has_its_path(node: AutopilotNode, asks: Asks, path: str, text: str) -> None:
    node.runner.found["pcie-bandwidth"] = (speed("pass", ONE, 55.2),)
    node.runner.found["ping"] = (
        got("ping", "pass", "eth0", detail={"peer.1": "gpu-2 10.0.0.7 loss=0"}),
    )
    answer = asks.get(path)
    assert answer.text.startswith(text)
    assert "SUCCESS" in answer.text or "success" in answer.text


def test_invasive_checks_are_told_and_never_begun(node: AutopilotNode, asks: Asks) -> None:
    for path in ("/gpumem", "/dcgm?r=3", "/status?host=gpu-1&check=gpumem,dcgm&r=3"):
        answer = asks.get(path)
        assert "ABORT" in answer.text
        assert "not measured in this boot yet" in answer.text
    assert node.runner.orders == []


def test_dcgm_has_four_levels(asks: Asks) -> None:
    assert "[[ DCGM ]] ABORT\nr=9: DCGM's levels are 1 to 4\n" in asks.get("/dcgm?r=9").text


def test_a_check_that_is_asked_for_again_is_not_run_again(node: AutopilotNode, asks: Asks) -> None:
    for _ in range(5):
        assert "SUCCESS" in asks.get("/remapped").text
    assert node.runner.asked_for() == [("gpu-remapped-rows",)]
    assert "measured at 20" in asks.get("/remapped").text


def test_those_who_ask_at_once_wait_for_one_run(node: AutopilotNode, asks: Asks) -> None:
    node.runner.gate.clear()
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(asks.get, "/remapped") for _ in range(6)]
        assert node.runner.began.wait(10)
        node.runner.gate.set()
        texts = [each.result().text for each in answers]
    assert all("[[ REMAPPED ROWS ]] SUCCESS" in text for text in texts)
    assert node.runner.asked_for() == [("gpu-remapped-rows",)]


def test_the_controllers_side_is_answered_while_a_check_runs(
    node: AutopilotNode, asks: Asks
) -> None:
    node.runner.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(asks.get, "/remapped") for _ in range(8)]
        assert node.runner.began.wait(10)
        assert asks.report()["node"] == "gpu-1"
        assert asks.get("/healthz", asks.own).status == 200
        node.runner.gate.set()
        assert all("SUCCESS" in each.result().text for each in waiting)


def test_by_itself_the_port_starts_nothing(node: AutopilotNode) -> None:
    with node.that(autopilot_starts=False).running() as asks:
        text = asks.get("/status?host=gpu-1").text
    assert text.startswith(HEAD)
    assert text.count("ABORT") == 5
    assert "SUCCESS" not in text
    assert node.runner.orders == []


def test_what_runs_by_itself_is_told_with_its_time(node: AutopilotNode) -> None:
    options = node.that(autopilot_starts=False, intervals={"light": 0.2})
    with options.running() as asks:
        pause = threading.Event()
        for _ in range(200):
            if "SUCCESS" in (text := asks.get("/remapped").text):
                break
            pause.wait(0.6)  # the port takes one question a second from an address
    assert "[[ REMAPPED ROWS ]] SUCCESS" in text
    assert "measured at 20" in text


def test_another_node_is_not_answered_for(asks: Asks) -> None:
    for query in ("", "?host=all", "?host=gpu-2", "?host=gpu-1,gpu-2", "?nodelabel=a=b"):
        answer = asks.get(f"/status{query}")
        assert answer.status == 421
        assert answer.text.startswith("Asking to run on remote node(s) ")
        assert "ABORT" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/invasive", 403), ("/iperf", 403), ("/iperfservers?numservers=8", 403),
     ("/iperfclients?dstip=10.0.0.7&dstport=5200&numclients=8", 403), ("/iperfstopservers", 200)],
)  # fmt: skip
def test_what_loads_others_or_needs_the_gpus_is_refused(
    node: AutopilotNode, asks: Asks, path: str, status: int
) -> None:
    answer = asks.get(path)
    assert answer.status == status
    assert ("ABORT" in answer.text) == (status == 403)
    assert node.runner.orders == []


def test_pvc_and_iperf_are_the_controllers(asks: Asks) -> None:
    text = asks.get("/status?host=gpu-1&check=pvc,iperf,nothing").text
    assert text == (GOLDEN / "2.2-status-not-here.txt").read_text()


def test_the_readiness_probe_is_autopilots(asks: Asks) -> None:
    answer = asks.get("/readinessprobe")
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == '{"Name":"readinessProbe","Body":"ready"}\n'


def test_metrics_are_the_agents_own(node: AutopilotNode, asks: Asks) -> None:
    asks.get("/remapped")
    text = asks.get("/metrics").text
    assert (
        'autopilot_health_checks{cpumodel="Intel(R) Xeon(R)",deviceid="1",gpumodel="N/A",'
        'health="remapped",node="gpu-1"} 0.0' in text
    )
    assert "konduktor_probe_build_info" in text


def test_who_asks_without_end_is_refused(asks: Asks) -> None:
    answers: list[Answer] = [asks.get("/gpumem") for _ in range(30)]
    late = [each for each in answers if each.status == 429]
    assert late
    assert "ABORT" in late[0].text
    assert int(late[0].headers["retry-after"]) >= 1


def test_a_run_that_nobody_asked_for_is_not_waited_for(asks: Asks) -> None:
    text = asks.get("/status?host=gpu-1&check=remapped&run=made-up").text
    assert "no such run was asked for" in text
    assert "ABORT" in text


@pytest.mark.parametrize(
    "path",
    ["/status?host=gpu-1&check=" + ",".join(f"c{n}" for n in range(40)), "/status?host=%00%0aFAIL",
     "/status?host=gpu-1&check=%0aSUCCESS", "/nothing"],
)  # fmt: skip
def test_odd_questions_get_a_plain_answer(asks: Asks, path: str) -> None:
    answer = asks.get(path)
    assert answer.status in (200, 404, 421, 422)
    assert "SUCCESS" not in answer.text
    assert "Traceback" not in answer.text


def test_only_get_is_answered(asks: Asks) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", asks.port, timeout=10)
    connection.request("POST", "/status?host=gpu-1", b"{}")
    assert connection.getresponse().status == 405
    connection.close()


def test_an_agent_that_ends_leaves_nobody_waiting(node: AutopilotNode) -> None:
    node.runner.gate.clear()
    failed = threading.Event()

    def ask(asks: Asks) -> None:
        try:
            asks.get("/remapped")
        except (OSError, http.client.HTTPException):
            failed.set()

    with node.running() as asks:
        thread = threading.Thread(target=ask, args=(asks,))
        thread.start()
        assert node.runner.began.wait(10)
    thread.join(20)
    assert not thread.is_alive()


def test_an_answer_may_take_long_and_a_request_may_not(
    node: AutopilotNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probes.agent.connections.EXCHANGE_S", 0.3)
    node.runner.gate.clear()
    with node.running() as asks, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(asks.get, "/remapped")
        assert node.runner.began.wait(10)
        with socket.create_connection(("127.0.0.1", asks.port), 10) as slow:
            slow.sendall(b"GET /status?host=gpu-1 HTTP/1.1\r\nhost: x\r\n")  # and no more
            assert slow.recv(100) == b""  # cut, while the other one waits on
        node.runner.gate.set()
        assert "SUCCESS" in waiting.result().text
