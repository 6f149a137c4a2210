"""A fault of a fake GPU goes the whole way: tool output, parser, judgement, run, exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from probes.backends.fake_state import inject


def konduktor_probe(state: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    environ = {
        **os.environ,
        "KONDUKTOR_FAKE_GPU": "true",
        "KONDUKTOR_GPU_COUNT": "2",
        "KONDUKTOR_FAKE_GPU_STATE": str(state),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "probes.cli", "run", *arguments, "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout, ended.stderr
    results: list[dict[str, Any]] = json.loads(ended.stdout)["results"]
    return ended.returncode, results


def test_faults_of_several_kinds_are_found_on_the_gpu_that_has_them(tmp_path: Path) -> None:
    state = tmp_path / "faults.json"
    checks = ("pcie-bandwidth", "gpu-memory", "gpu-arithmetic", "dcgm-3")
    code, results = konduktor_probe(state, *checks)
    assert {result["outcome"] for result in results} == {"pass"}
    assert {result["check"] for result in results} == set(checks)
    assert all(result["fake"] for result in results)
    assert code == 0

    inject(str(state), "1", {"pcie_bandwidth_factor": 0.3, "memory_errors": 2, "wrong_results": 1})
    code, results = konduktor_probe(state, *checks)

    failed = {(result["check"], result["device"]) for result in results if _is(result, "fail")}
    assert failed == {(check, "0000:2a:00") for check in checks}
    fatal = {result["check"] for result in results if result["severity"] == "fatal"}
    assert fatal == {"gpu-memory", "gpu-arithmetic", "dcgm-3"}
    assert code != 0


def test_a_tier_leaves_out_what_has_to_be_asked_for(tmp_path: Path) -> None:
    _, results = konduktor_probe(tmp_path / "faults.json", "--tier", "invasive")
    names = {result["check"] for result in results}

    assert "dcgm-3" in names
    assert not names & {"dcgm-2", "dcgm-4", "nccl-pair"}


def test_a_check_that_nothing_else_runs_can_be_asked_for(tmp_path: Path) -> None:
    _, results = konduktor_probe(tmp_path / "faults.json", "dcgm-4")

    assert {result["outcome"] for result in results} == {"pass"}


def _is(result: dict[str, Any], outcome: str) -> bool:
    return bool(result["outcome"] == outcome)
