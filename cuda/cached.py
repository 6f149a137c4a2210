"""Has this very code been compiled before? Then its programs come out of the cache.

The cache lies beside the built servers, outside the checkout, so that a clean checkout of what was
compiled already needs no minutes of nvcc. The key is a hash over everything that goes in: sources,
Makefile, the toolkit's pins, the host compiler.

    python cuda/cached.py restore   fill build/cuda, where the cache has it
    python cuda/cached.py store     keep what is in build/cuda

Standard library only. Invariant: make sees what was restored as up to date: files are copied in the
order in which they were made, so that each is newer than what it is made of.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script too
from tests.servers.build import cache_root

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "cuda"
#: Without this one, what is there is not whole.
LAST = "architectures"


def key(root: Path = ROOT) -> str:
    """What everything in build/cuda is made of."""
    digest = hashlib.sha256(_compiler().encode())
    for path in sorted((root / "cuda").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def restore(cache: Path, build: Path) -> bool:
    """Fill ``build`` from ``cache``; False when that is not there, or ``build`` is filled."""
    if not cache.is_dir() or (build / LAST).exists():
        return False
    _copy(cache, build)
    return True


def store(cache: Path, build: Path) -> bool:
    """Keep ``build``, whole or not at all; False when it is kept already, or not whole."""
    if cache.is_dir() or not (build / LAST).exists():
        return False
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        made = Path(scratch, "made")
        _copy(build, made)
        try:
            made.rename(cache)
        except OSError:  # somebody else was quicker
            return False
    return True


def _copy(source: Path, target: Path) -> None:
    files = [path for path in source.rglob("*") if path.is_file() and path.name != "lock"]
    for path in sorted(files, key=lambda each: (each.stat().st_mtime_ns, str(each))):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


def _compiler() -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the compiler that the Makefile uses
            [os.environ.get("CXX", "g++"), "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Command line: 0 whether or not there was something to do, 2 wrong usage."""
    does = {"restore": restore, "store": store}
    if len(arguments) != 1 or arguments[0] not in does:
        print("usage: cached.py restore|store", file=sys.stderr)
        return 2
    if does[arguments[0]](cache_root() / f"cuda-{key()}", BUILD):
        print(f"CUDA programs: {arguments[0]}d")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
