r"""Which numbers does DCGM tell beside its results? They are told, and nobody judges them.

Lines of ``info``: "GPU to Host bandwidth:\t\t58.62 GB/s" (DCGM 4), "GPU 0 GPU 0 GPU to Host
bandwidth:\t\t13.15 GB/s" (DCGM 3). DCGM 4 leaves out lines beyond the sixteenth (NVIDIA/DCGM#215).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from probes.check import Measurement

_FIGURES = (
    (
        "pcie_d2h",
        "GB/s",
        re.compile(r"GPU to Host bandwidth:\s*([0-9]{1,6}(?:\.[0-9]{1,6})?) GB/s"),
    ),
    (
        "pcie_h2d",
        "GB/s",
        re.compile(r"Host to GPU bandwidth:\s*([0-9]{1,6}(?:\.[0-9]{1,6})?) GB/s"),
    ),
    ("dgemm", "GFLOPS", re.compile(r"approximately ([0-9]{1,9}(?:\.[0-9]{1,6})?) gigaflops")),
    (
        "memory_tested",
        "%",
        re.compile(r"Allocated [0-9]{1,18} bytes \(([0-9]{1,3}(?:\.[0-9])?)%\)"),
    ),
)


def figures(info: Iterable[str]) -> tuple[Measurement, ...]:
    """The numbers in these lines, each name once."""
    found: dict[str, Measurement] = {}
    for line in info:
        for name, unit, pattern in _FIGURES:
            match = pattern.search(line[:512])
            if match is not None and name not in found:
                found[name] = Measurement(name, float(match[1]), unit)
    return tuple(found.values())
