"""Which objects exist, and what changed since revision N?

Invariants: one revision counter for everything; each write takes exactly one revision and leaves
exactly one change in the ring buffer; an object that has been stored is never altered, a write
stores a new one. So readers may keep what they get, as long as they do not write into it.
"""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from konduktor_health.clock import Clock, rfc3339
from konduktor_health.sandbox.kubeapi import resources, status
from konduktor_health.sandbox.kubeapi.resources import Resource
from konduktor_health.sandbox.kubeapi.selectors import Predicate, everything
from konduktor_health.sandbox.kubeapi.status import Json

_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class Entry:
    """One version of one object, encoded at most once."""

    __slots__ = ("_raw", "obj")

    def __init__(self, obj: Json) -> None:
        self.obj = obj
        self._raw: bytes | None = None

    def raw(self) -> bytes:
        """The object as JSON."""
        if self._raw is None:
            self._raw = encode(self.obj)
        return self._raw


@dataclass(frozen=True, slots=True)
class Change:
    """What one revision did to one object. ``old`` is None for a creation."""

    revision: int
    storage: str
    namespace: str
    kind: str  # ADDED, MODIFIED, DELETED
    entry: Entry
    old: Entry | None


def encode(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def assign_name(meta: Json) -> None:
    """Honour ``generateName`` where there is no name."""
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"


class Revisions:
    """Objects by resource, namespace and name. Thread-safe."""

    def __init__(self, clock: Clock, buffer: int = 4096) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._objects: dict[str, dict[tuple[str, str], Entry]] = {
            r.storage: {} for r in resources.RESOURCES
        }
        self._changes: deque[Change] = deque(maxlen=buffer)
        self._revision = 1
        self._floor = 1  # changes up to here are no longer in the buffer

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens at one moment, as far as others can see."""
        with self._lock:
            yield

    @property
    def revision(self) -> int:
        """The newest revision."""
        with self._lock:
            return self._revision

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry:
        """One object. ApiError 404."""
        with self._lock:
            found = self._objects[resource.storage].get((namespace, name))
        if found is None:
            raise status.not_found(resource.group, resource.plural, name)
        return found

    def entries(
        self, resource: Resource, namespace: str = "", match: Predicate = everything
    ) -> tuple[list[Entry], int]:
        """Objects in key order and the revision at which that is the whole truth."""
        with self._lock:
            items = list(self._objects[resource.storage].items())
            revision = self._revision
        items.sort(key=lambda item: item[0])
        found = [
            entry
            for (space, _), entry in items
            if (not namespace or space == namespace) and match(entry.obj)
        ]
        return found, revision

    def since(self, revision: int) -> list[Change]:
        """Changes after ``revision``. ApiError 410 when the buffer does not reach so far back."""
        with self._lock:
            if revision < self._floor:
                raise status.expired(revision, self._floor)
            skip = max(0, revision - self._floor)
            return list(itertools.islice(self._changes, skip, None))

    def wait(self, revision: int, seconds: float) -> None:
        """Return when there is something after ``revision``, or when the time is over."""
        with self._changed:
            if self._revision <= revision:
                self._changed.wait(max(0.0, seconds))

    def wake(self) -> None:
        """Let every waiter look around."""
        with self._changed:
            self._changed.notify_all()

    def compact(self) -> None:
        """Forget all changes: watches from before get 410."""
        with self._lock:
            self._changes.clear()
            self._floor = self._revision

    def now(self) -> str:
        """The current time as objects carry it."""
        return rfc3339(self._clock.now_ns())

    def insert(self, resource: Resource, obj: Json, *, dry_run: bool = False) -> Entry:
        """Store a new object and give it its identity. ApiError 409 AlreadyExists.

        ``obj`` belongs to the store afterwards. ``metadata.generateName`` is honoured.
        """
        meta = obj.setdefault("metadata", {})
        assign_name(meta)
        namespace = meta.get("namespace", "") if resource.namespaced else ""
        with self._lock:
            if (namespace, meta["name"]) in self._objects[resource.storage]:
                raise status.already_exists(resource.group, resource.plural, meta["name"])
            meta["uid"] = str(uuid.uuid4())
            meta["creationTimestamp"] = self.now()
            meta.pop("deletionTimestamp", None)
            if resource.counts_generation:
                meta["generation"] = 1
            return self._commit(resource, "ADDED", obj, None, dry_run=dry_run)

    def replace(self, resource: Resource, old: Entry, obj: Json, *, dry_run: bool = False) -> Entry:
        """Store ``obj`` as the next version of ``old``; unchanged content takes no revision.

        The last finalizer going away from an object that is being deleted deletes it.
        """
        with self._lock:
            before = old.obj["metadata"]
            meta = obj["metadata"] = dict(obj.get("metadata") or {})
            for key in _KEPT:
                _carry(before, meta, key)
            _carry(before, meta, "generation")
            meta["resourceVersion"] = before["resourceVersion"]
            if _same(old.obj, obj):
                return old
            if resource.counts_generation and old.obj.get("spec") != obj.get("spec"):
                meta["generation"] = before.get("generation", 1) + 1
            if meta.get("deletionTimestamp") and not meta.get("finalizers"):
                grace = meta.get("deletionGracePeriodSeconds") or 0
                if before.get("finalizers") and not grace:
                    return self._commit(resource, "DELETED", obj, old, dry_run=dry_run)
            return self._commit(resource, "MODIFIED", obj, old, dry_run=dry_run)

    def remove(
        self, resource: Resource, old: Entry, *, grace: int = 0, dry_run: bool = False
    ) -> tuple[Entry, bool]:
        """Delete, or mark as being deleted where a finalizer or a grace period says so.

        Returns the last version and whether the object is gone.
        """
        with self._lock:
            meta = old.obj["metadata"]
            if not meta.get("finalizers") and grace <= 0:
                obj = {**old.obj, "metadata": dict(meta)}
                return self._commit(resource, "DELETED", obj, old, dry_run=dry_run), True
            if meta.get("deletionTimestamp") and grace >= (
                meta.get("deletionGracePeriodSeconds") or 0
            ):
                return old, False
            marked = dict(meta)
            end = self._clock.now_ns() + grace * 1_000_000_000
            marked["deletionTimestamp"] = rfc3339(end)
            marked["deletionGracePeriodSeconds"] = grace
            if resource.counts_generation:
                marked["generation"] = meta.get("generation", 1) + 1
            obj = {**old.obj, "metadata": marked}
            return self._commit(resource, "MODIFIED", obj, old, dry_run=dry_run), False

    def _commit(
        self, resource: Resource, kind: str, obj: Json, old: Entry | None, *, dry_run: bool
    ) -> Entry:
        entry = Entry(obj)
        if dry_run:
            return entry
        meta = obj["metadata"]
        self._revision += 1
        meta["resourceVersion"] = str(self._revision)
        namespace = meta.get("namespace", "") if resource.namespaced else ""
        key = (namespace, meta["name"])
        if kind == "DELETED":
            del self._objects[resource.storage][key]
        else:
            self._objects[resource.storage][key] = entry
        if len(self._changes) == self._changes.maxlen:
            self._floor = self._changes[0].revision
        self._changes.append(Change(self._revision, resource.storage, namespace, kind, entry, old))
        self._changed.notify_all()
        return entry


def _carry(before: Json, after: Json, key: str) -> None:
    """What the server alone decides: whatever a client sends is put back."""
    if key in before:
        after[key] = before[key]
    else:
        after.pop(key, None)


def _same(old: Json, new: Json) -> bool:
    """Equal but for who wrote it: such a write takes no revision."""
    ignore = "managedFields"
    if any(old.get(k) != new.get(k) for k in {*old, *new} if k != "metadata"):
        return False
    before, after = old["metadata"], new["metadata"]
    return all(before.get(k) == after.get(k) for k in {*before, *after} if k != ignore)
