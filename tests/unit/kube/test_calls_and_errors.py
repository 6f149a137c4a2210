"""Are a refused call's verb and resource those that RBAC knows? And an exec's exit code?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.kube.exec import exit_code
from konduktor_health.adapters.kube.status import AlreadyExists, Call, Gone, call_of, error_of
from konduktor_health.errors import ClusterUnavailable, Conflict, HealthError


@pytest.mark.parametrize(
    ("method", "path", "watch", "said"),
    [
        ("GET", "/api/v1/nodes", False, "list nodes"),
        ("GET", "/api/v1/nodes", True, "watch nodes"),
        ("GET", "/api/v1/nodes/n", False, "get nodes n"),
        ("PATCH", "/api/v1/nodes/n/status", False, "patch nodes/status n"),
        ("POST", "/api/v1/namespaces/default/events", False, "create events in namespace default"),
        ("GET", "/api/v1/namespaces/x", False, "get namespaces x"),
        (
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/k/leases/l",
            False,
            "update leases l in namespace k",
        ),
        ("POST", "/api/v1/namespaces/k/pods/p/exec", False, "create pods/exec p in namespace k"),
        ("GET", "/version", False, "get /version"),
    ],
)
def test_calls_in_rbacs_words(method: str, path: str, watch: bool, said: str) -> None:
    assert str(call_of(method, path, watch=watch)) == said


CALL = Call("get", "nodes", "n", "")


def test_conflicts_are_told_apart() -> None:
    exists = json.dumps({"reason": "AlreadyExists", "message": "m"}).encode()
    assert isinstance(error_of(409, exists, CALL, "s"), AlreadyExists)
    stale = error_of(409, b'{"reason": "Conflict"}', CALL, "s")
    assert isinstance(stale, Conflict)
    assert not isinstance(stale, AlreadyExists)
    assert isinstance(error_of(410, b"", CALL, "s"), Gone)


@given(st.integers(0, 999), st.binary(max_size=400) | st.text().map(lambda t: t.encode()))
def test_any_answer_gives_a_printable_bounded_error(status: int, payload: bytes) -> None:
    error = error_of(status, payload, CALL, "https://s")
    assert isinstance(error, HealthError)
    assert str(error).isprintable()
    assert len(str(error)) < 500


def test_exit_codes() -> None:
    assert exit_code(b'{"status": "Success"}', CALL) == 0
    failed = {"details": {"causes": [{"reason": "ExitCode", "message": "3"}]}, "status": "Failure"}
    assert exit_code(json.dumps(failed).encode(), CALL) == 3
    for odd in (b"", b"[]", b'{"status": "Failure", "message": "no such container"}'):
        with pytest.raises(ClusterUnavailable, match="could not be run"):
            exit_code(odd, CALL)
