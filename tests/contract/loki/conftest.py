"""Against which Lokis does the contract suite run? The sandbox's, and the real one (e2e)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.sandbox.loki import Limits, LokiServer
from tests.support.loki_http import LokiHttp
from tests.support.servers import Loki

BOTH = ["sandbox", pytest.param("real", marks=pytest.mark.e2e)]
# What the tenants of ``limited_loki`` may do: the name of a Loki limit, and ours.
LIMITED: dict[str, tuple[dict[str, Any], Limits]] = {
    "seven": ({"max_entries_limit_per_query": 7}, Limits(max_entries=7)),
    "day": ({"max_query_length": "24h"}, Limits(max_query_length_s=86_400)),
    "hour": ({"max_query_lookback": "1h"}, Limits(max_query_lookback_s=3600)),
    "cached": ({}, Limits(cache_results=True)),
    "large": ({"query_timeout": "2s"}, Limits(query_timeout_s=0.1)),
    "memory": ({}, Limits(ingester_window_s=3 * 3600)),
}


@pytest.fixture(scope="session", params=BOTH)
def loki_server(request: pytest.FixtureRequest) -> Iterator[LokiServer | Loki]:
    """A running Loki without tenants; anything with ``.url``."""
    if request.param == "real":
        yield request.getfixturevalue("real_loki")
        return
    with LokiServer() as server:
        yield server


@pytest.fixture(scope="session")
def loki(loki_server: LokiServer | Loki) -> Iterator[LokiHttp]:
    """Requests to ``loki_server``. A test uses a label of its own (own_label)."""
    client = LokiHttp(loki_server.url)
    yield client
    client.close()


@pytest.fixture(scope="session", params=BOTH)
def limited_loki(request: pytest.FixtureRequest) -> Iterator[LokiServer | Loki]:
    """A running Loki with auth_enabled, the result cache, and the tenants of LIMITED."""
    with ExitStack() as stack:
        if request.param == "sandbox":
            server = stack.enter_context(LokiServer(auth_enabled=True))
            server.tenant_limits = {name: ours for name, (_, ours) in LIMITED.items()}
            yield server
            return
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="konduktor-health-"))
        real = Loki(
            Path(directory),
            auth_enabled=True,
            overrides={name: theirs for name, (theirs, _) in LIMITED.items()},
            cache_results=True,
        )
        stack.callback(real.stop)
        real.start()
        yield real
