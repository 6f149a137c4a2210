"""Which branches has no input reached yet? Coverage-guided fuzzing of one target by atheris."""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS

_SEEDS = 300
_INSTRUMENTED = ("parsers", "konduktor_health.core", "konduktor_health.adapters.kube.nodes")


def run(name: str, seconds: int, seed: int) -> int:
    """Fuzz for so long; atheris ends the process itself, with an error for a finding."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    for module_name in sorted(sys.modules):
        if module_name.startswith(_INSTRUMENTED):
            _instrument(atheris, sys.modules[module_name])
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="konduktor-health-fuzz-") as corpus:
        chance = random.Random(seed)
        for number in range(_SEEDS):
            (Path(corpus) / f"{number:04}").write_bytes(target.make(chance)[:4096])
        options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=20"]
        atheris.Setup(["tests.fuzz", *options, corpus], target.check, internal_libfuzzer=True)
        atheris.Fuzz()
    return 0


def _instrument(atheris: Any, module: Any) -> None:
    """Functions and methods that were imported before atheris was."""
    for holder in (module, *(each for each in vars(module).values() if isinstance(each, type))):
        if getattr(holder, "__module__", module.__name__) != module.__name__:
            continue
        for key, value in list(vars(holder).items()):
            if callable(value) and hasattr(value, "__code__"):
                atheris.instrument_func(value)
                setattr(holder, key, value)
