"""What does an answer look like: labels, metadata, statistics, OTLP, the other endpoints?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.loki_http import HOUR, MINUTE, LokiHttp, now_ns, own_label, selector


def test_categorized_labels_keep_metadata_out_of_the_stream(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, f"line {i}", {"seen": str(i)}) for i in range(3)])

    answer = loki.ask(selector(own), categorize=True, direction="forward")

    data = answer.json()["data"]
    (stream,) = data["result"]
    assert data["encodingFlags"] == ["categorize-labels"]
    assert stream["stream"] == {**own, "service_name": "unknown_service"}
    assert [(int(ns) - base, line) for ns, line, _ in stream["values"]] == [
        (0, "line 0"), (1, "line 1"), (2, "line 2"),
    ]  # fmt: skip
    assert [extra["structuredMetadata"]["seen"] for _, _, extra in stream["values"]] == list("012")


def test_without_the_header_metadata_splits_the_stream(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, f"line {i}", {"seen": str(i)}) for i in range(3)])

    answer = loki.ask(selector(own))

    data = answer.json()["data"]
    assert "encodingFlags" not in data
    assert len(data["result"]) == 3
    for stream in data["result"]:
        ((ns, line),) = stream["values"]
        assert line == f"line {int(ns) - base}"
        assert stream["stream"] == {
            **own, "service_name": "unknown_service", "seen": str(int(ns) - base),
            "detected_level": "unknown",
        }  # fmt: skip


def test_loki_adds_a_level_that_nobody_sent(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base, "GPU error"), (base + 1, "GPU"), (base + 2, "x", {"level": "WARN"})])

    (stream,) = loki.streams(selector(own), categorize=True, direction="forward")

    levels = [extra["structuredMetadata"]["detected_level"] for _, _, extra in stream["values"]]
    assert levels == ["error", "unknown", "warn"]


def test_metadata_named_like_a_label_is_renamed(loki: LokiHttp) -> None:
    own = {**own_label(), "node": "label"}
    loki.push(own, [(now_ns() - MINUTE, "line", {"node": "metadata"})])

    (stream,) = loki.streams(selector(own), categorize=True)

    assert stream["stream"]["node"] == "label"
    assert stream["values"][0][2]["structuredMetadata"]["node_extracted"] == "metadata"
    assert loki.lines(selector(own) + ' | node="metadata"') == []
    assert loki.lines(selector(own) + ' | node="label"') == ["line"]


def test_the_service_name_comes_from_the_labels(loki: LokiHttp) -> None:
    own = {**own_label(), "container": "dmesg"}
    loki.push(own, [(now_ns(), "line")])

    (stream,) = loki.streams(selector(own), categorize=True, end=now_ns() + MINUTE)

    assert stream["stream"]["service_name"] == "dmesg"


def test_statistics_say_what_was_read(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, "x" * 100) for i in range(50)])

    answer = loki.ask(selector(own) + ' |= "nope"')

    summary = answer.json()["data"]["stats"]["summary"]
    assert summary["totalLinesProcessed"] == 50
    assert summary["totalBytesProcessed"] >= 5000
    assert summary["totalEntriesReturned"] == 0
    assert summary["execTime"] >= 0


def test_answers_are_json_and_may_be_compressed(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, "<x>" * 100) for i in range(50)])
    params = {"query": selector(own)}

    texts = [
        loki.request("GET", "/loki/api/v1/query_range", params=params, headers=headers).json()
        for headers in ({"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"})
    ]

    assert texts[0]["status"] == "success"
    assert texts[0]["data"]["resultType"] == "streams"
    assert texts[0]["data"]["result"] == texts[1]["data"]["result"]
    assert len(texts[0]["data"]["result"][0]["values"]) == 50


def _otlp(daemonset: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    attributes = {
        "k8s.daemonset.name": daemonset,
        "k8s.namespace.name": "dmesg-logging",
        "k8s.pod.name": "dmesg-x",
        "k8s.container.name": "dmesg",
        "k8s.node.name": "node-1",
    }
    resource = {
        "attributes": [
            {"key": key, "value": {"stringValue": value}} for key, value in attributes.items()
        ]
    }
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}


def test_otlp_makes_the_node_structured_metadata(loki: LokiHttp) -> None:
    daemonset, now = own_label()["case"], now_ns() - MINUTE
    records = [
        {"timeUnixNano": str(now + i), "observedTimeUnixNano": str(now + 100 + i),
         "body": {"stringValue": f"[ {i}.0] line"},
         "attributes": [{"key": "log.iostream", "value": {"stringValue": "stdout"}}]}
        for i in range(3)
    ]  # fmt: skip

    answer = loki.request("POST", "/otlp/v1/logs", json=_otlp(daemonset, records))

    query = f'{{k8s_daemonset_name="{daemonset}"}}'
    assert answer.status_code == 204
    (stream,) = loki.streams(query, categorize=True, direction="forward")
    assert stream["stream"] == {
        "k8s_daemonset_name": daemonset,
        "k8s_namespace_name": "dmesg-logging",
        "k8s_pod_name": "dmesg-x",
        "k8s_container_name": "dmesg",
        "service_name": "dmesg",
    }
    assert stream["values"][0][2]["structuredMetadata"] == {
        "k8s_node_name": "node-1",
        "log_iostream": "stdout",
        "observed_timestamp": str(now + 100),
        "detected_level": "unknown",
    }
    assert len(loki.streams(query)) == 3  # observed_timestamp splits every line off
    assert loki.lines(query + ' | k8s_node_name="node-1"') == [f"[ {i}.0] line" for i in range(3)]
    assert loki.lines(f'{{k8s_daemonset_name="{daemonset}", k8s_node_name="node-1"}}') == []


def test_otlp_bodies_of_journald_become_json(loki: LokiHttp) -> None:
    daemonset, now = own_label()["case"], now_ns() - MINUTE
    fields = [
        {"key": "MESSAGE", "value": {"stringValue": "NVRM: Xid"}},
        {"key": "PRIORITY", "value": {"intValue": "3"}},
    ]
    record = {"observedTimeUnixNano": str(now), "body": {"kvlistValue": {"values": fields}}}

    loki.request("POST", "/otlp/v1/logs", json=_otlp(daemonset, [record]))

    found = loki.entries(f'{{k8s_daemonset_name="{daemonset}"}}')
    assert found == [(now, '{"MESSAGE":"NVRM: Xid","PRIORITY":3}')]


def test_label_values_and_series_show_index_labels_only(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns() - MINUTE
    loki.push({**own, "node": "gpu-2"}, [(now, "x", {"rack": "r1"})])
    loki.push({**own, "node": "gpu-1"}, [(now, "x", {"rack": "r2"})])

    def data(path: str, **params: str) -> Any:
        answer = loki.request("GET", f"/loki/api/v1/{path}", params=params)
        assert answer.status_code == 200
        return answer.json().get("data", [])

    assert data("labels", query=selector(own)) == ["case", "node", "service_name"]
    assert data("label/node/values", query=selector(own)) == ["gpu-1", "gpu-2"]
    assert data("label/node/values", query=f'{{case="{own["case"]}",node!="gpu-1"}}') == ["gpu-2"]
    assert data("label/rack/values", query=selector(own)) == []
    assert data("label/node/values", query=selector(own_label())) == []
    series = data("series", **{"match[]": selector(own)})
    assert sorted(labels["node"] for labels in series) == ["gpu-1", "gpu-2"]
    assert {**own, "node": "gpu-1", "service_name": "unknown_service"} in series


def test_series_obey_the_range_but_label_values_do_not(loki: LokiHttp) -> None:
    """A trap: label values are no proof that a node still ships."""
    own, now = own_label(), now_ns()
    loki.push(own, [(now - 2 * HOUR, "old")])
    recent = {"start": str(now - 10 * MINUTE), "end": str(now)}

    values = loki.request(
        "GET", "/loki/api/v1/label/case/values", params={"query": selector(own), **recent}
    )
    series = loki.request("GET", "/loki/api/v1/series", params={"match[]": selector(own), **recent})

    assert values.json()["data"] == [own["case"]]
    assert series.json()["data"] == []


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("label/case/values", {"query": '{case="x"} |= "y"'}),
        ("label/case/values", {"query": "{case"}),
        ("series", {"match[]": "{case"}),
    ],
)
def test_bad_selectors_of_the_label_endpoints_are_refused(
    loki: LokiHttp, path: str, params: dict[str, str]
) -> None:
    answer = loki.request("GET", f"/loki/api/v1/{path}", params=params)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ready", 200),
        ("/metrics", 200),
        ("/loki/api/v1/status/buildinfo", 200),
        ("/nowhere", 404),
    ],
)
def test_other_paths_answer(loki: LokiHttp, path: str, status: int) -> None:
    assert loki.request("GET", path).status_code == status
