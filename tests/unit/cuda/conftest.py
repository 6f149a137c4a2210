"""What do tests of the CUDA programs need? The emulated programs, built once with g++."""

from __future__ import annotations

import fcntl
import shutil
import subprocess

import pytest

from tests.support.cuda_programs import BUILD, ROOT


@pytest.fixture(scope="session")
def built() -> None:
    """build/cuda is up to date but for what needs nvcc. One builder at a time (file lock)."""
    if shutil.which("g++") is None:
        pytest.skip("the tests of the CUDA programs need g++: install it")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "-C", "cuda", "-j2", "emulated", "../build/cuda/host-tests"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
