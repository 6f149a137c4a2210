"""The programs as nvcc compiles them, as far as a machine without a GPU can tell."""

from __future__ import annotations

import ctypes
import re
import subprocess

import pytest

from tests.support.cuda_programs import BUILD, NAMES, PAGE, ROOT, run

pytestmark = [
    pytest.mark.skipif(
        not (BUILD / "architectures").exists(), reason="not compiled by nvcc: make cuda"
    ),
    pytest.mark.usefixtures("built"),
    pytest.mark.timeout(900),
]
STUB = {"LD_LIBRARY_PATH": str(BUILD / "stub")}
MOST_BYTES = 3 * 1024 * 1024


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_help_is_text_and_needs_no_driver(name: str) -> None:
    said = run(BUILD / name, "--help")
    assert said.code == 0
    assert said.text.startswith(f"usage: {name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_without_a_driver_gets_a_clear_error(name: str) -> None:
    environment = STUB | {"STUB_CUINIT": "34"} if has_driver() else {}
    said = run(BUILD / name, environment=environment)
    assert said.code == 1
    assert said.gpus == []
    error = said.body["error"]
    assert error["code"] == "no-driver"
    assert "libcuda.so.1" in error["message"] + error["hint"]
    assert error["hint"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("3", "driver"),
        ("34", "no-driver"),
        ("46", "gpu-busy"),
        ("100", "no-gpu"),
        ("802", "fabric"),
        ("803", "driver-mismatch"),
        ("999", "driver"),
    ],
)
def test_a_driver_that_does_not_start_is_told_as_documented(
    name: str, status: str, code: str
) -> None:
    said = run(BUILD / name, environment=STUB | {"STUB_CUINIT": status})
    assert said.code == 1
    assert said.body["error"]["code"] == code
    assert f"`{code}`" in PAGE


def test_a_driver_that_is_too_old_is_told_with_both_versions() -> None:
    said = run(BUILD / "memtest", environment=STUB | {"STUB_VERSION": "11040"})
    assert said.code == 1
    error = said.body["error"]
    assert error["code"] == "driver-too-old"
    assert re.search(r"for CUDA 11\.4, this program for \d+\.\d+", error["message"])


@pytest.mark.parametrize("name", NAMES)
def test_wrong_usage_is_told_before_the_driver_is_asked(name: str) -> None:
    said = run(BUILD / name, "--seconds", "soon", environment=STUB)
    assert said.code == 2
    assert said.body["error"]["code"] == "usage"


def test_there_is_code_for_each_documented_architecture() -> None:
    compiled = (BUILD / "architectures").read_text().split()
    (row,) = re.findall(r"^\| CUDA 13 \| ([\d., ]+) \| ([\d.]+) \|", PAGE, re.M)
    expected = [each.strip().replace(".", "") for each in row[0].split(",")]
    if "70" not in compiled:  # compiled by CUDA 13
        assert compiled == [*expected, "ptx:" + row[1].replace(".", "")]
    else:
        assert {"70", "75", "80", "90"} <= set(compiled)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_small_and_needs_only_the_c_library(name: str) -> None:
    assert (BUILD / name).stat().st_size < MOST_BYTES
    dynamic = subprocess.run(
        ["ldd", str(BUILD / name)], capture_output=True, text=True, check=True
    ).stdout
    needed = set(re.findall(r"^\s+(\S+?)\.so", dynamic, re.M))
    assert {each.rsplit("/", 1)[-1] for each in needed} <= {
        *("linux-vdso", "libc", "libm", "libdl", "librt", "libpthread"),
        *("ld-linux-x86-64", "ld-linux-aarch64"),
    }


def test_they_are_installed_where_the_checks_look_for_them(tmp_path: object) -> None:
    done = subprocess.run(
        # The programs are there: nothing is compiled, so no nvcc is needed.
        ["make", "-C", "cuda", "-n", "install", f"DESTDIR={tmp_path}", "NVCC=true", "ARCHS=90"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/opt/konduktor/bin" in done.stdout
