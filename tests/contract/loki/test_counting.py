"""Who ships lines at all? The coverage query, asked of both servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from konduktor_health.adapters.loki.client import LokiClient
from konduktor_health.adapters.loki.coverage import LokiCoverage
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.clock import SystemClock
from konduktor_health.model import NodeView, Trust
from konduktor_health.sandbox.loki import LokiServer
from konduktor_health.settings import LokiSettings
from tests.support.loki_http import MINUTE, NS, LokiHttp, now_ns, own_label, selector
from tests.support.servers import Loki


def counts(loki: LokiHttp, query: str, **params: Any) -> dict[tuple[tuple[str, str], ...], float]:
    answer = loki.request(
        "POST",
        "/loki/api/v1/query",
        data={"query": query, **{name: str(value) for name, value in params.items()}},
    )
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data["resultType"] == "vector"
    return {
        tuple(sorted(sample["metric"].items())): float(sample["value"][1])
        for sample in data["result"]
    }


def test_lines_are_counted_by_metadata_and_by_labels(loki: LokiHttp) -> None:
    own, at = own_label(), now_ns() - MINUTE
    loki.push(
        {**own, "node": "a"},
        [(at + n, f"line {n}", {"k8s_node_name": "m", "observed": str(n)}) for n in range(3)],
    )
    loki.push({**own, "node": "b"}, [(at, "line"), (at + 1, "another")])
    query = selector(own)
    assert counts(loki, f"sum by (node) (count_over_time({query} [300s]))") == {
        (("node", "a"),): 3,
        (("node", "b"),): 2,
    }
    both = counts(loki, f"sum by (k8s_node_name, node) (count_over_time({query} [5m]))")
    assert both == {(("k8s_node_name", "m"), ("node", "a")): 3, (("node", "b"),): 2}
    only = counts(loki, f"sum by (k8s_node_name) (count_over_time({query} [5m]))")
    assert only == {(("k8s_node_name", "m"),): 3, (): 2}
    filtered = f'sum by (node) (count_over_time({query} | k8s_node_name=~"m|n\\\\.o" [5m]))'
    assert counts(loki, filtered) == {(("node", "a"),): 3}


def test_the_window_is_open_at_its_start_and_closed_at_its_end(loki: LokiHttp) -> None:
    own, end = own_label(), now_ns() // NS * NS - MINUTE
    loki.push(own, [(end - 60 * NS, "start"), (end - 60 * NS + 1, "in"), (end, "end")])
    loki.push(own, [(end + 1, "after")])
    query = f"sum by (case) (count_over_time({selector(own)} [60s]))"
    assert list(counts(loki, query, time=end).values()) == [2]


def test_nothing_counted_is_an_empty_vector(loki: LokiHttp) -> None:
    assert counts(loki, f"sum by (node) (count_over_time({selector(own_label())} [60s]))") == {}


def test_a_log_query_is_no_instant_query(loki: LokiHttp) -> None:
    answer = loki.request("POST", "/loki/api/v1/query", data={"query": selector(own_label())})
    assert answer.status_code == 400
    assert "log queries are not supported as an instant query type" in answer.text


@pytest.fixture
def client(loki_server: LokiServer | Loki) -> Iterator[LokiClient]:
    client = LokiClient(LokiSettings(url=loki_server.url), clock=SystemClock())
    yield client
    client.close()


def asking(client: LokiClient, own: Mapping[str, str], *node_from: str) -> LokiCoverage:
    spec = SourceSpec("kmsg", selector(own), node_from, Trust.KERNEL)
    return LokiCoverage(client, spec, clock=SystemClock(), window_s=300)


def view(name: str, *aliases: str) -> NodeView:
    return NodeView(name, f"uid-{name}", "1", aliases=aliases)


@pytest.mark.parametrize("place", ["label", "metadata"])
def test_a_fleet_above_the_series_limit_is_asked_for_in_batches(
    loki: LokiHttp, client: LokiClient, place: str
) -> None:
    own, at = own_label(), now_ns() - MINUTE
    names = [f"gpu-{n}.eu.example" for n in range(620)]
    if place == "label":
        streams: list[dict[str, Any]] = [
            {"stream": {**own, "node": name}, "values": [[str(at), "x"]]} for name in names
        ]
        answer = loki.request("POST", "/loki/api/v1/push", json={"streams": streams})
        assert answer.status_code == 204, answer.text
    else:
        loki.push(own, [(at + i, "x", {"node": name}) for i, name in enumerate(names)])
    coverage = asking(client, own, f"{place}:node", "record")
    nodes = [view(name.partition(".")[0], name) for name in names]
    silent = [view("gpu-9999", "gpu-9999.eu.example")]
    for _ in range(2):  # found out, and remembered
        assert coverage.ask([*nodes, *silent]).names == set(names)


def test_the_first_label_that_names_a_node_counts(loki: LokiHttp, client: LokiClient) -> None:
    own, at = own_label(), now_ns() - MINUTE
    loki.push({**own, "node": "right", "hostname": "wrong"}, [(at, "x")])
    loki.push({**own, "hostname": "other"}, [(at, "x")])
    loki.push({**own}, [(at, "nameless")])
    coverage = asking(client, own, "label:node", "label:hostname", "record")
    found = coverage.ask([])
    assert found.names == {"right", "other"}
    assert found.start_ns == found.end_ns - 300 * NS
    assert found.bytes_scanned > 0
