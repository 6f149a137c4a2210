"""What does a watcher see? The frames of one watch, in the order of revisions.

A frame is (type, entry); None says that nothing happened for a while, so that the caller can see
whether anybody still listens. An error is raised as ApiError and ends the watch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from konduktor_health.sandbox.kubeapi.events import is_view, shown_form
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.revisions import Change, Entry, Revisions
from konduktor_health.sandbox.kubeapi.selectors import Predicate
from konduktor_health.sandbox.kubeapi.status import Json

Frame = tuple[str, Entry]
TICK_S = 0.5  # how often a silent watch looks whether it should end
BOOKMARK_S = 60.0  # as often as a real server
BOOKMARK_BEFORE_END_S = 2.0  # a real server's last bookmark, that long before the time-out
INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What the client asked for. ``revision`` None: the current state first, then changes."""

    resource: Resource
    namespace: str
    match: Predicate
    revision: int | None
    timeout_s: float
    bookmarks: bool = False
    initial_end: bool = False  # sendInitialEvents: a bookmark marks the end of the first state


def frames(
    store: Revisions, options: WatchOptions, ended: Callable[[], bool]
) -> Iterator[Frame | None]:
    """Yield frames until the time is over or ``ended()``. ApiError 410 for an old revision."""
    deadline = time.monotonic() + options.timeout_s
    bookmark_at = _next_bookmark(deadline)
    position = options.revision
    if position is None:
        entries, position = store.entries(options.resource, options.namespace)
        for entry in entries:
            if options.match(shown(options.resource, entry).obj):
                yield "ADDED", shown(options.resource, entry)
        if options.initial_end:
            yield "BOOKMARK", _bookmark(options.resource, position, INITIAL_END)
    while not ended():
        for change in store.since(position):
            position = change.revision
            frame = _frame(options, change)
            if frame is not None:
                yield frame
        now = time.monotonic()
        if now >= deadline:
            return
        if options.bookmarks and now >= bookmark_at:
            bookmark_at = _next_bookmark(deadline)
            yield "BOOKMARK", _bookmark(options.resource, position, None)
        store.wait(position, min(TICK_S, deadline - now, max(0.01, bookmark_at - now)))
        yield None


def _next_bookmark(deadline: float) -> float:
    now = time.monotonic()
    before_end = deadline - BOOKMARK_BEFORE_END_S
    return min(now + BOOKMARK_S, before_end) if before_end > now else now + BOOKMARK_S


def _frame(options: WatchOptions, change: Change) -> Frame | None:
    """The change as this watcher sees it: leaving the selector is a deletion."""
    resource = options.resource
    if change.storage != resource.storage:
        return None
    if options.namespace and change.namespace != options.namespace:
        return None
    new = shown(resource, change.entry)
    was = change.old is not None and options.match(shown(resource, change.old).obj)
    if change.kind == "DELETED":
        return ("DELETED", new) if was else None
    if options.match(new.obj):
        return ("MODIFIED" if was else "ADDED"), new
    if was and change.old is not None:
        return "DELETED", _at_revision(shown(resource, change.old), change.revision)
    return None


def shown(resource: Resource, entry: Entry) -> Entry:
    """The entry in the form of the API that was asked."""
    return Entry(shown_form(resource, entry.obj)) if is_view(resource) else entry


def _at_revision(entry: Entry, revision: int) -> Entry:
    meta = {**entry.obj["metadata"], "resourceVersion": str(revision)}
    return Entry({**entry.obj, "metadata": meta})


def _bookmark(resource: Resource, revision: int, annotations: Json | None) -> Entry:
    meta: Json = {"resourceVersion": str(revision)}
    if annotations:
        meta["annotations"] = annotations
    return Entry({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta})


class Ending:
    """Is this watch to end? When the server stops, or when watches are killed."""

    def __init__(self, stop: threading.Event, epoch: Callable[[], int]) -> None:
        self._stop = stop
        self._epoch = epoch
        self._begun = epoch()

    def __call__(self) -> bool:
        """True when no further frame shall be sent."""
        return self._stop.is_set() or self._epoch() != self._begun
