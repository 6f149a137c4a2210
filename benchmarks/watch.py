"""When does the API server show it? A raw watch of the benchmark's own, with arrival times.

Deliberately not the product's client. A watch tells a little later than a read would, so
times are never flattering.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

import requests

from tests.support.servers import RealKube

OUR_TAINT = "trainy.konduktor.ai/faulty"
OUR_CONDITION = "KonduktorHealthy"

Marks = Callable[[Mapping[str, Any]], Iterable[str]]


def node_marks(node: Mapping[str, Any]) -> Iterable[str]:
    """``taint NAME`` and ``condition NAME`` where the Node carries them."""
    name = node["metadata"]["name"]
    if any(taint["key"] == OUR_TAINT for taint in node["spec"].get("taints", ())):
        yield f"taint {name}"
    conditions = node.get("status", {}).get("conditions", ())
    if any(c["type"] == OUR_CONDITION and c["status"] == "False" for c in conditions):
        yield f"condition {name}"


def event_marks(event: Mapping[str, Any]) -> Iterable[str]:
    """``event NAME`` for an Event about a Node from the controller."""
    if event["involvedObject"]["kind"] == "Node" and (
        event.get("reportingComponent") == "konduktor-health"
    ):
        yield f"event {event['involvedObject']['name']}"


class Watch:
    """Notes when each mark was first seen (time.monotonic). A context manager."""

    def __init__(self, kube: RealKube, path: str, marks: Marks) -> None:
        self._kube = kube
        self._path = path
        self._marks = marks
        self._seen: dict[str, float] = {}
        self._news = threading.Condition()
        self._session = requests.Session()
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE would override verify
        self._response: requests.Response | None = None
        self._error = ""

    def __enter__(self) -> Watch:
        version = self._kube.request("GET", f"{self._path}?limit=1")["metadata"]["resourceVersion"]
        self._response = self._session.get(
            self._kube.url + self._path,
            params={"watch": "true", "resourceVersion": version},
            headers={"Authorization": f"Bearer {self._kube.token}"},
            verify=str(self._kube.ca),
            stream=True,
            timeout=(5, 900),
        )
        self._response.raise_for_status()
        threading.Thread(target=self._follow, args=(self._response,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._response is not None:
            with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
                self._response.raw.shutdown()
        self._session.close()

    def times(self, marks: Iterable[str], within_s: float) -> list[float]:
        """When each mark was first seen. Raises TimeoutError when one is not seen in time."""
        wanted = list(marks)
        deadline = time.monotonic() + within_s
        with self._news:
            while missing := [mark for mark in wanted if mark not in self._seen]:
                left = deadline - time.monotonic()
                if left <= 0 or self._error:
                    said = f"; the watch ended: {self._error}" if self._error else ""
                    raise TimeoutError(
                        f"{len(missing)} of {len(wanted)} not seen within {within_s:g} s, "
                        f"such as {missing[0]!r}{said}"
                    )
                self._news.wait(left)
            return [self._seen[mark] for mark in wanted]

    def _follow(self, response: requests.Response) -> None:
        rest = b""
        try:
            for chunk in response.raw.stream(1 << 16, decode_content=True):
                now = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    self._note(json.loads(line), now)
        except Exception as error:  # closed by us, or broken: whoever waits is told
            with self._news:
                self._error = repr(error)
                self._news.notify_all()

    def _note(self, event: Mapping[str, Any], now: float) -> None:
        if event["type"] not in ("ADDED", "MODIFIED"):
            return
        fresh = [mark for mark in self._marks(event["object"]) if mark not in self._seen]
        if fresh:
            with self._news:
                for mark in fresh:
                    self._seen[mark] = now
                self._news.notify_all()
