"""make gpu-bench: the figures of the programs beside those of others, on one page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cuda_programs import ROOT

PAGE = ROOT / "docs/reference/gpu-measurements.md"


def said(results: dict[str, tuple[float, str, str]], **more: Any) -> dict[str, Any]:
    gpu: dict[str, Any] = {
        "index": 0, "uuid": "GPU-1", "device": "0000:3b:00", "name": "NVIDIA H100 80GB HBM3",
        "compute": "9.0", "skipped": [], "errors": [], "errors_total": 0, "error": None,
        "results": [
            {"name": name, "value": value, "unit": unit, "samples": [value], "kernel": kernel}
            for name, (value, unit, kernel) in results.items()
        ],
    }  # fmt: skip
    return {"program": "", "version": 1, "driver": "13.0", "error": None, "gpus": [gpu | more]}


BANDWIDTH = said(
    {"h2d": (52.0, "GB/s", "ce"), "hbm_triad": (3015.0, "GB/s", "sm")},
    numa={"bound": False, "note": "mbind: Operation not permitted"},
)
GPUCHECK = said({"dgemm": (33500.0, "GFLOPS", "own")})
MEMTEST = said({"random": (1500.0, "GB/s", "")})
NVBANDWIDTH = {
    "nvbandwidth": {
        "testcases": [
            {"name": "host_to_device_memcpy_ce", "status": "Passed",
             "bandwidth_matrix": [["55.0", "55.1"]]},
        ]
    }
}  # fmt: skip


def program(folder: Path, name: str, body: Any, *, injected_code: int = 3) -> None:
    """Says that, and ends with the code for a found bit when one is injected."""
    (folder / f"{name}.json").write_text(json.dumps(body))
    script = folder / name
    script.write_text(
        f'#!/bin/sh\ncat "{folder}/{name}.json"\n'
        f'case "$*" in *--inject*) exit {injected_code};; esac\n'
    )
    script.chmod(0o755)


def measured(folder: Path) -> tuple[int, str, str]:
    page = folder / "page.md"
    page.write_text(PAGE.read_text())
    done = subprocess.run(
        [sys.executable, "cuda/measure.py", "--programs", str(folder), "--page", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
    )
    return done.returncode, page.read_text(), done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program(tmp_path, "bandwidth", BANDWIDTH)
    program(tmp_path, "gpucheck", GPUCHECK)
    program(tmp_path, "memtest", MEMTEST)
    program(tmp_path, "nvbandwidth", NVBANDWIDTH)
    return tmp_path


def test_figures_stand_beside_nvbandwidth_and_the_peak(folder: Path) -> None:
    code, page, complaint = measured(folder)
    assert code == 0, complaint
    assert "| `h2d` | 52.0 GB/s | 55.0 (nvbandwidth) | 95 % |" in page
    assert "| `hbm_triad` | 3,015.0 GB/s | 3,350.0 (peak) | 90 % |" in page
    assert "| `dgemm (own)` | 33,500.0 GFLOPS | 67,000.0 (peak) | 50 % |" in page
    assert "not bound: mbind: Operation not permitted" in page
    assert "Nothing has been measured yet" not in page


def test_without_nvbandwidth_nothing_stands_beside_a_link(folder: Path) -> None:
    (folder / "nvbandwidth").unlink()
    code, page, _ = measured(folder)
    assert code == 0
    assert "| `h2d` | 52.0 GB/s |  |  |" in page


def test_a_flipped_bit_that_is_not_found_leaves_the_page_alone(folder: Path) -> None:
    program(folder, "memtest", MEMTEST, injected_code=0)
    code, page, complaint = measured(folder)
    assert code == 1
    assert page == PAGE.read_text()
    assert "memtest ended with 0, not 3" in complaint


def test_a_program_that_cannot_work_leaves_the_page_alone(folder: Path) -> None:
    failed = {"gpus": [], "driver": "", "error": {"code": "no-driver", "message": "gone"}}
    program(folder, "bandwidth", failed)
    (folder / "bandwidth").write_text(f'#!/bin/sh\ncat "{folder}/bandwidth.json"\nexit 1\n')
    code, page, complaint = measured(folder)
    assert code == 1
    assert page == PAGE.read_text()
    assert "no-driver" in complaint


@pytest.mark.parametrize("garbage", ["", "{", "[]", '{"nvbandwidth": {"testcases": [{}]}}'])
def test_garbage_of_nvbandwidth_is_an_error(folder: Path, garbage: str) -> None:
    (folder / "nvbandwidth.json").write_text(garbage)
    code, page, complaint = measured(folder)
    assert code == 1
    assert page == PAGE.read_text()
    assert "nvbandwidth" in complaint
