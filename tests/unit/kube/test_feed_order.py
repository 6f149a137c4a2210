"""Does a view ever give way to an older one, and is the chain of callbacks unbroken?"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from konduktor_health.adapters.kube.client import KubeHttp, KubeStream
from konduktor_health.adapters.kube.feed import WatchFeed
from konduktor_health.adapters.kube.nodes import NodeDecoder
from konduktor_health.adapters.kube.status import Gone
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ClusterForbidden, ClusterUnavailable
from konduktor_health.model import Keys, NodeView


def raw(name: str, version: int | str, boot: str = "", gpus: int = 8) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": "u-" + name, "resourceVersion": str(version)},
        "status": {
            "nodeInfo": {"bootID": boot},
            "capacity": {"nvidia.com/gpu": str(gpus)},
            "addresses": [{"type": "InternalIP", "address": "ip-of-" + name}],
        },
    }


class Script:
    """Stands in for KubeHttp and its stream: answers are put into queues by the test."""

    server = "https://example.invalid"

    def __init__(self) -> None:
        self.lists: queue.Queue[tuple[list[dict[str, Any]], str]] = queue.Queue()
        self.events: queue.Queue[tuple[str, dict[str, Any]] | Exception | None] = queue.Queue()
        self.watched_from: list[str] = []

    def request(self, _method: str, _path: str, **_: object) -> bytes:
        items, version = self.lists.get(timeout=5)
        return json.dumps({"metadata": {"resourceVersion": version}, "items": items}).encode()

    def stream(self, _path: str, *, params: Mapping[str, str], silence_s: float) -> KubeStream:
        del silence_s
        self.watched_from.append(params["resourceVersion"])
        return cast(KubeStream, self)

    def __iter__(self) -> Iterator[bytes]:
        while (event := self.events.get(timeout=5)) is not None:
            if isinstance(event, Exception):
                raise event
            yield json.dumps({"type": event[0], "object": event[1]}).encode()

    def abort(self) -> None:
        self.events.put(None)

    def close(self) -> None:
        pass


class NoWaiting(SystemClock):
    """Back-off takes no time; what was asked for is remembered."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return event.is_set()


class Feed:
    """A feed on a script, and what its callbacks saw."""

    def __init__(self) -> None:
        self.script = Script()
        self.clock = NoWaiting()
        decoder = NodeDecoder(Keys(), "", "nvidia.com/gpu")
        self.feed = WatchFeed(
            cast(KubeHttp, self.script),
            decoder,
            lambda view: view.gpu_capacity > 0,
            self.clock,
            jitter=lambda: 1.0,
        )
        self.decoder = decoder
        self.told: queue.Queue[tuple[NodeView | None, NodeView | None]] = queue.Queue()
        self.feed.on_change(lambda old, new: self.told.put((old, new)))
        self.stop = threading.Event()

    def start(self, *nodes: dict[str, Any], version: str = "10") -> None:
        self.script.lists.put((list(nodes), version))
        self.feed.start(self.stop)
        for _ in nodes:
            self.told.get(timeout=5)

    def send(self, kind: str, node: dict[str, Any]) -> None:
        self.script.events.put((kind, node))

    def settle(self) -> None:
        """Returns when everything sent before has been handled."""
        self.send("ADDED", raw("marker", 10**6))
        while (change := self.told.get(timeout=5))[1] is None or change[1].name != "marker":
            self.seen.append(change)
        self.send("DELETED", raw("marker", 10**6))
        self.told.get(timeout=5)

    seen: list[tuple[NodeView | None, NodeView | None]]

    def view(self, node: dict[str, Any]) -> NodeView:
        found = self.decoder.view(node)
        assert found is not None
        return found


@pytest.fixture
def feed() -> Iterator[Feed]:
    made = Feed()
    made.seen = []
    yield made
    made.stop.set()
    assert made.feed.join(5)


def test_an_older_event_does_not_replace_a_newer_put(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.feed.put(feed.view(raw("n", 20, boot="ours")))
    assert feed.feed.nodes()["n"].boot_id == "ours"
    feed.send("MODIFIED", raw("n", 15, boot="older"))
    feed.settle()
    assert feed.feed.nodes()["n"].boot_id == "ours"


def test_an_older_put_does_not_replace_a_newer_event(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.send("MODIFIED", raw("n", 100, boot="new"))
    feed.settle()
    feed.feed.put(feed.view(raw("n", 99, boot="stale")))
    assert feed.feed.nodes()["n"].boot_id == "new"


def test_versions_are_compared_as_numbers_or_by_arrival(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.feed.put(feed.view(raw("n", 10, boot="ten")))
    assert feed.feed.nodes()["n"].boot_id == "ten"
    feed.feed.put(feed.view(raw("n", "x1", boot="opaque")))
    feed.feed.put(feed.view(raw("n", "a0", boot="later")))
    assert feed.feed.nodes()["n"].boot_id == "later"


def test_callbacks_hear_of_what_a_put_brought_along(feed: Feed) -> None:
    """A put view also holds others' changes; without a callback a reboot would go unseen."""
    feed.start(raw("n", 9, boot="first"))
    feed.feed.put(feed.view(raw("n", 20, boot="second")))
    assert feed.told.empty()  # callbacks run on the feed's thread only
    feed.send("MODIFIED", raw("n", 15, boot="second"))
    old, new = feed.told.get(timeout=5)
    assert old is not None
    assert new is not None
    assert (old.boot_id, new.boot_id, new.resource_version) == ("first", "second", "20")


def test_a_put_of_a_deleted_node_does_not_bring_it_back(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.send("DELETED", raw("n", 30))
    old, new = feed.told.get(timeout=5)
    assert old is not None
    assert new is None
    feed.settle()
    feed.feed.put(feed.view(raw("n", 25)))
    assert "n" not in feed.feed.nodes()
    assert feed.feed.resolve("ip-of-n") is None


def test_a_heartbeat_is_kept_but_not_called_back(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.send("MODIFIED", raw("n", 11))
    feed.settle()
    assert feed.seen == []
    assert feed.feed.nodes()["n"].resource_version == "11"


def test_unmanaged_nodes_are_known_by_name_only(feed: Feed) -> None:
    feed.script.lists.put(([raw("cpu", 9, gpus=0), raw("gpu", 9)], "10"))
    feed.feed.start(feed.stop)
    feed.told.get(timeout=5)
    assert set(feed.feed.nodes()) == {"gpu"}
    assert feed.feed.resolve("ip-of-cpu") == "cpu"


def test_an_expired_watch_lists_again_and_finds_what_was_missed(feed: Feed) -> None:
    feed.start(raw("stays", 9), raw("goes", 9))
    feed.script.lists.put(([raw("stays", 50, boot="b"), raw("comes", 51)], "60"))
    feed.script.events.put(Gone("too old"))
    changes = [feed.told.get(timeout=5) for _ in range(3)]
    changed = {view.name for change in changes for view in change if view is not None}
    assert changed == {"stays", "goes", "comes"}
    assert set(feed.feed.nodes()) == {"stays", "comes"}
    feed.settle()
    assert feed.script.watched_from == ["10", "60"]


def test_a_broken_watch_resumes_where_bookmarks_have_brought_it(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.send("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
    feed.script.events.put(ClusterUnavailable("connection broke"))
    feed.settle()
    assert feed.script.watched_from == ["10", "77"]
    assert feed.feed.last_error() is None


def test_an_error_event_with_410_lists_again(feed: Feed) -> None:
    feed.start(raw("n", 9))
    feed.script.lists.put(([raw("n", 50)], "60"))
    feed.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
    feed.settle()
    assert feed.script.watched_from == ["10", "60"]


def test_failures_are_shown_and_wait_longer_each_time() -> None:
    """Events between failures start the back-off anew; here there are none."""
    made = Feed()
    made.seen = []
    made.script.lists.put(([], "10"))
    for _ in range(8):
        made.script.events.put(ClusterForbidden("not allowed to watch nodes"))
    errors = []
    real_wait = made.clock.wait

    def wait(event: threading.Event, seconds: float) -> bool:
        errors.append(made.feed.last_error())
        if len(errors) == 8:
            made.stop.set()
        return real_wait(event, seconds)

    made.clock.wait = wait  # type: ignore[method-assign]
    made.feed.start(made.stop)
    assert made.feed.join(5)
    assert all(isinstance(error, ClusterForbidden) for error in errors)
    assert made.clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_failing_callback_stops_neither_the_feed_nor_the_others(feed: Feed) -> None:
    def broken(_old: NodeView | None, _new: NodeView | None) -> None:
        raise RuntimeError("a bug")

    feed.feed._callbacks.insert(0, broken)
    feed.start(raw("n", 9))
    feed.send("MODIFIED", raw("n", 12, boot="b"))
    feed.settle()
    assert feed.feed.nodes()["n"].boot_id == "b"
    assert feed.feed.last_error() is None


def test_an_undecodable_node_is_counted_and_passed(feed: Feed) -> None:
    feed.script.lists.put(([{"metadata": None}, raw("n", 9)], "10"))
    feed.feed.start(feed.stop)
    feed.told.get(timeout=5)
    feed.send("MODIFIED", {"metadata": {"resourceVersion": "12"}})
    feed.settle()
    assert feed.feed.undecodable == 2
    assert replace(feed.feed.nodes()["n"], aliases=()).name == "n"


@pytest.mark.parametrize("kind", ["DELETED", "MODIFIED"])
def test_a_node_that_goes_before_its_put_was_told_is_told_gone(feed: Feed, kind: str) -> None:
    """A node managed before the start is put once it is recalled: whoever counts it must hear."""
    feed.start(raw("b", 1))
    feed.send("ADDED", raw("a", 11, gpus=0))
    feed.settle()
    view = feed.decoder.view(raw("a", 12))
    assert view is not None
    feed.feed.put(view)
    feed.send(kind, raw("a", 13, gpus=0))
    assert feed.told.get(timeout=5) == (view, None)
