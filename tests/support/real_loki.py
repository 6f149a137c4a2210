"""How does a test start, fill, limit and crash a real Loki?

The configuration is ``tests/servers/loki/loki.yaml`` with real ports and paths. Port and data
stay the same over stop(), kill() and start().
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.servers import build
from tests.support.processes import Server, ServerError, ServerProcess, binary, free_port

TEMPLATE = Path(build.__file__).parent / "loki" / "loki.yaml"
# Room for bursts: a test that wants a 429 lowers these for its own tenant.
GENEROUS = {
    "ingestion_rate_mb": 200,
    "ingestion_burst_size_mb": 400,
    "per_stream_rate_limit": "200MB",
    "per_stream_rate_limit_burst": "400MB",
    "max_global_streams_per_user": 0,
}
Line = tuple[int, str] | tuple[int, str, Mapping[str, str]]


class LokiRequestError(Exception):
    """Loki answered with a status that the caller did not expect."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"Loki answered {status}: {body[:500]}")
        self.status = status
        self.body = body


class Loki(Server):
    """A single-process Loki.

    ``limits`` are defaults for all tenants (``limits_config``), ``overrides`` map a tenant to its
    limits and can be changed while it runs; ``cache_results`` switches on the result cache that
    the Helm chart has by default; ``config`` adds or replaces top-level sections.
    ``listen`` is the address that it listens on ("0.0.0.0" inside a network namespace only).
    Without ``auth_enabled`` every request belongs to the tenant ``fake``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        auth_enabled: bool = False,
        limits: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        cache_results: bool = False,
        config: Mapping[str, Any] | None = None,
        listen: str = "127.0.0.1",
    ) -> None:
        self.directory = directory
        self._listen = listen
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._grpc_port = free_port()
        self._session = requests.Session()
        self._session.trust_env = False
        self._overrides = {name: dict(values) for name, values in (overrides or {}).items()}
        self._config = self._make_config(auth_enabled, limits or {}, cache_results, config or {})
        self.process = ServerProcess("loki", directory, ready=self._ready, stop_s=20)

    def _make_config(
        self, auth: bool, limits: Mapping[str, Any], cache: bool, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        data = self.directory / "data"
        config: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
        config["auth_enabled"] = auth
        config["server"] |= {
            "http_listen_address": self._listen,
            "http_listen_port": self.port,
            "grpc_listen_port": self._grpc_port,
            "graceful_shutdown_timeout": "1s",
        }
        # Through the scheduler's ring the first query after a start waits 3 to 5 s.
        grpc = f"127.0.0.1:{self._grpc_port}"
        config["query_scheduler"] = {"use_scheduler_ring": False}
        config["frontend"]["scheduler_address"] = grpc
        config["frontend_worker"]["scheduler_address"] = grpc
        config["common"] |= {
            "path_prefix": str(data),
            "storage": {
                "filesystem": {
                    "chunks_directory": str(data / "chunks"),
                    "rules_directory": str(data / "rules"),
                }
            },
        }
        config["limits_config"] = GENEROUS | dict(limits)
        config["runtime_config"] = {"file": str(self._runtime_file), "period": "200ms"}
        config["query_range"] = {"cache_results": cache}
        if cache:
            config["query_range"]["results_cache"] = {
                "cache": {"embedded_cache": {"enabled": True}}
            }
        return config | dict(more)

    @property
    def _runtime_file(self) -> Path:
        return self.directory / "runtime.yaml"

    def _ready(self) -> bool:
        return self._session.get(f"{self.url}/ready", timeout=2).status_code == 200

    def start(self) -> None:
        """Start and wait until ready (ServerError with the log's tail otherwise)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self._config)
        (self.directory / "loki.yaml").write_text(text, encoding="utf-8")
        self._write_overrides()
        super().start()

    def argv(self) -> list[str]:
        return [binary("loki"), f"-config.file={self.directory / 'loki.yaml'}"]

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self._session.close()
        super().stop()

    def kill(self) -> None:
        """SIGKILL: a crash. What was pushed comes back from the write-ahead log."""
        self._session.close()
        super().kill()

    def _write_overrides(self) -> None:
        fresh = self._runtime_file.with_suffix(".new")
        fresh.write_text(json.dumps({"overrides": self._overrides}), encoding="utf-8")
        fresh.rename(self._runtime_file)  # Loki never reads a half-written file

    def set_overrides(
        self, overrides: Mapping[str, Mapping[str, Any]], within_s: float = 10
    ) -> None:
        """Replace the limits of the named tenants and wait until Loki has reloaded them.

        Raises ServerError when Loki refuses them (its log says why).
        """
        fresh = self._overrides | {name: dict(values) for name, values in overrides.items()}
        changed, self._overrides = fresh != self._overrides, fresh
        before = self._active_overrides()
        self._write_overrides()
        if not changed:
            return
        deadline = time.monotonic() + within_s
        while self._active_overrides() == before:
            if time.monotonic() > deadline:
                raise ServerError(f"Loki did not take the overrides\n{self.log_tail()}")
            threading.Event().wait(0.05)

    def _active_overrides(self) -> str:
        """The hash that Loki shows of the overrides in force: it changes when they do."""
        metrics = self._session.get(f"{self.url}/metrics", timeout=5).text
        found = re.search(r'^loki_runtime_config_hash\{.*sha256="(\w+)"', metrics, re.MULTILINE)
        return found.group(1) if found else ""

    def push(self, labels: Mapping[str, str], lines: Iterable[Line], tenant: str = "") -> None:
        """Push lines of one stream: (ns, text) or (ns, text, structured metadata).

        Raises LokiRequestError unless the answer is 204.
        """
        values = [[str(ns), text, *map(dict, metadata)] for ns, text, *metadata in lines]
        self.push_streams([{"stream": dict(labels), "values": values}], tenant)

    def push_streams(self, streams: list[dict[str, Any]], tenant: str = "") -> None:
        """Push raw streams as Loki's JSON has them. Raises LokiRequestError unless 204."""
        answer = self._session.post(
            f"{self.url}/loki/api/v1/push",
            data=json.dumps({"streams": streams}).encode(),
            headers={"Content-Type": "application/json", **_tenant(tenant)},
            timeout=30,
        )
        if answer.status_code != 204:
            raise LokiRequestError(answer.status_code, answer.text)

    def query(
        self, logql: str, start_ns: int, end_ns: int, *, tenant: str = "", limit: int = 5000
    ) -> list[tuple[int, str, dict[str, str]]]:
        """(ns, text, labels) in time order from [start_ns, end_ns). LokiRequestError unless 200."""
        answer = self._session.get(
            f"{self.url}/loki/api/v1/query_range",
            params={
                "query": logql,
                "start": str(start_ns),
                "end": str(end_ns),
                "limit": str(limit),
                "direction": "forward",
            },
            headers=_tenant(tenant),
            timeout=30,
        )
        if answer.status_code != 200:
            raise LokiRequestError(answer.status_code, answer.text)
        found = [
            (int(value[0]), value[1], stream["stream"])
            for stream in answer.json()["data"]["result"]
            for value in stream["values"]
        ]
        return sorted(found, key=lambda entry: entry[:2])

    def flush(self) -> None:
        """Force the chunks in memory out to storage. Loki does it within 5 s."""
        answer = self._session.post(f"{self.url}/flush", timeout=30)
        if answer.status_code != 204:
            raise LokiRequestError(answer.status_code, answer.text)


def _tenant(tenant: str) -> dict[str, str]:
    return {"X-Scope-OrgID": tenant} if tenant else {}
