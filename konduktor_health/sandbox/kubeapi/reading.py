"""What does the API show? get, list with pages, watch, as objects or as Tables."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from konduktor_health.clock import Clock
from konduktor_health.sandbox.kubeapi import events, selectors
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.revisions import Entry, Revisions, encode
from konduktor_health.sandbox.kubeapi.route import Answer, Call, Stream, Target
from konduktor_health.sandbox.kubeapi.selectors import Predicate
from konduktor_health.sandbox.kubeapi.status import ApiError, Json, bad_request
from konduktor_health.sandbox.kubeapi.table import table
from konduktor_health.sandbox.kubeapi.watch import WatchOptions, frames, shown

LONGEST_WATCH_S = 3600.0
PAGES_KEPT = 64


class Pages:
    """The rests of lists that were asked in pages: each is a snapshot of one revision."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lists: OrderedDict[str, tuple[list[Entry], int]] = OrderedDict()
        self._next = 0

    def keep(self, entries: list[Entry], revision: int) -> str:
        """Remember a list and return the first half of its continue tokens."""
        with self._lock:
            self._next += 1
            self._lists[str(self._next)] = (entries, revision)
            while len(self._lists) > PAGES_KEPT:
                self._lists.popitem(last=False)
            return str(self._next)

    def find(self, key: str) -> tuple[list[Entry], int]:
        """A list that was kept. ApiError 410."""
        with self._lock:
            found = self._lists.get(key)
        if found is None:
            raise ApiError(
                410,
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter.",
                reason="Expired",
            )
        return found

    def clear(self) -> None:
        """Forget all of them, as a compaction does."""
        with self._lock:
            self._lists.clear()


class Reader:
    """Reads for the HTTP side."""

    def __init__(self, store: Revisions, clock: Clock, pages: Pages) -> None:
        self._store = store
        self._clock = clock
        self._pages = pages

    def get(self, call: Call, target: Target) -> Answer:
        """One object."""
        entry = self._store.entry(target.resource, target.namespace, target.name)
        return self.show(call, target.resource, entry)

    def show(self, call: Call, resource: Resource, entry: Entry, code: int = 200) -> Answer:
        """One object as the client wants it."""
        entry = shown(resource, entry)
        if _wants_table(call):
            meta = {"resourceVersion": entry.obj["metadata"].get("resourceVersion", "")}
            return Answer(encode(self._table(call, resource, [entry.obj], meta)), code)
        return Answer(entry.raw(), code)

    def list_all(self, call: Call, target: Target) -> Answer:
        """A collection, whole or in pages. ApiError 400, 410, 504."""
        resource = target.resource
        self._check_revision(call)
        limit = max(0, call.integer("limit"))
        match = predicate(call, resource)
        key, start = "", 0
        if token := call.query.get("continue"):
            key, start = _token(token)
            found, revision = self._pages.find(key)
        else:
            found, revision = self._store.entries(resource, target.namespace)
            found = [e for e in (shown(resource, entry) for entry in found) if match(e.obj)]
        page = found[start : start + limit] if limit else found[start:]
        meta: Json = {"resourceVersion": str(revision)}
        rest = len(found) - start - len(page)
        if rest > 0:
            key = key or self._pages.keep(found, revision)
            meta["continue"] = base64.urlsafe_b64encode(
                encode({"k": key, "s": start + len(page)})
            ).decode()
            if not call.query.get("labelSelector") and not call.query.get("fieldSelector"):
                meta["remainingItemCount"] = rest
        if _wants_table(call):
            return Answer(encode(self._table(call, resource, [e.obj for e in page], meta)))
        return Answer(list_body(resource, page, meta))

    def watch(self, call: Call, target: Target, ended: Callable[[], bool]) -> Stream:
        """A stream of changes. ApiError 400, 422, 500 for parameters that make no sense."""
        resource = target.resource
        match = predicate(call, resource, target.name)
        initial = call.query.get("sendInitialEvents")
        if initial is not None and call.query.get("resourceVersionMatch") != "NotOlderThan":
            raise ApiError(
                422,
                'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )
        text = call.query.get("resourceVersion", "")
        revision = None if text in ("", "0") else _revision(text)
        # without the parameter, a watch that begins with the present is told its end as well
        initial_end = revision is None and initial is None
        if call.flag("sendInitialEvents"):
            revision, initial_end = None, True
        timeout = call.integer("timeoutSeconds") or LONGEST_WATCH_S
        options = WatchOptions(
            resource,
            target.namespace,
            match,
            revision,
            min(float(timeout), LONGEST_WATCH_S),
            bookmarks=call.flag("allowWatchBookmarks"),
            initial_end=initial_end and call.flag("allowWatchBookmarks"),
        )
        return Stream(self._pieces(call, options, ended))

    def _pieces(
        self, call: Call, options: WatchOptions, ended: Callable[[], bool]
    ) -> Iterator[bytes | None]:
        first = True
        try:
            for frame in frames(self._store, options, ended):
                if frame is None:
                    yield None
                    continue
                kind, entry = frame
                raw = entry.raw()
                if _wants_table(call) and kind != "BOOKMARK":
                    meta = {"resourceVersion": entry.obj["metadata"]["resourceVersion"]}
                    raw = encode(
                        self._table(call, options.resource, [entry.obj], meta, columns=first)
                    )
                    first = False
                yield b'{"type":"%s","object":%s}\n' % (kind.encode(), raw)
        except ApiError as error:  # headers are out: an error is an event, as on a real server
            yield encode({"type": "ERROR", "object": error.body()}) + b"\n"

    def _table(
        self,
        call: Call,
        resource: Resource,
        objects: list[Json],
        meta: Json,
        *,
        columns: bool = True,
    ) -> Json:
        include = call.query.get("includeObject", "Metadata")
        return table(
            resource, objects, self._clock.now_ns(), meta=meta, include=include, columns=columns
        )

    def _check_revision(self, call: Call) -> None:
        text = call.query.get("resourceVersion", "")
        wanted, current = (_revision(text) if text else 0), self._store.revision
        if wanted > current:
            raise ApiError(
                504,
                f"Too large resource version: {wanted}, current: {current}",
                details={
                    "causes": [
                        {
                            "reason": "ResourceVersionTooLarge",
                            "message": "Too large resource version",
                        }
                    ],
                    "retryAfterSeconds": 1,
                },
            )


def predicate(call: Call, resource: Resource, name: str = "") -> Predicate:
    """The selectors of a request, on the shown form of objects. ApiError 400."""
    by_label = selectors.parse_labels(call.query.get("labelSelector", ""))
    by_field = selectors.parse_fields(call.query.get("fieldSelector", ""), resource.fields)
    if name:
        by_name = selectors.parse_fields(f"metadata.name={name}", resource.fields)
        return lambda obj: by_name(obj) and by_label(obj) and by_field(obj)
    return lambda obj: by_label(obj) and by_field(obj)


def list_body(resource: Resource, entries: list[Entry], meta: Json) -> bytes:
    """A List object made of what is encoded already."""
    head = encode(
        {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta}
    )
    return head[:-1] + b',"items":[' + b",".join(entry.raw() for entry in entries) + b"]}"


def collection(resource: Resource, entries: list[Entry], meta: Json) -> Answer:
    """The answer to a deletion of many."""
    shown_entries = [Entry(events.shown_form(resource, entry.obj)) for entry in entries]
    return Answer(list_body(resource, shown_entries, meta))


def _wants_table(call: Call) -> bool:
    first = call.accept.partition(",")[0]
    return "as=Table" in first and "v=v1" in first


def _revision(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ApiError(
            500,
            f'resourceVersion: Invalid value: "{text[:50]}": strconv.ParseUint: parsing '
            f'"{text[:50]}": invalid syntax',
            reason="",
        )
    return int(text)


def _token(text: str) -> tuple[str, int]:
    try:
        value = json.loads(base64.urlsafe_b64decode(text.encode()))
        return str(value["k"]), max(0, int(value["s"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise bad_request("invalid continue token: continue key is not valid") from None
