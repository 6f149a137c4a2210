from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from pydantic import SecretStr

from konduktor_health.adapters.loki_push import LokiPush
from konduktor_health.errors import (
    ConfigError,
    HealthError,
    LokiBusy,
    LokiRefused,
    LokiTooMuch,
    LokiUnavailable,
)
from konduktor_health.settings import LokiSettings

URL = "http://loki.test:3100"
PUSH = f"{URL}/loki/api/v1/push"


def _sent(index: int = 0) -> dict[str, Any]:
    body = responses.calls[index].request.body
    assert isinstance(body, bytes)
    decoded: dict[str, Any] = json.loads(body)
    return decoded


@pytest.mark.parametrize("url", [URL, URL + "/", URL + "/loki/api/v1"])
@responses.activate
def test_entries_are_sent_as_one_stream(url: str) -> None:
    responses.post(PUSH, status=204)

    LokiPush(url, tenant="gpu", headers={"X-Extra": "1"}).push(
        {"job": "dmesg"}, [(1, "one"), (2, "zwei ü", {"k8s_node_name": "n1"})]
    )

    assert _sent() == {
        "streams": [
            {
                "stream": {"job": "dmesg"},
                "values": [["1", "one"], ["2", "zwei ü", {"k8s_node_name": "n1"}]],
            }
        ]
    }
    headers = responses.calls[0].request.headers
    assert headers["X-Scope-OrgID"] == "gpu"
    assert headers["X-Extra"] == "1"
    assert headers["Content-Type"] == "application/json"


@responses.activate
def test_without_a_tenant_none_is_sent() -> None:
    responses.post(PUSH, status=204)

    LokiPush(URL).push({"job": "dmesg"}, [(1, "one")])

    assert "X-Scope-OrgID" not in responses.calls[0].request.headers


@responses.activate
def test_nothing_to_push_sends_nothing() -> None:
    LokiPush(URL).push({"job": "dmesg"}, [])

    assert len(responses.calls) == 0


@responses.activate
def test_much_is_sent_in_pieces_below_what_loki_takes_in_order() -> None:
    responses.post(PUSH, status=204)

    LokiPush(URL).push({"job": "dmesg"}, [(i, "x" * 100_000) for i in range(35)])

    pieces = [_sent(i)["streams"][0]["values"] for i in range(len(responses.calls))]
    assert len(pieces) == 4
    assert [int(value[0]) for piece in pieces for value in piece] == list(range(35))
    assert all(len(json.dumps(piece)) < 2 * 1024 * 1024 for piece in pieces)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, "entry for stream '{}' has timestamp too old", LokiRefused),
        (401, "no org id", LokiRefused),
        (403, "<html>forbidden</html>", LokiRefused),
        (404, "404 page not found", LokiRefused),
        (422, "error at least one valid stream is required", LokiRefused),
        (302, "", LokiRefused),
        (429, "ingestion rate limit exceeded", LokiBusy),
        (413, "too large", LokiTooMuch),
        (500, "boom", LokiUnavailable),
        (503, "no healthy upstream", LokiUnavailable),
        (200, "<html>sign in</html>", LokiUnavailable),
    ],
)
@responses.activate
def test_each_answer_has_its_error(status: int, body: str, kind: type[HealthError]) -> None:
    responses.post(PUSH, status=status, body=body, headers={"Location": "http://other.test/"})

    with pytest.raises(kind) as raised:
        LokiPush(URL).push({"job": "dmesg"}, [(1, "one")])

    assert type(raised.value) is kind or kind is LokiTooMuch
    assert str(status) in str(raised.value)
    assert body in str(raised.value)
    assert len(responses.calls) == 1


@responses.activate
def test_how_long_to_wait_is_handed_on() -> None:
    responses.post(PUSH, status=429, headers={"Retry-After": "7"})

    with pytest.raises(LokiBusy) as busy:
        LokiPush(URL).push({"job": "dmesg"}, [(1, "one")])

    assert busy.value.retry_after == 7


@responses.activate
def test_a_refusal_is_bounded_and_printable() -> None:
    responses.post(PUSH, status=400, body="bad \x1b[31m line\n" + "x" * 1_000_000)

    with pytest.raises(LokiRefused) as refused:
        LokiPush(URL).push({"job": "dmesg"}, [(1, "one")])

    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "error", [requests.ConnectionError("refused"), requests.ReadTimeout("slow"), OSError("reset")]
)
@responses.activate
def test_no_answer_is_unavailable_with_a_hint(error: Exception) -> None:
    responses.post(PUSH, body=error)

    with pytest.raises(LokiUnavailable) as unavailable:
        LokiPush(URL).push({"job": "dmesg"}, [(1, "one")])

    assert URL in str(unavailable.value)
    assert "LOG_ENDPOINT" in unavailable.value.hint


@responses.activate
def test_credentials_of_the_settings_are_used(tmp_path: Path) -> None:
    responses.post(PUSH, status=204)
    token = tmp_path / "token"
    token.write_text("secret\n", encoding="utf-8")
    bearer = LokiSettings(url=URL, token_file=token, tenant="gpu")
    basic = LokiSettings(url=URL, username="me", password=SecretStr("pw"))

    for settings in (bearer, basic):
        LokiPush.from_settings(settings).push({"job": "dmesg"}, [(1, "one")])

    assert [call.request.headers["Authorization"] for call in responses.calls] == [
        "Bearer secret", "Basic bWU6cHc=",
    ]  # fmt: skip


def test_a_missing_token_file_is_the_users_to_mend(tmp_path: Path) -> None:
    settings = LokiSettings(url=URL, token_file=tmp_path / "nowhere")

    with pytest.raises(ConfigError, match="nowhere"):
        LokiPush.from_settings(settings)


def test_a_token_that_is_no_header_is_refused_and_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for content in ("secretA\nsecretB", "secrét", ""):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match="holds no token") as refused:
            LokiPush.from_settings(LokiSettings(url=URL, token_file=path))
        assert "secr" not in str(refused.value)


def test_credentials_in_the_url_are_refused_and_not_printed() -> None:
    with pytest.raises(ConfigError) as refused:
        LokiPush.from_settings(LokiSettings(url="http://u:secret@loki.test:3100"))
    assert "secret" not in str(refused.value)
