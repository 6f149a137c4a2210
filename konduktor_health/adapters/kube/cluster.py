"""How do our writes reach the cluster? Compare-and-swap on Nodes, Events, the state ConfigMap.

Taints are one atomic list on the server: whoever patches it replaces all of it. edit_node sends
a JSON merge patch with the view's resourceVersion and the whole list. Foreign taints must come
back exactly as they were (timeAdded, fields that we do not know), which a NodeView does not hold;
so the raw list of the last nodes read or written is remembered beside (node, resourceVersion).
When it is not there, the node is read once more, and another version than the view's is a
Conflict. A JSON Patch with ``test`` operations would not need the raw list, but answers 422 both
to a lost race and to a wrong patch, fails on removing a key that is gone, and cannot add a label
without knowing whether there is a label map.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loguru import logger

from konduktor_health.adapters.kube.client import MERGE_PATCH, STRATEGIC_PATCH, KubeHttp
from konduktor_health.adapters.kube.listing import NODES, each_node
from konduktor_health.adapters.kube.nodes import NodeDecoder, printable
from konduktor_health.adapters.kube.status import AlreadyExists
from konduktor_health.clock import rfc3339
from konduktor_health.core.shard import Shard
from konduktor_health.errors import (
    ClusterRejected,
    ClusterUnavailable,
    Conflict,
    NotFound,
    excerpt,
)
from konduktor_health.model import Condition, Keys, NodeEdit, NodeView, PublishEvent, Taint
from konduktor_health.ports import Request

COMPONENT = "konduktor-health"
STATE_NAME = "konduktor-health-state"
EVENT_NAMESPACE = "default"  # where Events of objects without a namespace live
MAX_MESSAGE = 1024  # bytes; the limit of events.k8s.io for a note
_REMEMBERED = 1024  # raw taint lists kept, about 0.3 KB each
# As the server has it, case aside; "" or ".." would make a path to something else.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_MAX_STATE = 900_000  # bytes; the API server refuses objects above 1 MiB or so

_KEPT_META = (
    "name",
    "namespace",
    "resourceVersion",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)

RawTaints = tuple[dict[str, Any], ...]


class KubeCluster:
    """Cluster of ports on a real API server. Thread-safe."""

    def __init__(
        self,
        http: KubeHttp,
        decoder: NodeDecoder,
        keys: Keys,
        *,
        namespace: str,
        reporter: str = COMPONENT,
        shard: Shard | None = None,
    ) -> None:
        self._http = http
        self._decoder = decoder
        self._keys = keys
        self._namespace = namespace
        self._reporter = reporter
        shard = shard or Shard()
        self._state_name = shard.name(STATE_NAME)
        self._state_labels = {keys.shard: shard.value} if shard.value else {}
        self._lock = threading.Lock()
        self._raw_taints: OrderedDict[str, tuple[str, RawTaints]] = OrderedDict()
        self._state_meta: dict[str, Any] | None = None

    def get_node(self, name: str) -> NodeView:
        """A quorum read of one node. NotFound too for what cannot be a Node's name."""
        if not _NAME.fullmatch(name):
            raise NotFound(f"get nodes {excerpt(name)}: not a node name")
        return self._view(self._http.get(_node_path(name)), name)

    def list_nodes(self) -> list[NodeView]:
        """All nodes of the cluster. Raises Gone (transient) when the list outlives its version."""
        views: list[NodeView] = []

        def take(raw: Any) -> None:
            view = self._decoder.view(raw)
            if view is not None:
                views.append(view)

        each_node(self._http, take)
        return views

    def edit_node(self, view: NodeView, edit: NodeEdit) -> NodeView:
        """One PATCH with taints, annotations and labels, at exactly the view's version."""
        for taint in (*edit.add_taints, *edit.remove_taints):
            if taint.key != self._keys.taint:
                raise ValueError(f"{view.name}: taint {taint.key} is not ours to edit")
        if not view.resource_version:
            raise ValueError(f"{view.name}: a view without resourceVersion cannot be edited")
        metadata: dict[str, Any] = {"resourceVersion": view.resource_version}
        if edit.annotations:
            metadata["annotations"] = dict(edit.annotations)
        if edit.labels:
            metadata["labels"] = dict(edit.labels)
        body: dict[str, Any] = {"metadata": metadata}
        if edit.add_taints or edit.remove_taints:
            body["spec"] = {"taints": _edited(self._raw(view), edit)}
        return self._patch(_node_path(view.name), body, MERGE_PATCH, view.name)

    def set_condition(self, view: NodeView, condition: Condition, now_ns: int) -> NodeView:
        """Write our condition; lastTransitionTime moves only when the status changes."""
        now = rfc3339(now_ns)
        entry: dict[str, str] = {
            "type": self._keys.condition,
            "status": condition.status,
            "reason": printable(condition.reason, 256),
            "message": printable(condition.message, 4096),
            "lastHeartbeatTime": now,
        }
        if view.condition is None or view.condition.status != condition.status:
            entry["lastTransitionTime"] = now  # left out, the merge by type keeps what is there
        body = {
            "metadata": {"resourceVersion": view.resource_version},
            "status": {"conditions": [entry]},
        }
        return self._patch(_node_path(view.name) + "/status", body, STRATEGIC_PATCH, view.name)

    def clear_condition(self, view: NodeView) -> NodeView:
        """Remove our condition; the merge by type leaves the others as they are."""
        gone = {"type": self._keys.condition, "$patch": "delete"}
        body = {
            "metadata": {"resourceVersion": view.resource_version},
            "status": {"conditions": [gone]},
        }
        return self._patch(_node_path(view.name) + "/status", body, STRATEGIC_PATCH, view.name)

    def publish_event(self, event: PublishEvent, now_ns: int) -> None:
        """Create the Event; its name follows from ``dedupe``, so a second one is no new one."""
        now = rfc3339(now_ns)
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": _event_name(event, event.node or self._namespace),
                "namespace": EVENT_NAMESPACE,
            },
            "involvedObject": self._about(event),
            "type": event.type,
            "reason": printable(event.reason, 128),
            "message": bounded_message(event.message),
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._reporter[:128],
        }
        try:
            self._http.request("POST", f"/api/v1/namespaces/{EVENT_NAMESPACE}/events", body=body)
        except AlreadyExists:
            return

    def read_state(self) -> Mapping[str, Any] | None:
        """The ConfigMap's values, decoded; a value that is no JSON is left out (and logged)."""
        raw = self._get_state()
        if raw is None:
            return None
        state: dict[str, Any] = {}
        data = raw.get("data")
        for key, text in (data if isinstance(data, dict) else {}).items():
            try:
                state[key] = json.loads(text)
            except (ValueError, TypeError, RecursionError):
                logger.warning(
                    "ConfigMap {}: value of {} is damaged, ignored", self._state_name, key
                )
        return state

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Create the ConfigMap, or replace the version that was read or written last. Conflict
        when somebody has written it since; the next call reads it again. ValueError when the state
        is larger than an object may be."""
        data = {key: json.dumps(value, separators=(",", ":")) for key, value in state.items()}
        if sum(len(text) for text in data.values()) > _MAX_STATE:
            raise ValueError(f"state of more than {_MAX_STATE} bytes does not fit a ConfigMap")
        self._put_state(data)

    def read_request(self) -> Request | None:
        """The annotation of the ConfigMap, and the version that it was read at."""
        raw = self._get_state()
        if raw is None:
            return None
        meta = _meta(raw)
        annotations = meta.get("annotations")
        text = annotations.get(self._keys.resume) if isinstance(annotations, dict) else None
        return Request(text if isinstance(text, str) else None, str(meta.get("resourceVersion")))

    def write_request(self, request: Request) -> None:
        """One PATCH of the annotation alone; the data stays as it is."""
        namespace = quote(self._namespace, safe="")
        body = {
            "metadata": {
                "resourceVersion": request.resource_version,
                "annotations": {self._keys.resume: request.text},
            }
        }
        path = f"/api/v1/namespaces/{namespace}/configmaps/{self._state_name}"
        self._http.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    def _about(self, event: PublishEvent) -> dict[str, str]:
        if not event.node:
            return {"apiVersion": "v1", "kind": "Namespace", "name": self._namespace}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "name": event.node,
            "uid": event.node_uid,
        }

    def _put_state(self, data: dict[str, str]) -> None:
        if self._state_meta is None:
            self._get_state()
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
        collection = f"/api/v1/namespaces/{quote(self._namespace, safe='')}/configmaps"
        known, self._state_meta = self._state_meta, None  # None again should the write fail
        if known is None:
            body["metadata"] = {"name": self._state_name, "namespace": self._namespace}
            if self._state_labels:
                body["metadata"]["labels"] = self._state_labels
            try:
                answer = self._http.request("POST", collection, body=body)
            except NotFound as error:
                raise ClusterRejected(
                    f"namespace {self._namespace} does not exist: {error}",
                    hint=f"kubectl create namespace {self._namespace}",
                ) from error
        else:
            body["metadata"] = known
            try:
                answer = self._http.request("PUT", f"{collection}/{self._state_name}", body=body)
            except NotFound as error:  # deleted under us: the next try creates it
                raise Conflict(str(error)) from error
        self._state_meta = _meta(json.loads(answer))

    def _get_state(self) -> dict[str, Any] | None:
        namespace = quote(self._namespace, safe="")
        try:
            raw = self._http.get(f"/api/v1/namespaces/{namespace}/configmaps/{self._state_name}")
        except NotFound:
            self._state_meta = None
            return None
        self._state_meta = _meta(raw)
        return raw

    def _patch(self, path: str, body: Any, content_type: str, name: str) -> NodeView:
        answer = self._http.request("PATCH", path, body=body, content_type=content_type)
        try:
            raw = json.loads(answer)
        except ValueError as error:
            raise ClusterUnavailable(f"patch node {name}: the answer is not JSON") from error
        return self._view(raw, name)

    def _view(self, raw: Any, name: str) -> NodeView:
        view = self._decoder.view(raw)
        if view is None:
            raise ClusterUnavailable(f"node {name}: the answer is not a Node")
        self._remember(view, raw)
        return view

    def _remember(self, view: NodeView, raw: Any) -> None:
        with self._lock:
            self._raw_taints[view.name] = (view.resource_version, _raw_taints(raw))
            self._raw_taints.move_to_end(view.name)
            while len(self._raw_taints) > _REMEMBERED:
                self._raw_taints.popitem(last=False)

    def _raw(self, view: NodeView) -> RawTaints:
        with self._lock:
            version, taints = self._raw_taints.get(view.name, ("", ()))
        if version == view.resource_version:
            return taints
        raw = self._http.get(_node_path(view.name))
        if self._view(raw, view.name).resource_version != view.resource_version:
            raise Conflict(f"node {view.name} has changed since it was read")
        return _raw_taints(raw)


def _raw_taints(raw: Any) -> RawTaints:
    spec = raw.get("spec") if isinstance(raw, dict) else None
    taints = spec.get("taints") if isinstance(spec, dict) else None
    return tuple(t for t in taints if isinstance(t, dict)) if isinstance(taints, list) else ()


def _edited(raw: RawTaints, edit: NodeEdit) -> list[dict[str, Any]]:
    """The whole list after the edit: foreign entries as they are, in their places."""
    touched = {(taint.key, taint.effect) for taint in (*edit.remove_taints, *edit.add_taints)}
    unchanged = {
        (taint.key, taint.effect): entry
        for taint in edit.add_taints
        for entry in raw
        if (entry.get("key"), entry.get("effect"), entry.get("value", ""))
        == (taint.key, taint.effect, taint.value)
    }  # ours already, with its timeAdded
    kept = [entry for entry in raw if (entry.get("key"), entry.get("effect")) not in touched]
    added = [
        unchanged.get((taint.key, taint.effect)) or _raw_taint(taint) for taint in edit.add_taints
    ]
    return kept + added


def _raw_taint(taint: Taint) -> dict[str, Any]:
    return {"key": taint.key, "value": taint.value, "effect": taint.effect}


def _node_path(name: str) -> str:
    return f"{NODES}/{quote(name, safe='')}"


def _event_name(event: PublishEvent, about: str) -> str:
    source = "\0".join((event.node_uid, event.reason, event.dedupe)).encode("utf-8", "replace")
    digest = hashlib.sha256(source).hexdigest()[:16]
    return f"{about[:230].rstrip('.-')}.{digest}"


def bounded_message(message: str) -> str:
    """An Event's message as the API takes it: printable, at most MAX_MESSAGE bytes."""
    text = printable(message, MAX_MESSAGE + 1)
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_MESSAGE:
        return text
    return data[: MAX_MESSAGE - 3].decode("utf-8", "ignore") + "…"


def _meta(raw: Any) -> dict[str, Any]:
    """What a replacing PUT has to send back: others' labels and owners survive it."""
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    return {key: meta[key] for key in _KEPT_META if key in meta} if isinstance(meta, dict) else {}
