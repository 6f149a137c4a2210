"""Does the node watch stay true through everything that happens to watches?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.kube import WatchFeed, build_cluster
from konduktor_health.adapters.kube.nodes import NodeDecoder
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ClusterForbidden, ClusterUnavailable
from konduktor_health.model import NodeEdit, NodeView
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.settings import load
from tests.component.kube.conftest import Side, eventually


def gpus(view: NodeView) -> bool:
    return view.gpu_capacity > 0


class Changes:
    """What the callbacks saw, checked for an unbroken chain per node."""

    def __init__(self) -> None:
        self.seen: list[tuple[NodeView | None, NodeView | None]] = []
        self._last: dict[str, NodeView | None] = {}
        self.broken: list[str] = []

    def __call__(self, old: NodeView | None, new: NodeView | None) -> None:
        view = new or old
        assert view is not None
        expected = self._last.get(view.name)
        if (old is None) != (expected is None):
            self.broken.append(view.name)
        self._last[view.name] = new
        self.seen.append((old, new))

    def of(self, name: str) -> list[tuple[bool, bool]]:
        return [
            (old is not None, new is not None)
            for old, new in self.seen
            if name in (getattr(old, "name", ""), getattr(new, "name", ""))
        ]


def test_nodes_come_change_and_go(side: Side) -> None:
    first = side.node()
    cpu = side.node(gpus=0)
    changes = Changes()
    feed, _ = side.feed(gpus, callback=changes)
    eventually(feed.synced)
    assert first in feed.nodes()
    assert cpu not in feed.nodes()
    second = side.node()
    eventually(lambda: second in feed.nodes())
    assert feed.resolve(f"ip-{second}") == second
    assert feed.resolve(f"{cpu}.example.com") == cpu
    side.patch(second, {"metadata": {"annotations": {side.keys.ledger: "{}"}}})
    eventually(lambda: feed.nodes()[second].ledger == "{}")
    before = feed.nodes()
    side.delete(f"/api/v1/nodes/{second}")
    eventually(lambda: second not in feed.nodes())
    assert second in before  # a snapshot does not change
    assert feed.resolve(f"ip-{second}") is None
    eventually(lambda: changes.of(second)[-1] == (True, False))
    assert changes.broken == []
    assert feed.last_error() is None


def test_a_node_whose_gpus_vanish_stays_if_the_predicate_says_so(side: Side) -> None:
    name = side.node()
    seen: set[str] = set()

    def ever_had_gpus(view: NodeView) -> bool:
        if view.gpu_capacity > 0:
            seen.add(view.uid)
        return view.uid in seen

    feed, _ = side.feed(ever_had_gpus)
    eventually(lambda: name in feed.nodes())
    side.patch(name, {"status": {"capacity": {"nvidia.com/gpu": "0"}}}, "/status")
    eventually(lambda: feed.nodes()[name].gpu_capacity == 0)


def test_our_own_write_is_there_at_once_and_heard_of_once(side: Side) -> None:
    name = side.node()
    changes = Changes()
    feed, _ = side.feed(gpus, callback=changes)
    eventually(lambda: name in feed.nodes())
    cluster = side.cluster()
    edit = NodeEdit(annotations={side.keys.ledger: "ours"})
    feed.put(cluster.edit_node(cluster.get_node(name), edit))
    assert feed.nodes()[name].ledger == "ours"
    eventually(lambda: any(new and new.ledger == "ours" for _, new in changes.seen))
    other = side.node()
    eventually(lambda: other in feed.nodes())
    assert sum(bool(new and new.ledger == "ours") for _, new in changes.seen) == 1


def test_stop_ends_an_open_watch_within_a_second(side: Side) -> None:
    name = side.node()
    feed, stop = side.feed(gpus)
    eventually(lambda: name in feed.nodes())
    threading.Event().wait(0.2)  # the watch is open and silent
    started = time.monotonic()
    stop.set()
    assert feed.join(5)
    assert time.monotonic() - started < 1
    assert feed.last_error() is None


def test_missing_rights_are_shown_and_heal(side: Side) -> None:
    feed, _ = side.feed(gpus, "nobody")
    eventually(lambda: feed.last_error() is not None)
    error = feed.last_error()
    assert isinstance(error, ClusterForbidden)
    assert "list nodes" in str(error)
    assert not feed.synced()


def test_the_right_to_list_does_not_stand_for_the_right_to_watch(
    sandbox_api: KubeApi, sandbox_side: Side
) -> None:
    side = sandbox_side
    name = side.node()
    denied = sandbox_api.deny["nobody"]
    denied.discard(("list", "nodes"))
    try:
        feed, _ = side.feed(gpus, "nobody")
        eventually(lambda: "watch nodes" in str(feed.last_error()))
        assert name in feed.nodes()
        denied.discard(("watch", "nodes"))
        eventually(lambda: feed.last_error() is None)
    finally:
        denied |= {("list", "nodes"), ("watch", "nodes")}


Disturb = Callable[[KubeApi], object]


def _compact(api: KubeApi) -> None:
    api.faults.compact()
    api.faults.kill_watches()


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda api: api.faults.kill_watches(), id="disconnect"),
        pytest.param(_compact, id="410"),
        pytest.param(
            lambda api: (
                api.faults.answer(500, method="GET", path="/api/v1/nodes$", times=2),
                api.faults.kill_watches(),
            ),
            id="500",
        ),
        pytest.param(
            lambda api: (
                api.faults.drop(method="GET", path="/api/v1/nodes$", times=2),
                api.faults.kill_watches(),
            ),
            id="dropped",
        ),
    ],
)
def test_nothing_is_missed_while_the_watch_is_disturbed(
    sandbox_api: KubeApi, sandbox_side: Side, disturb: Disturb
) -> None:
    side = sandbox_side
    stays, goes = side.node(), side.node()
    changes = Changes()
    feed, _ = side.feed(gpus, callback=changes, jitter=lambda: 0.0)
    eventually(lambda: goes in feed.nodes())
    disturb(sandbox_api)
    side.delete(f"/api/v1/nodes/{goes}")
    comes = side.node()
    side.patch(stays, {"metadata": {"annotations": {side.keys.ledger: "new"}}})
    eventually(lambda: comes in feed.nodes() and goes not in feed.nodes())
    eventually(lambda: feed.nodes()[stays].ledger == "new")
    eventually(lambda: feed.last_error() is None)
    assert changes.broken == []


def test_a_large_cluster_is_listed_in_pages(side: Side) -> None:
    names = {side.node() for _ in range(12)}
    feed, _ = side.feed(gpus, page=5)
    eventually(feed.synced)
    assert names <= set(feed.nodes())


def test_a_silent_watch_is_opened_anew(side: Side) -> None:
    name = side.node()
    feed, _ = side.feed(gpus, silence_s=0.3, jitter=lambda: 0.0)
    eventually(lambda: name in feed.nodes())
    eventually(lambda: isinstance(feed.last_error(), ClusterUnavailable))
    eventually(lambda: feed.last_error() is None)


@pytest.mark.e2e
def test_a_restarted_api_server_is_followed(
    kube_factory: Callable[..., Any], tmp_path: Path
) -> None:
    kube = kube_factory()
    kube.create_node("before")
    flags = {"cluster": {"kubeconfig": str(kube.kubeconfig(tmp_path / "k")), "namespace": "x"}}
    settings = load(flags=flags, environ={})
    clock = SystemClock()
    http, cluster = build_cluster(settings, clock)
    decoder = NodeDecoder(settings.keys(), "", "nvidia.com/gpu")
    feed = WatchFeed(http, decoder, gpus, clock, jitter=lambda: 0.0)
    stop = threading.Event()
    feed.start(stop)
    eventually(lambda: "before" in feed.nodes())
    kube.stop_apiserver(kill=True)
    eventually(lambda: feed.last_error() is not None)
    assert isinstance(feed.last_error(), ClusterUnavailable)
    with pytest.raises(ClusterUnavailable, match="nothing answers") as caught:
        cluster.get_node("before")
    assert caught.value.hint
    kube.start_apiserver()
    kube.create_node("after")
    kube.request("DELETE", "/api/v1/nodes/before")
    eventually(lambda: set(feed.nodes()) == {"after"}, 35)
    assert feed.last_error() is None

    lists: list[str] = []
    real_list = feed._list

    def counted() -> None:
        lists.append("again")
        real_list()

    feed._list = counted  # type: ignore[method-assign]
    kube.stop_apiserver(kill=True)
    feed._position = "1"  # of before what the server remembers: 410
    kube.start_apiserver()
    kube.create_node("later")
    eventually(lambda: set(feed.nodes()) == {"after", "later"}, 35)
    assert lists
    stop.set()
    assert feed.join(5)
    http.close()
