"""Log, metrics and pages: bounded, printable, once."""

from __future__ import annotations

import http.client
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from konduktor_health.errors import ClusterUnavailable, ConfigError
from konduktor_health.model import Hold, HoldReason, Plan
from konduktor_health.ports import SourceStatus
from konduktor_health.runtime import log
from konduktor_health.runtime.apply import Outcome
from konduktor_health.runtime.http import StatusServer
from konduktor_health.runtime.metrics import MAX_FAULT_IDS, Metrics
from konduktor_health.runtime.report import Report, Trouble
from tests.support.world import World


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield stream
    logger.remove()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("form", ["json", "text"])
def test_hostile_text_stays_one_printable_line(out: io.StringIO, form: str) -> None:
    log.set_up(debug=False, form=form, stream=out)
    hostile = "a\x1b[31m\nb\u202e{0}\ud800" + "x" * 10_000
    logger.bind(node=hostile, evidence=[hostile]).info(hostile)
    (line,) = out.getvalue().splitlines()
    assert line.isprintable()
    assert len(line) < 4 * log.LINE_LIMIT
    if form == "json":
        assert "\x1b" not in json.loads(line)["evidence"][0]


@pytest.mark.parametrize("form", ["json", "text"])
def test_exception_is_told_with_its_place_and_without_values(out: io.StringIO, form: str) -> None:
    log.set_up(debug=False, form=form, stream=out)
    token = "secret-" + "token"

    def breaks(value: str) -> None:
        raise KeyError("what")

    try:
        breaks(token)
    except KeyError as error:
        logger.opt(exception=error).error("bug")
    said = out.getvalue()
    assert "KeyError('what')" in said
    assert "test_what_is_said.py" in said
    assert "breaks" in said
    assert token not in said
    assert len(said.splitlines()) == 1


def test_library_warning_with_odd_level_or_arguments_does_no_harm(out: io.StringIO) -> None:
    log.set_up(debug=False, form="json", stream=out)
    logging.getLogger("lib").log(35, "between levels")
    logging.getLogger("lib").error("needs %d", "text")
    assert [(line["level"], line["logger"]) for line in lines(out)] == [
        ("warning", "lib"),
        ("error", "lib"),
    ]


def test_holds_and_failures_are_told_once_and_again_when_they_change(out: io.StringIO) -> None:
    log.set_up(debug=False, form="json", stream=out)
    report = Report(Metrics())
    both = (
        Hold("gpu-1", HoldReason.BUDGET, "3 of 3"),
        Hold("gpu-1", HoldReason.REPEAT, "counts only"),
    )
    outcome = Outcome(failed={"gpu-2": ClusterUnavailable("down")})
    for _ in range(50):
        report.plan(Plan(both), outcome, dry_run=False)
    assert [line["message"] for line in lines(out)] == ["held: 3 of 3", "write failed: down"]
    report.plan(Plan((Hold("gpu-1", HoldReason.RATE, "10 a minute"),)), Outcome(), dry_run=False)
    report.plan(Plan(settled=frozenset({"gpu-1"})), Outcome(), dry_run=False)
    report.plan(Plan(both[:1]), Outcome(), dry_run=False)
    assert [line["message"] for line in lines(out)[2:]] == ["held: 10 a minute", "held: 3 of 3"]
    samples = report.metrics.render().decode()
    assert 'konduktor_health_holds_total{reason="BudgetExhausted"} 2.0' in samples


def test_what_a_source_says_is_told_when_it_changes(out: io.StringIO) -> None:
    log.set_up(debug=False, form="json", stream=out)
    report = Report(Metrics())
    for _ in range(3):
        report.source(SourceStatus("kmsg", ok=True, message="2 entries not understood"))
    for _ in range(3):
        report.source(SourceStatus("kmsg", ok=False, message="refused", hint="is Loki up?"))
    report.source(SourceStatus("kmsg", ok=True))
    assert [(line["level"], line["message"]) for line in lines(out)] == [
        ("info", "2 entries not understood"),
        ("warning", "refused"),
        ("info", "source is read again"),
    ]
    assert report.troubles() == []


def test_codes_from_log_lines_become_a_bounded_number_of_labels() -> None:
    world = World(1)
    for start in range(0, 3 * MAX_FAULT_IDS, 500):
        texts = [f"NVRM: Xid (PCI:0000:3b:00): {70_000 + start + n}, x" for n in range(500)]
        world.hear(*[world.line("gpu-0", text) for text in texts])
    samples = world.report.metrics.render().decode()
    series = [line for line in samples.splitlines() if line.startswith("konduktor_health_faults_")]
    assert len(series) < 2 * MAX_FAULT_IDS + 10
    total = sum(float(line.rsplit(" ", 1)[1]) for line in series if "_total{" in line)
    assert total == 3 * MAX_FAULT_IDS
    assert 'fault_id="other"' in samples


def test_names_that_are_no_node_are_told_once_and_bounded(out: io.StringIO) -> None:
    log.set_up(debug=False, form="json", stream=out)
    world = World(1)
    for _ in range(3):
        world.hear(*[world.line(f"x{n}") for n in range(1500)])
    told = [line for line in lines(out) if "no Node" in line["message"]]
    assert len(told) == len(world.observer.unknown_names) == 1000
    assert "konduktor_health_unknown_node_lines 4500.0" in world.report.metrics.render().decode()


class Page:
    def __init__(self) -> None:
        self.alive = True
        self.troubles: list[Trouble] = []
        self.server = StatusServer(
            Metrics(),
            alive=lambda: self.alive,
            troubles=lambda: self.troubles,
            host="127.0.0.1",
            port=0,
        )

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    made.server.start()
    yield made
    made.server.stop()


def test_pages(page: Page) -> None:
    assert page.get("/healthz") == (200, "ok\n")
    assert page.get("/readyz?verbose") == (200, "ready\n")
    status, text = page.get("/metrics")
    assert (status, "konduktor_health_managed_nodes" in text) == (200, True)
    assert page.get("/")[0] == 404
    assert page.get("/metrics", "POST")[0] == 501


def test_trouble_is_shown_with_its_hint_and_without_control_characters(page: Page) -> None:
    page.alive = False
    page.troubles = [Trouble("source x: \x1b[31mdown", "look\rthere"), Trouble("more")]
    assert page.get("/healthz")[0] == 503
    assert page.get("/readyz") == (
        503,
        "not ready: source x:  [31mdown\nhint: look there\nnot ready: more\n",
    )


def test_server_that_was_never_started_can_be_stopped() -> None:
    made = Page()
    stopping = threading.Thread(target=made.server.stop, daemon=True)
    stopping.start()
    stopping.join(5)
    assert not stopping.is_alive()


def test_port_in_use_is_a_configuration_error(page: Page) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        StatusServer(
            Metrics(),
            alive=lambda: True,
            troubles=list,
            host="127.0.0.1",
            port=page.server.port,
        )


def test_client_that_hangs_up_leaves_no_trace_on_stderr(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    import socket
    import struct

    for _ in range(3):
        with socket.create_connection(("127.0.0.1", page.server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    assert page.get("/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_standby_exports_its_own_process_and_nothing_of_the_fleet() -> None:
    """Zeros of a standby, or what one remembers that led before, would be added to the leader's."""
    metrics, leads = Metrics(), [True]
    metrics.follow(lambda: leads[0])
    metrics.managed.set(20)
    metrics.faults.labels("xid/79", "fatal", "kmsg").inc()
    leading = metrics.render().decode()
    assert "konduktor_health_leader 1.0" in leading
    assert "konduktor_health_managed_nodes 20.0" in leading
    assert "konduktor_health_faults_total{" in leading
    leads[0] = False
    standing_by = metrics.render().decode()
    names = {
        line.split("{")[0].split(" ")[0] for line in standing_by.splitlines() if line[0] != "#"
    }
    assert "konduktor_health_leader 0.0" in standing_by
    assert "process_resident_memory_bytes" in names
    ours = {name for name in names if name.startswith("konduktor_health_")}
    assert {name for name in ours if "_cycle" not in name} == {"konduktor_health_leader"}
