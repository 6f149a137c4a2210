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


def test_ctrl_c_in_the_story_ends_it(tmp_path: Path) -> None:
    with start(tmp_path, "--exit", "--nodes", "40") as demo:
        assert demo.stdout is not None
        demo.stdout.readline()  # ready
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=10)

    assert demo.returncode == 130, said
    assert said.endswith("interrupted\n")
    assert list(tmp_path.iterdir()) == []
