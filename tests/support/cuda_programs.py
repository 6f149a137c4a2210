"""How do tests run the CUDA programs: emulated by the CPU, or the compiled ones without a GPU?"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/cuda"
PAGE = (ROOT / "docs/reference/cuda-programs.md").read_text()
NAMES = ("bandwidth", "gpucheck", "memtest")
# Small enough for threads that are run one after the other.
SMALL = {
    "bandwidth": ("--bytes", "1048576", "--samples", "2"),
    "gpucheck": ("--size", "128", "--seconds", "1", "--cublas", "no"),
    "memtest": ("--bytes", "262144"),
}


@dataclass(frozen=True)
class Said:
    """What a program answered."""

    code: int
    text: str
    complaint: str

    @property
    def body(self) -> dict[str, Any]:
        found = json.loads(self.text)
        assert isinstance(found, dict)
        return found

    @property
    def gpus(self) -> list[dict[str, Any]]:
        found = self.body["gpus"]
        assert isinstance(found, list)
        return found


def run(program: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Said:
    """Run it to its end. Leaks are for the host tests to find."""
    variables = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=variables | dict(environment or {}),
    )
    return Said(done.returncode, done.stdout, done.stderr)


def emulated(name: str, *arguments: str, **environment: str) -> Said:
    """A program on GPUs that the CPU plays, with sizes that it can play."""
    gpus = {"EMULATED_GPUS": "1"}
    return run(BUILD / "emulated" / name, *SMALL[name], *arguments, environment=gpus | environment)


def documented(heading: str) -> set[str]:
    """The first words in backticks of the rows of a section's tables."""
    section = re.split(r"^##+ ", PAGE.split(f"\n{heading}\n")[1], maxsplit=1, flags=re.M)[0]
    cells = re.findall(r"^\| ([^|]+)\|", section, re.M)
    return {word for cell in cells for word in re.findall(r"`([^`\s]+)", cell)}
