"""How does a test speak to any Loki, embedded or real, without the code under test?"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import requests

NS = 1_000_000_000
MINUTE = 60 * NS
HOUR = 3600 * NS

Line = tuple[int, str] | tuple[int, str, Mapping[str, str]]


class LokiHttp:
    """Raw requests to a Loki, each with a deadline. Nothing is retried or checked."""

    def __init__(self, url: str, tenant: str = "") -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        if tenant:
            self._session.headers["X-Scope-OrgID"] = tenant

    def close(self) -> None:
        """Close the connections: an open socket at the end of a test is a warning."""
        self._session.close()

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Any request."""
        return self._session.request(method, self.url + path, timeout=30, **arguments)

    def push(self, labels: Mapping[str, str], lines: Iterable[Line]) -> requests.Response:
        """Push lines of one stream as JSON."""
        values = [[str(ns), text, *map(dict, metadata)] for ns, text, *metadata in lines]
        body = {"streams": [{"stream": dict(labels), "values": values}]}
        return self.request("POST", "/loki/api/v1/push", json=body)

    def ask(self, query: str, *, categorize: bool = False, **params: object) -> requests.Response:
        """A query_range request."""
        headers = {"X-Loki-Response-Encoding-Flags": "categorize-labels"} if categorize else {}
        return self.request(
            "GET",
            "/loki/api/v1/query_range",
            params={"query": query, **{name: str(value) for name, value in params.items()}},
            headers=headers,
        )

    def streams(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """``data.result`` of a query that must succeed."""
        answer = self.ask(query, **params)
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def entries(self, query: str, **params: Any) -> list[tuple[int, str]]:
        """(ns, line) of all streams, oldest first."""
        return sorted(
            (int(value[0]), value[1])
            for stream in self.streams(query, **params)
            for value in stream["values"]
        )

    def lines(self, query: str, **params: Any) -> list[str]:
        """Lines of all streams, oldest first."""
        return [line for _, line in self.entries(query, **params)]


def own_label() -> dict[str, str]:
    """A label that no other test uses."""
    return {"case": uuid.uuid4().hex}


def selector(labels: Mapping[str, str]) -> str:
    """``{a="b"}``."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def now_ns() -> int:
    """Wall-clock time, Unix ns."""
    return time.time_ns()
