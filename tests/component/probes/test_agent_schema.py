"""Schemathesis against the served agent: it answers as its OpenAPI document says, whatever is sent.

Unsigned, as anybody in the pod network can ask, and signed, as only the controller can.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode

from tests.support.agent import GPU, AgentWorld, Client, found, gbps

_EXAMPLES = 15  # of each operation, beside what covers the document's own limits
_SIGNED = ("/v1/run", "/v1/settings")


@pytest.fixture
def served(world: AgentWorld) -> Iterator[Client]:
    """An agent that has something to tell."""
    world.runner.takes_s = 0
    world.runner.found["gpu-health"] = (
        found("gpu-health", "warn", device=GPU, measurements=(gbps("h2d", 50.5),)),
    )
    made = world.start()
    for _ in range(6):
        made.worker.step()
        world.clock.seconds += 400
    with world.serving() as client:
        yield client


class Signing(requests.auth.AuthBase):
    """Signs what is sent to the endpoints that ask for it."""

    def __init__(self, world: AgentWorld) -> None:
        self._world = world

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = request.path_url.split("?")[0]
        if path in _SIGNED:
            body = request.body or b""
            raw = body.encode() if isinstance(body, str) else body
            request.headers.update(self._world.signature(path, raw))
        return request


def results(
    client: Client, prepare: Callable[[schemathesis.Case[Any]], None], auth: Signing | None = None
) -> tuple[list[str], Counter[tuple[str, int]]]:
    """What schemathesis finds, and how often each operation was answered with which status."""
    config = SchemathesisConfig(seed=7)
    schema = schemathesis.openapi.from_url(
        f"http://127.0.0.1:{client.port}/openapi.json", config=config
    )
    schema.config.generation.max_examples = _EXAMPLES
    if auth is not None:
        schema.auth.set_from_requests(auth)

    def before_call(context: Any, case: schemathesis.Case[Any], **kwargs: Any) -> None:
        client.world.clock.seconds += 60  # within every rate
        assert client.world.made is not None
        client.world.made.worker.step()  # what was asked for is run
        prepare(case)

    schemathesis.hook(before_call)
    try:
        return _collected(from_schema(schema).execute())
    finally:
        schemathesis.hooks.unregister(before_call)


def _collected(
    stream: Iterable[events.EngineEvent],
) -> tuple[list[str], Counter[tuple[str, int]]]:
    troubles: list[str] = []
    answered: Counter[tuple[str, int]] = Counter()
    for event in stream:
        if isinstance(event, events.NonFatalError | events.FatalError):
            troubles.append(str(event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorder = event.recorder
        for interaction in recorder.interactions.values():
            if interaction.response is not None:
                answered[recorder.label, interaction.response.status_code] += 1
        for checks in recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info
                    troubles.append(f"{recorder.label}: {failure.failure}\n{failure.code_sample}")
    return troubles, answered


def test_what_is_asked_unsigned_is_answered_as_documented(served: Client) -> None:
    troubles, answered = results(served, lambda _: None)
    assert not troubles, "\n\n".join(troubles)
    for path in ("/v1/report", "/v1/checks", "/metrics", "/healthz", "/readyz"):
        assert answered[f"GET {path}", 200] > 0, path
    assert answered["POST /v1/kmsg", 200] > 0
    for path in _SIGNED:
        assert answered[f"POST {path}", 401] > 0
        assert not any(answered[f"POST {path}", status] for status in (200, 202, 204))
    assert not any(status >= 500 for _, status in answered)


def test_what_is_asked_signed_is_answered_as_documented(served: Client) -> None:
    world = served.world

    def address(case: schemathesis.Case[Any]) -> None:
        """What only the world knows: the node, its checks, the time, and a nonce."""
        positive = case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE
        if case.path in _SIGNED and positive and isinstance(case.body, dict):
            case.body.update(world.request())
            if case.path == "/v1/run":
                case.body.update(checks=["gpu-health"], options={"gpu-health.a": "1"})
                case.body["request_id"] = f"r{world.clock.seconds:.0f}"

    troubles, answered = results(served, address, Signing(world))
    assert not troubles, "\n\n".join(troubles)
    assert answered["POST /v1/run", 202] > 5
    assert answered["POST /v1/settings", 204] > 5
    for path in _SIGNED:
        assert answered[f"POST {path}", 422] > 5
    assert not any(status >= 500 for _, status in answered)
    requested = [order for order in world.runner.orders if order.cadence == "requested"]
    assert len(requested) > 5


def test_the_document_is_the_generated_one(served: Client) -> None:
    document = json.loads(served.get("/openapi.json").body)
    assert document["openapi"].startswith("3.1")
    documented = {
        (method, path) for path, methods in document["paths"].items() for method in methods
    }
    assert documented == {
        ("get", "/v1/report"), ("get", "/v1/checks"), ("get", "/v1/history"), ("post", "/v1/run"),
        ("post", "/v1/settings"), ("post", "/v1/kmsg"), ("get", "/metrics"), ("get", "/healthz"),
        ("get", "/readyz"),
    }  # fmt: skip
