"""What do the CUDA programs measure on this machine's first GPU, and what do others say?

Runs bandwidth, gpucheck and memtest, nvbandwidth where it is on PATH, and both checks once more
with a bit that is flipped on purpose. Prints a table and adds it to
docs/reference/gpu-measurements.md. Exit code 0: all was measured, right, and the flipped bits were
found; 1 otherwise, and the page stays as it is. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reference/gpu-measurements.md"
MARK = "<!-- measured: cuda/measure.py adds below this line -->\n"
LIMIT_S = 900

# Dense peaks of NVIDIA's data sheets (A100, H100 SXM, H200 SXM), in GFLOPS and GB/s. DGEMM by
# tensor cores.
_HOPPER = {"dgemm": 67e3, "sgemm": 67e3, "tf32": 494.7e3, "fp16": 989.4e3}
_AMPERE = {"dgemm": 19.5e3, "sgemm": 19.5e3, "tf32": 156e3, "fp16": 312e3}
PEAKS: Mapping[str, Mapping[str, float]] = {
    "A100-SXM4-40GB": _AMPERE | {"hbm_triad": 1555, "hbm_copy": 1555, "daxpy": 1555},
    "A100-SXM4-80GB": _AMPERE | {"hbm_triad": 2039, "hbm_copy": 2039, "daxpy": 2039},
    "H100 80GB HBM3": _HOPPER | {"hbm_triad": 3350, "hbm_copy": 3350, "daxpy": 3350},
    "H200": _HOPPER | {"hbm_triad": 4800, "hbm_copy": 4800, "daxpy": 4800},
}
# Our result and nvbandwidth's test case with the same question.
ALIKE = {
    "h2d": "host_to_device_memcpy_ce",
    "d2h": "device_to_host_memcpy_ce",
    "h2d_both": "host_to_device_bidirectional_memcpy_ce",
    "d2h_both": "device_to_host_bidirectional_memcpy_ce",
    "h2d_sm": "host_to_device_memcpy_sm",
    "d2h_sm": "device_to_host_memcpy_sm",
}


class MeasureError(Exception):
    """It could not be measured, or was wrong; the message says what."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    result: str
    measured: float
    unit: str
    beside: float | None
    source: str

    def cells(self) -> tuple[str, str, str, str]:
        """As text."""
        beside = "" if self.beside is None else f"{self.beside:,.1f} ({self.source})"
        share = "" if not self.beside else f"{100 * self.measured / self.beside:.0f} %"
        return f"`{self.result}`", f"{self.measured:,.1f} {self.unit}", beside, share


def answer(program: Path, arguments: list[str], code: int) -> dict[str, object]:
    """The GPU's part of what a program says. Raises MeasureError unless it ends with ``code``."""
    try:
        done = subprocess.run(  # noqa: S603 - our own programs
            [str(program), "--devices", "0", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        body = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise MeasureError(f"{program.name}: {error}") from error
    try:
        gpu: dict[str, object] = body["gpus"][0] if body["gpus"] else {}
        why = body["error"] or gpu.get("error") or gpu.get("errors")
        gpu = gpu | {"driver": body["driver"]}
    except (LookupError, TypeError, AttributeError) as error:
        raise MeasureError(f"{program.name} says {done.stdout[:200]!r}") from error
    if done.returncode != code:
        raise MeasureError(f"{program.name} ended with {done.returncode}, not {code}: {why}")
    return gpu


def values(gpu: Mapping[str, object]) -> Iterator[tuple[str, float, str]]:
    """Name, value and unit of each result."""
    results = gpu["results"]
    assert isinstance(results, list)  # noqa: S101 - the programs' own format
    for each in results:
        kernel = f" ({each['kernel']})" if each.get("kernel") in ("own", "cublas") else ""
        yield each["name"] + kernel, float(each["value"]), str(each["unit"])


def nvbandwidth() -> dict[str, float]:
    """What it says of the first GPU, by test case; empty when it is not here."""
    program = shutil.which("nvbandwidth")
    if program is None:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH
            [program, "-j", "-t", *ALIKE.values()],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            env=os.environ | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        )
        cases = json.loads(done.stdout)["nvbandwidth"]["testcases"]
        return {each["name"]: float(each["bandwidth_matrix"][0][0]) for each in cases}
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise MeasureError(f"nvbandwidth: {error}") from error


def peak_of(name: str) -> Mapping[str, float]:
    """Peaks of the GPU of that name; empty when the data sheet is not here."""
    return next((peaks for model, peaks in PEAKS.items() if name.endswith(model)), {})


def measure(programs: Path, size: int, seconds: int) -> tuple[str, list[Row]]:
    """The heading and the rows. Raises MeasureError."""
    length = ["--seconds", str(seconds)]
    matrices = ["--size", str(size)]
    bandwidth = answer(programs / "bandwidth", [], 0)
    own = answer(programs / "gpucheck", [*length, *matrices, "--cublas", "no"], 0)
    best = answer(programs / "gpucheck", [*length, *matrices, "--cublas", "auto"], 0)
    memory = answer(programs / "memtest", [], 0)
    answer(programs / "gpucheck", [*length, *matrices, "--inject", "dgemm:4242:17"], 3)
    answer(programs / "memtest", ["--inject", "0x123450:3"], 3)
    others = nvbandwidth()
    peaks = peak_of(str(own["name"]))
    rows: dict[str, Row] = {}
    for gpu in (bandwidth, own, best, memory):
        for name, value, unit in values(gpu):
            plain = name.split(" ")[0]
            beside, source = peaks.get(plain), "peak"
            if ALIKE.get(plain) in others:
                beside, source = others[ALIKE[plain]], "nvbandwidth"
            rows[name] = Row(name, value, unit, beside, source)
    numa = bandwidth.get("numa")
    note = "" if not isinstance(numa, dict) or numa["bound"] else f"; not bound: {numa['note']}"
    heading = f"{own['name']} ({own['compute']}), driver for CUDA {own['driver']}{note}"
    return heading, list(rows.values())


def table(heading: str, rows: list[Row], date: str) -> str:
    """As Markdown."""
    lines = [f"## {heading}, {date}", "", "| result | measured | beside | share |"]
    lines += ["|---|---|---|---|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    lines += ["", "A flipped bit of a product and one of memory were found.", ""]
    return "\n".join(lines)


def read(page: Path) -> str:
    """The page that the table is added to. Raises MeasureError, OSError."""
    text = page.read_text(encoding="utf-8")
    if MARK not in text:
        raise MeasureError(f"{page} has no line {MARK.strip()!r}")
    return text


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--programs", type=Path, default=ROOT / "build/cuda", help="their folder")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to add the table to")
    parser.add_argument(
        "--size", type=int, default=0, help="of gpucheck's matrices; 0: it finds it"
    )
    parser.add_argument("--seconds", type=int, default=30, help="for gpucheck, each time")
    arguments = parser.parse_args()
    try:
        page = read(arguments.page)
        heading, rows = measure(arguments.programs, arguments.size, arguments.seconds)
        text = table(heading, rows, time.strftime("%Y-%m-%d", time.gmtime()))
        print(text)
        page = page.replace("**Nothing has been measured yet.** The", "The").replace(
            MARK, f"{MARK}\n{text}"
        )
        arguments.page.write_text(page, encoding="utf-8")
    except (MeasureError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
