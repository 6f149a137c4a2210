"""Who signs what agents are asked to do? Keeps the keys of ``adapters.probes.keys`` in the cluster.

``keep`` is called by a thread of its own, once a minute, by the replica that leads; it reads both
objects every ten minutes, and writes one when it is not as it should be. ``sign`` answers from
memory.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from loguru import logger

from konduktor_health.adapters.kube.belongings import SIGNING_CONFIG_MAP, SIGNING_SECRET
from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.probes.keys import (
    DamagedKeysError,
    Key,
    as_secret,
    from_secret,
    published,
    rotated,
    signer_of,
)
from konduktor_health.clock import Clock
from konduktor_health.errors import (
    AgentUnavailable,
    ClusterRejected,
    ClusterUnavailable,
    Conflict,
    HealthError,
    LeadershipLost,
    NotFound,
)
from probes.report import signed_bytes

SECRET, CONFIG_MAP = SIGNING_SECRET, SIGNING_CONFIG_MAP
LOOK_S = 60.0
WANTED_S = 1.0  # as long as there is no key: is one wanted now?
FAILED_S = 6.0  # the same, after an error
READ_AGAIN_S = 600.0
_KEPT_META = ("name", "namespace", "resourceVersion", "labels", "annotations", "ownerReferences")


class Signing:
    """The signing key. ``sign`` may be called from any thread, all else from one."""

    def __init__(
        self,
        http: KubeHttp,
        clock: Clock,
        *,
        namespace: str,
        rotate_s: float,
        assert_leader: Callable[[], None] = lambda: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """``rotate_s``: how long a key signs; 0: for ever. ``wanted``: there is somebody who takes
        signed requests; without, nothing is made or written in the cluster."""
        self._http = http
        self._clock = clock
        where = quote(namespace, safe="")
        self._namespace = namespace
        self._secrets = f"/api/v1/namespaces/{where}/secrets"
        self._config_maps = f"/api/v1/namespaces/{where}/configmaps"
        self._rotate_s = rotate_s
        self._assert_leader = assert_leader
        self._wanted = wanted
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()
        self._read_s = -READ_AGAIN_S
        self._said = ""

    def start(self, stop: threading.Event) -> None:
        """Keep the keys in a thread until ``stop`` is set."""
        threading.Thread(target=self._run, args=(stop,), name="signing", daemon=True).start()

    def sign(self, endpoint: str, body: bytes) -> str:
        """The value of the signature header. Raises AgentUnavailable while there is no key."""
        with self._lock:
            keys = self._keys
        if not keys:
            raise AgentUnavailable(
                "there is no signing key yet",
                hint=self._said or f"the controller keeps it in Secret {SECRET}",
            )
        signer = signer_of(keys, self._clock.now_ns())
        return signer.signature(signed_bytes(endpoint, body))

    def keep(self) -> None:
        """Read, make, replace and publish the keys, as far as that is due. Raises HealthError."""
        if not self._wanted():
            return
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        known = self._keys
        wanted = rotated(known, now_ns, rotate_s=self._rotate_s) if known else ()
        if known and wanted == known and now_s - self._read_s < READ_AGAIN_S:
            return
        self._assert_leader()
        keys = self._kept(now_ns)
        self._publish(keys)
        with self._lock:
            self._keys = keys
        self._read_s = now_s

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.keep()
                self._said = ""
            except LeadershipLost:
                return
            except HealthError as error:
                if str(error) != self._said:
                    logger.bind(hint=error.hint).warning(f"signing keys are not kept: {error}")
                self._said = str(error)
            except Exception as error:  # a bug must not end the thread unseen
                logger.opt(exception=error).error(f"bug: signing keys are not kept: {error!r}")
            soon_s = FAILED_S if self._said else WANTED_S
            self._clock.wait(stop, LOOK_S if self._keys else soon_s)

    def _kept(self, now_ns: int) -> tuple[Key, ...]:
        """The keys in the Secret, once they are as they should be now. Conflict: another replica
        was quicker, and the next look finds what it wrote."""
        path = f"{self._secrets}/{SECRET}"
        try:
            raw = self._http.get(path)
        except NotFound:
            raw = None
        known: tuple[Key, ...] = ()
        if raw is not None:
            try:
                known = from_secret(raw.get("data"))
            except DamagedKeysError as error:
                raise ClusterRejected(
                    f"Secret {SECRET} in namespace {self._namespace}: {error}",
                    hint="delete it to have new keys made; agents take them within minutes",
                ) from error
        keys = rotated(known, now_ns, rotate_s=self._rotate_s)
        if keys == known:
            return keys
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
        body["data"] = dict(as_secret(keys))
        self._write(self._secrets, SECRET, body, raw)
        logger.bind(keys=[key.name for key in keys]).info("signing keys were made or replaced")
        return keys

    def _publish(self, keys: tuple[Key, ...]) -> None:
        path = f"{self._config_maps}/{CONFIG_MAP}"
        try:
            raw: dict[str, Any] | None = self._http.get(path)
        except NotFound:
            raw = None
        data = dict(published(keys))
        if raw is not None and raw.get("data") == data:
            return
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
        self._write(self._config_maps, CONFIG_MAP, body, raw)

    def _write(
        self, collection: str, name: str, body: dict[str, Any], known: Mapping[str, Any] | None
    ) -> None:
        """Create the object, or replace exactly the version that was read."""
        if known is None:
            body["metadata"] = {"name": name, "namespace": self._namespace}
            try:
                self._http.request("POST", collection, body=body)
            except NotFound as error:
                raise ClusterRejected(
                    f"namespace {self._namespace} does not exist: {error}",
                    hint="set probes.namespace to the namespace of the agents",
                ) from error
            return
        meta = known.get("metadata")
        if not isinstance(meta, dict):
            raise ClusterUnavailable(f"{name}: an answer without metadata")
        body["metadata"] = {key: meta[key] for key in _KEPT_META if key in meta}
        try:
            answer = self._http.request("PUT", f"{collection}/{name}", body=body)
        except NotFound as error:  # deleted under us: the next look creates it
            raise Conflict(str(error)) from error
        json.loads(answer)
