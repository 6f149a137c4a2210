"""On which addresses does the status port answer?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from konduktor_health.errors import ConfigError
from konduktor_health.runtime.http import StatusServer
from konduktor_health.runtime.metrics import Metrics


@contextmanager
def served(host: str, port: int = 0) -> Iterator[StatusServer]:
    server = StatusServer(Metrics(), alive=lambda: True, troubles=list, host=host, port=port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b"200" in connection.recv(100)
    except ConnectionRefusedError:
        return False


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "over_ipv4", "over_ipv6"),
    [("", True, True), ("::", True, True), ("0.0.0.0", True, False), ("::1", False, True)],
)
def test_an_address_is_of_either_family_and_none_means_both(
    host: str, over_ipv4: bool, over_ipv6: bool
) -> None:
    if not has_ipv6():  # where the kernel has none, everything is IPv4
        if ":" not in host:
            with served(host) as server:
                assert answers("127.0.0.1", server.port)
        return
    with served(host) as server:
        assert answers("127.0.0.1", server.port) is over_ipv4
        assert answers("::1", server.port) is over_ipv6


def test_a_port_that_is_taken_is_named() -> None:
    with served("127.0.0.1") as server, pytest.raises(ConfigError, match=str(server.port)):
        StatusServer(
            Metrics(), alive=lambda: True, troubles=list, host="127.0.0.1", port=server.port
        )
