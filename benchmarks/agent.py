"""How much memory and CPU does the node agent need?

The real agent with the fake backend and 8 GPUs: at rest, and for rounds of the light checks, which
are asked for one after the other as the controller asks.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.process import cpu_s, memory_mib
from benchmarks.stage import pause
from probes.report import SIGNATURE_HEADER, key_id, signed_bytes
from tests.support.agent import Asking, eventually
from tests.support.agent_process import AgentProcess

MOST_MEMORY_MIB = 80.0
ROUNDS, QUICK_ROUNDS = 10, 3
REST_S, QUICK_REST_S = 20.0, 5.0
_QUIET = ("--light-interval", "0", "--hourly-interval", "0", "--invasive-interval", "0")
_PATHS = ("/v1/report", "/v1/checks", "/v1/history?check=driver", "/metrics", "/openapi.json")


def measure(options: Options) -> Iterable[Figure]:
    """VmRSS after all that it does, CPU time at rest and of a light round."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    rest_s = QUICK_REST_S if options.quick else REST_S
    with tempfile.TemporaryDirectory(prefix="konduktor-bench-") as folder:
        agent = AgentProcess(Path(folder), *_QUIET, KONDUKTOR_GPU_COUNT="8")
        key = _publish_key(Path(folder) / "keys")
        try:
            agent.start()
            eventually(lambda: _runs(agent) >= 1, 60, 0.5)  # the boot checks
            checks = [
                each["name"]
                for each in agent.get("/v1/checks").json()
                if each["cadence"] == "light"
            ]
            _round(agent, key, checks)
            began = cpu_s(agent.pid)
            pause(rest_s)
            at_rest = (cpu_s(agent.pid) - began) / rest_s
            own, children = cpu_s(agent.pid), _children_cpu_s(agent.pid)
            for _ in range(rounds):
                _round(agent, key, checks)
            own, children = cpu_s(agent.pid) - own, _children_cpu_s(agent.pid) - children
            for path in _PATHS:
                agent.get(path)
            report = len(agent.get("/v1/report").body)
            rss = memory_mib(agent.pid)
            most = memory_mib(agent.pid, "VmHWM")
        finally:
            agent.close()
    yield Figure(
        "agent_vmrss", rss, "MiB", at_most(MOST_MEMORY_MIB), f"after {rounds} rounds and each path"
    )
    yield Figure("agent_vmrss_most", most, "MiB")
    yield Figure("agent_rest_cpu", at_rest * 1000, "ms per second")
    yield Figure("agent_round_cpu", own / rounds * 1000, "ms", note=f"{len(checks)} checks, 8 GPUs")
    yield Figure("agent_round_children_cpu", children / rounds * 1000, "ms", note="of one round")
    yield Figure("agent_report", report / 1024, "KiB", note=f"with {rounds} requested rounds")


def _publish_key(folder: Path) -> Ed25519PrivateKey:
    folder.mkdir()
    key = Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "controller.pem").write_bytes(pem)
    return key


def _round(agent: AgentProcess, key: Ed25519PrivateKey, checks: list[str]) -> None:
    """Ask for a run of these checks and wait for its end."""
    now = time.time_ns()
    run_id = uuid.uuid4().hex
    body = json.dumps(
        {
            "node": "node-a",
            "request_id": run_id,
            "checks": checks,
            "issued_ns": now,
            "expires_ns": now + 60_000_000_000,
            "nonce": uuid.uuid4().hex,
        }
    ).encode()
    name = key_id(key.public_key().public_bytes_raw())
    signature = base64.b64encode(key.sign(signed_bytes("/v1/run", body))).decode()
    answer = Asking(agent.port).post("/v1/run", body, {SIGNATURE_HEADER: f"{name}:{signature}"})
    if answer.status != 202:
        raise RuntimeError(f"the run was not accepted: {answer.status} {answer.body[:200]!r}")
    eventually(lambda: run_id.encode() in agent.get("/v1/report").body, 60, 0.5)


def _runs(agent: AgentProcess) -> int:
    return len(agent.report()["runs"])


def _children_cpu_s(pid: int) -> float:
    """User and system time of children that have ended and were waited for, seconds."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(run({"agent": measure}))
