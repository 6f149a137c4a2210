"""Does a tethered process end with whoever started it, also when that one is killed?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.controller import eventually

#: Starts a tethered module that runs for ever, tells its process id, and waits.
STARTER = """
import os, subprocess, sys
words = [sys.executable, "-m", "konduktor_health.sandbox.tethered", str(os.getpid()), "forever"]
print(subprocess.Popen(words).pid, flush=True)
sys.stdin.read()
"""
FOREVER = """
import pathlib, sys, threading
pathlib.Path("words").write_text(" ".join(sys.argv))
threading.Event().wait()
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def environ(folder: Path) -> dict[str, str]:
    paths = [str(folder), os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[3])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_it_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "forever.py").write_text(FOREVER)
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environ(tmp_path),
    ) as starter:
        assert starter.stdout is not None
        child = int(starter.stdout.readline())
        eventually((tmp_path / "words").exists, "the module runs", 30)
        assert is_alive(child)
        starter.kill()
    eventually(lambda: not is_alive(child), "the tethered process ends", 10)


def test_it_does_not_begin_when_its_starter_is_gone(tmp_path: Path) -> None:
    (tmp_path / "forever.py").write_text(FOREVER)
    another = "1"  # init did not start it
    command = [sys.executable, "-m", "konduktor_health.sandbox.tethered", another, "forever"]
    done = subprocess.run(command, cwd=tmp_path, env=environ(tmp_path), timeout=30, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "words").exists()
