"""Do the real servers behave as the other e2e tests take for granted?"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import build
from tests.support.servers import (
    KubeRequestError,
    Loki,
    LokiRequestError,
    RealKube,
    ServerError,
    ServerProcess,
    is_ready,
)

SECOND = 10**9


def _range() -> tuple[int, int]:
    now = time.time_ns()
    return now - 60 * SECOND, now + 60 * SECOND


def test_the_api_server_keeps_nodes_with_status_and_lists_them(clean_kube: RealKube) -> None:
    clean_kube.create_node("gpu-a", boot_id="boot-1", labels={"pool": "x"})
    (node,) = clean_kube.nodes()
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "8"
    assert node["status"]["nodeInfo"]["bootID"] == "boot-1"
    assert node["metadata"]["labels"]["pool"] == "x"
    assert is_ready(node)
    # Other tests must expect a foreign taint on every node.
    assert [taint["key"] for taint in clean_kube.taints("gpu-a")] == [
        "node.kubernetes.io/not-ready"
    ]


def test_a_used_cluster_is_empty_again_after_the_cleaning(real_kube: RealKube) -> None:
    real_kube.create_nodes(20)
    config_map = {"metadata": {"name": "left-over"}}
    real_kube.request("POST", "/api/v1/namespaces/default/configmaps", config_map)
    real_kube.delete_all()
    assert real_kube.nodes() == []
    with pytest.raises(KubeRequestError) as refused:
        real_kube.request("GET", "/api/v1/namespaces/default/configmaps/left-over")
    assert refused.value.status == 404


def test_kwok_makes_a_node_ready_and_leaves_a_new_boot_id_alone(kwok_kube: RealKube) -> None:
    kwok_kube.create_node("sim-0", kwok=True)
    kwok_kube.wait_ready(["sim-0"])
    assert kwok_kube.node("sim-0")["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    kwok_kube.set_boot_id("sim-0", "after-reboot")
    threading.Event().wait(1)  # longer than kwok took to make the node Ready
    assert kwok_kube.node("sim-0")["status"]["nodeInfo"]["bootID"] == "after-reboot"


def test_the_api_server_comes_back_on_its_port_with_its_data(
    kube_factory: Callable[..., RealKube],
) -> None:
    kube = kube_factory(users={"controller": []})
    kube.create_node("gpu-a")
    with pytest.raises(KubeRequestError) as refused:
        kube.request("GET", "/api/v1/nodes", user="controller")
    assert refused.value.status == 403  # RBAC is real
    url = kube.url
    for kill in (False, True):
        kube.stop_apiserver(kill=kill)
        with pytest.raises(OSError, match="refused"):
            kube.nodes()
        kube.start_apiserver()
        assert kube.url == url
        assert [node["metadata"]["name"] for node in kube.nodes()] == ["gpu-a"]


def test_a_line_pushed_to_loki_is_read_back_at_once_with_its_metadata(real_loki: Loki) -> None:
    nonce = uuid.uuid4().hex
    start, end = _range()
    now = time.time_ns()
    real_loki.push({"test": nonce}, [(now, "first"), (now + 1, "second", {"k8s_node_name": "a"})])
    found = real_loki.query(f'{{test="{nonce}"}}', start, end)
    assert [(ns, text) for ns, text, _ in found] == [(now, "first"), (now + 1, "second")]
    assert found[1][2]["k8s_node_name"] == "a"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_loki_comes_back_on_its_port_with_its_lines(
    loki_factory: Callable[..., Loki], end: str
) -> None:
    loki = loki_factory()
    window = _range()
    loki.push({"test": "restart"}, [(time.time_ns(), "kept")])
    getattr(loki, end)()
    with pytest.raises(OSError, match="refused"):
        loki.query('{test="restart"}', *window)
    loki.start()
    assert [text for _, text, _ in loki.query('{test="restart"}', *window)] == ["kept"]


def test_a_tenant_gets_a_limit_while_loki_runs(loki_factory: Callable[..., Loki]) -> None:
    loki = loki_factory(auth_enabled=True)
    loki.set_overrides({"small": {"max_entries_limit_per_query": 7}})
    loki.query('{test="x"}', *_range(), tenant="large", limit=8)
    with pytest.raises(LokiRequestError, match="max_entries_limit") as refused:
        loki.query('{test="x"}', *_range(), tenant="small", limit=8)
    assert refused.value.status == 400
    with pytest.raises(LokiRequestError, match="no org id"):
        loki.query('{test="x"}', *_range())


def test_a_server_that_fails_to_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = ServerProcess("broken", tmp_path, ready=lambda: False)
    with pytest.raises(ServerError, match="the reason"):
        server.start(["/bin/sh", "-c", "echo the reason; exit 3"])
    late = ServerProcess("late", tmp_path, ready=lambda: False, start_s=0.2)
    with pytest.raises(ServerError, match=r"not ready within 0\.2 s"):
        late.start(["/bin/sleep", "60"])
    assert not late.running


def test_a_server_ends_when_pytest_is_killed(tmp_path: Path) -> None:
    script = f"""
        from pathlib import Path
        from tests.support.servers import ServerProcess
        server = ServerProcess("sleeper", Path({str(tmp_path)!r}), ready=lambda: True)
        server.start(["/bin/sleep", "600"])
        print(server.pid, flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as pytest_like:
        assert pytest_like.stdout is not None
        pid = int(pytest_like.stdout.readline())
        assert _alive(pid)
        pytest_like.kill()
    deadline = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_second_build_does_nothing_and_is_quick() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, build.__file__], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert "building" not in done.stdout
    assert time.monotonic() - began < 2
