"""By way of the API server: who said no, and what an operator may read and sign."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from konduktor_health.adapters.kube.client import Passed
from konduktor_health.adapters.kube.status import call_of
from konduktor_health.adapters.probes.keys import as_secret, rotated
from konduktor_health.adapters.probes.operators import PodProxy, Signer, nodes_of_pods
from konduktor_health.errors import (
    AgentRefused,
    AgentUnavailable,
    ClusterForbidden,
    ClusterRejected,
    NotFound,
)
from probes.report import MOST_BODY_BYTES
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock
from tests.support.rounds import pod_of

AGENT = pod_of("gpu-1", 1)


def status(code: int, reason: str, message: str = "x") -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message}).encode()


def refusal(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "m", "hint": "h"}}).encode()


@dataclass
class Kube:
    """What the API server answers."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    pages: list[Any] = field(default_factory=list)
    asked: list[tuple[str, str, bytes, Mapping[str, str]]] = field(default_factory=list)
    server: str = "https://api"

    def pass_on(
        self, method: str, path: str, *, body: bytes = b"",
        headers: Mapping[str, str] | None = None, timeout_s: float,
    ) -> Passed:  # fmt: skip
        self.asked.append((method, path, body, dict(headers or {})))
        code, content = self.answers.pop(0)
        return Passed(code, content, '"e"', call_of(method, path))

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        self.asked.append(("GET", path, b"", dict(params or {})))
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return page


def proxy(*answers: tuple[int, bytes]) -> tuple[PodProxy, Kube]:
    kube = Kube(list(answers))
    made = PodProxy(kube, "ns", {AGENT.address: AGENT}.get)  # type: ignore[arg-type]
    return made, kube


def get(*answers: tuple[int, bytes]) -> Any:
    made, _ = proxy(*answers)
    return made.get(AGENT.address, 9410, "/v1/report", timeout_s=5, etag="", keep=True)


def test_a_request_is_of_the_pod_and_its_port_and_bytes_are_as_they_were_signed() -> None:
    made, kube = proxy((202, b"{}"), (200, b"{}"))
    made.post(AGENT.address, 9410, "/v1/run", b"body", timeout_s=5, headers={"X-K": "s"})
    made.get(AGENT.address, 9410, "/v1/report", timeout_s=5, etag='"e"', keep=False)
    path = "/api/v1/namespaces/ns/pods/probe-gpu-1:9410/proxy"
    assert kube.asked == [
        ("POST", f"{path}/v1/run", b"body", {"content-type": "application/json", "X-K": "s"}),
        ("GET", f"{path}/v1/report", b"", {"if-none-match": '"e"'}),
    ]


def test_unchanged_is_unchanged() -> None:
    answer = get((304, b""))
    assert (answer.status, answer.etag) == (304, '"e"')


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((409, refusal("gpus_busy")), AgentRefused, "gpus_busy: m"),
        ((403, refusal("bad_signature")), AgentRefused, "bad_signature"),
        ((404, refusal("not_found")), AgentRefused, "not_found"),
        ((429, refusal("rate_limited")), AgentUnavailable, "rate_limited"),
        ((503, refusal("no_keys")), AgentUnavailable, "no_keys"),
        ((503, status(503, "ServiceUnavailable", "dial tcp")), AgentUnavailable, "dial tcp"),
        ((403, status(403, "Forbidden")), ClusterForbidden, "pods/proxy"),
        ((404, status(404, "NotFound")), NotFound, "pods/proxy"),
        ((302, b""), AgentRefused, "302"),
        ((418, b"\x1b[31mteapot"), AgentRefused, "teapot"),
        ((200, b"x" * (MOST_BODY_BYTES + 1)), AgentUnavailable, "too long"),
    ],
)
def test_whoever_says_no_is_told_apart(
    answer: tuple[int, bytes], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        get(answer)
    assert "\x1b" not in str(caught.value)


def test_the_agents_hint_is_told() -> None:
    with pytest.raises(AgentRefused) as caught:
        get((409, refusal("gpus_busy")))
    assert caught.value.hint == "h"


def test_an_address_that_is_no_agents_is_not_asked() -> None:
    made, kube = proxy()
    with pytest.raises(NotFound):
        made.get("10.9.9.9", 9410, "/v1/report", timeout_s=5, keep=False)
    assert kube.asked == []


# ---------------------------------------------------------------- the key


def test_the_key_is_read_once_and_never_shown() -> None:
    keys = rotated((), NOW, rotate_s=0)
    kube = Kube(pages=[{"data": dict(as_secret(keys))}])
    signer = Signer(kube, "ns", FakeClock(NOW))  # type: ignore[arg-type]
    first, second = signer.sign("/v1/run", b"a"), signer.sign("/v1/run", b"b")
    assert first != second
    assert first.startswith(keys[0].name)
    assert [path for _, path, *_ in kube.asked] == [
        "/api/v1/namespaces/ns/secrets/konduktor-health-signing"
    ]


@pytest.mark.parametrize("page", [{"data": {"keys.json": "AAAA"}}, {}, NotFound("secret")])
def test_without_a_key_nothing_is_signed(page: Any) -> None:
    signer = Signer(Kube(pages=[page]), "ns", FakeClock(NOW))  # type: ignore[arg-type]
    with pytest.raises(ClusterRejected, match="konduktor-health-signing") as caught:
        signer.sign("/v1/run", b"a")
    assert "AAAA" not in str(caught.value)


# ---------------------------------------------------------------- pods of a job


def test_nodes_of_pods_are_those_on_which_they_run_over_all_pages() -> None:
    def pod(node: str, phase: str) -> Any:
        return {"spec": {"nodeName": node}, "status": {"phase": phase}}

    first = [pod("a", "Running"), pod("b", "Succeeded"), pod("c", "Pending"), {"spec": None}, None]
    kube = Kube(
        pages=[
            {"items": first, "metadata": {"continue": "more"}},
            {"items": [pod("d", "Running"), {"spec": {}, "status": {}}], "metadata": {}},
        ]
    )
    assert nodes_of_pods(kube, "ns", "job=x") == {"a", "c", "d"}  # type: ignore[arg-type]
    assert [params.get("continue") for *_, params in kube.asked] == [None, "more"]
    assert {params["labelSelector"] for *_, params in kube.asked} == {"job=x"}
