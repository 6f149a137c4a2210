"""What is asked where the answer would be too large, and what cannot be asked at all."""

from __future__ import annotations

import re

import pytest

from konduktor_health.adapters.loki.answers import Vector, vector
from konduktor_health.adapters.loki.coverage import DEADLINE_S, LokiCoverage, counted_by
from konduktor_health.adapters.loki.presets import PRESETS, SourceSpec, spec
from konduktor_health.adapters.loki.refusals import TooManySeries, error_for
from konduktor_health.errors import LokiUnavailable
from konduktor_health.model import NodeView, Trust
from konduktor_health.settings import SourceSettings
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock

SPEC = SourceSpec("kmsg", '{job="kmsg"}', ("label:node", "metadata:host", "record"), Trust.KERNEL)


class Counting:
    """Answers with the names that ship under the label ``node``, at most ``most`` series."""

    def __init__(self, ships: set[str], most: int, clock: FakeClock) -> None:
        self.ships, self.most, self.clock = ships, most, clock
        self.queries: list[str] = []
        self.takes_s = 0.0

    def query(self, query: str, time_ns: int, timeout_s: float | None = None) -> Vector:
        self.queries.append(query)
        self.clock.advance(self.takes_s)
        found = self.ships
        if batch := re.search(r'\| (\w+)=~"(.*)" \[', query):
            wanted = re.compile(batch[2].replace("\\\\", "\\"))
            found = {n for n in self.ships if batch[1] == "node" and wanted.fullmatch(n)}
        if len(found) > self.most:
            raise TooManySeries("too many", allowed=self.most)
        return Vector(tuple({"node": name} for name in sorted(found)), 10)


def fleet(count: int) -> list[NodeView]:
    return [NodeView(f"n{i}.x", f"u{i}", "1") for i in range(count)]


def asking(ships: set[str], most: int = 500, takes_s: float = 0.0) -> tuple[Counting, LokiCoverage]:
    clock = FakeClock(NOW)
    counting = Counting(ships, most, clock)
    counting.takes_s = takes_s
    return counting, LokiCoverage(counting, SPEC, clock=clock, window_s=300)


def test_a_small_fleet_takes_one_query_and_no_node_names() -> None:
    counting, coverage = asking({"n1.x", "stranger"})
    assert coverage.ask([]).names == {"n1.x", "stranger"}
    assert counting.queries == ['sum by (node, host) (count_over_time({job="kmsg"} [300s]))']


def test_batches_stay_below_the_limit_and_ask_the_telling_label_only() -> None:
    nodes = fleet(100)
    ships = {view.name for view in nodes[:-1]}
    counting, coverage = asking(ships, most=30)
    assert coverage.ask(nodes).names == ships
    first = len(counting.queries)
    assert first == 1 + 2 * 4  # the whole once, then both labels of four batches
    assert coverage.ask(nodes).names == ships
    assert len(counting.queries) - first == 4


def test_names_are_no_patterns() -> None:
    _, coverage = asking({"n1.x", "n1yx", *(f"s{n}" for n in range(40))}, most=30)
    assert coverage.ask(fleet(3)).names == {"n1.x"}


def test_what_is_not_complete_in_time_is_an_error_and_no_silence() -> None:
    nodes = fleet(100)
    _, coverage = asking({view.name for view in nodes}, most=5, takes_s=DEADLINE_S / 4)
    with pytest.raises(LokiUnavailable, match="not complete"):
        coverage.ask(nodes)


def test_the_whole_is_tried_again_once_the_limit_may_have_been_raised() -> None:
    nodes = fleet(20)
    counting, coverage = asking({view.name for view in nodes}, most=5)
    coverage.ask(nodes)
    counting.most = 500
    for _ in range(100):
        assert len(coverage.ask(nodes).names) == 20
    assert "=~" not in counting.queries[-1]


@pytest.mark.parametrize(
    ("preset", "labels"),
    [
        ("konduktor-otel", ("k8s_node_name",)),
        ("promtail-journal", ("node_name", "nodename", "hostname", "host")),
        ("kmsg", ("node", "k8s_node_name", "node_name")),
    ],
)
def test_presets_are_counted_by_what_names_the_node(preset: str, labels: tuple[str, ...]) -> None:
    assert counted_by(spec(SourceSettings.model_validate({"preset": preset}))) == labels
    assert preset in PRESETS


def test_names_inside_the_line_and_pods_cannot_be_counted() -> None:
    def inside(rule: str) -> SourceSpec:
        return SourceSpec("s", "{}", (rule, "label:node"), Trust.KERNEL)

    assert counted_by(inside("record")) == counted_by(inside("json:host")) == ()
    assert counted_by(spec(SourceSettings(preset="pods"), ["default"])) == ()


def test_lokis_words_for_too_many_series_are_known() -> None:
    for said in (b"maximum of series (500) reached", b"maximum number of series (500) reached for"):
        error = error_for(400, {}, said + b" a single query", NOW)
        assert isinstance(error, TooManySeries)
        assert error.allowed == 500


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"success","data":{"resultType":"streams","result":[]}}',
        b'{"status":"success","data":{"resultType":"vector","result":{}}}',
        b'{"status":"success","data":[]}',
        b"<html>",
    ],
)
def test_an_answer_of_another_shape_is_no_empty_vector(body: bytes) -> None:
    with pytest.raises(LokiUnavailable):
        vector(body)


def test_damaged_samples_and_zeros_name_nobody() -> None:
    body = (
        b'{"status":"success","data":{"resultType":"vector","result":['
        b'{"metric":{"node":"a"},"value":[1,"0"]},{"metric":{"node":"b"},"value":[1]},'
        b'{"metric":{"node":"c"},"value":[1,"x"]},{"value":[1,"2"]},7,'
        b'{"metric":{"node":"d"},"value":[1,"2"]}],'
        b'"stats":{"summary":{"totalBytesProcessed":9}}}}'
    )
    assert vector(body) == Vector(({}, {"node": "d"}), 9)
