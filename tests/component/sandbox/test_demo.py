"""Does the demo tell its story at any size, and end when it is told to?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "konduktor_health", "demo"]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEMO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )


@pytest.mark.parametrize(
    ("nodes", "shown"), [("1", "schedulable again"), ("2", "held, not tainted"), ("60", "2 to 40")]
)
def test_the_story_fits_every_size(tmp_path: Path, nodes: str, shown: str) -> None:
    with start(tmp_path, "--exit", "--nodes", nodes) as demo:
        said, _ = demo.communicate(timeout=40)

    assert demo.returncode == 0, said
    assert shown in said
    assert list(tmp_path.iterdir()) == []


def test_a_node_comes_back_by_proof_and_its_place_is_taken(tmp_path: Path) -> None:
    with start(tmp_path, "--exit") as demo:
        said, _ = demo.communicate(timeout=40)

    assert demo.returncode == 0, said
    steps = [
        "gpu-node-3 is tainted",
        "gpu-node-5 is held, not tainted",
        "NVRM: loading NVIDIA UNIX",
        "gpu-node-3 is recovering",
        "light 3; missing: quiet",
        "gpu-node-3 is schedulable again",
        "KonduktorHealthy=True (NoActingFault)",
        "gpu-node-5 is tainted now that the budget allows it",
        "$ konduktor-health reset gpu-node-5",
    ]
    places = [said.find(step) for step in steps]
    assert -1 not in places, said
    assert places == sorted(places), said


def test_ctrl_c_in_the_story_ends_it(tmp_path: Path) -> None:
    with start(tmp_path, "--exit", "--nodes", "40") as demo:
        assert demo.stdout is not None
        demo.stdout.readline()  # ready
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=10)

    assert demo.returncode == 130, said
    assert said.endswith("interrupted\n")
    assert list(tmp_path.iterdir()) == []
