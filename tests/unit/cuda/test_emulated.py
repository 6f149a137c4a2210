"""The CUDA programs as a whole, their kernels run by the CPU thread by thread."""

from __future__ import annotations

import json
import subprocess

import pytest

from probes.check import ToolOutput
from probes.tools.cuda_json import parse_cuda
from tests.support.cuda_programs import BUILD, NAMES, PAGE, documented, emulated

# The first test of a process may have to compile.
pytestmark = [pytest.mark.usefixtures("built"), pytest.mark.timeout(900)]

RESULTS = {
    "bandwidth": {
        *("h2d", "d2h", "h2d_both", "d2h_both", "h2d_sm", "d2h_sm"),
        *("h2d_parallel", "d2h_parallel"),
        *("p2p_write", "p2p_read", "p2p_write_both", "p2p_write_sm"),
        *("d2d", "hbm_copy", "hbm_triad"),
    },
    "gpucheck": {"daxpy", "dgemm", "sgemm", "tf32", "fp16"},
    "memtest": {"address", "walking", "inversions", "random", "memory_tested", "memory_total"},
}
INJECTED_WRITES = 2 + 128 + 7 + 4  # one after each write of each pattern
UNITS = {"GB/s", "GFLOPS", "bytes"}


def test_the_tests_of_headers_and_kernels_pass() -> None:
    done = subprocess.run([str(BUILD / "host-tests")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " 0 failed" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_gpu_is_measured_and_right(name: str) -> None:
    said = emulated(name, EMULATED_GPUS="2")
    assert said.code == 0, said.text + said.complaint
    body = said.body
    assert (body["program"], body["version"], body["injected"]) == (name, 1, False)
    assert (body["driver"], body["runtime"], body["error"]) == ("13.0", "13.5", None)
    assert [gpu["device"] for gpu in body["gpus"]] == ["0000:3b:00", "0000:3c:00"]
    for gpu in body["gpus"]:
        assert gpu["uuid"].startswith("GPU-00000000-")
        assert (gpu["errors"], gpu["errors_total"], gpu["error"]) == ([], 0, None)
        assert {each["name"] for each in gpu["results"]} == RESULTS[name]
        for each in gpu["results"]:
            assert each["unit"] in UNITS
            assert each["value"] > 0
            assert min(each["samples"]) <= each["value"] <= max(each["samples"])


@pytest.mark.parametrize("name", NAMES)
def test_the_checks_read_what_the_programs_say(name: str) -> None:
    for environment, wrong in (({}, 0), ({"EMULATED_ERROR": "cudaStreamSynchronize:214:0"}, 1)):
        said = emulated(name, **environment)
        run = parse_cuda(ToolOutput(said.code, said.text, said.complaint), name)
        (gpu,) = run.gpus
        assert (run.error, gpu.device, gpu.wrong_total) == (None, "0000:3b:00", wrong)
        if not wrong:
            assert {result.name for result in gpu.results} == {
                each for each in RESULTS[name] if "parallel" not in each and "p2p" not in each
            }
    unusable = emulated(name, EMULATED_ERROR="cudaGetDeviceCount:802:0")
    run = parse_cuda(ToolOutput(unusable.code, unusable.text, unusable.complaint), name)
    assert run.error is not None
    assert run.error.code == "fabric"


@pytest.mark.parametrize("name", NAMES)
def test_each_key_result_and_option_is_documented(name: str) -> None:
    assert RESULTS[name] <= documented(f"## `{name}`")
    said = emulated(name, EMULATED_GPUS="2")
    keys = {word.rsplit(".", 1)[-1] for word in documented("## Output")}
    for key in json.dumps(said.body).split('"')[1::2]:
        if f'"{key}":' in json.dumps(said.body):
            assert key in keys or f"`{key}`" in PAGE, key
    options = {word for word in emulated(name, "--help").text.split() if word.startswith("--")}
    assert options <= documented("## Common options") | documented(f"## `{name}`")


@pytest.mark.parametrize(
    ("name", "place", "address", "bit"),
    [
        ("memtest", "0x1230:41", "0x1230", 41),
        *(("gpucheck", f"{test}:4242:17", "", 17) for test in sorted(RESULTS["gpucheck"])),
        *(
            ("bandwidth", f"{test}:0x3038:9", "0x3038", 9)
            for test in ("h2d", "d2h_both", "h2d_sm", "d2h_parallel", "p2p_read", "hbm_triad")
        ),
    ],
)
def test_an_injected_bit_is_found_where_it_is(
    name: str, place: str, address: str, bit: int
) -> None:
    said = emulated(name, "--inject", place, EMULATED_GPUS="2")
    assert said.code == 3, said.text
    assert said.body["injected"] is True
    for gpu in said.gpus:
        assert gpu["errors_total"] == (INJECTED_WRITES if name == "memtest" else 1)
        for error in gpu["errors"]:
            assert error["kind"] == "mismatch"
            assert error["bit"] == bit
            assert int(error["expected"], 16) ^ int(error["actual"], 16) == 1 << bit
            if address:
                assert error["address"] == address
        assert len(gpu["errors"]) <= 16


def test_a_wrong_element_is_named_by_iteration_row_and_column() -> None:
    (gpu,) = emulated("gpucheck", "--tests", "dgemm", "--inject", "dgemm:4242:17").gpus
    (error,) = gpu["errors"]
    assert (error["iteration"], error["row"], error["column"]) == (2, 4242 // 128, 4242 % 128)
    assert error["again"] == 1


@pytest.mark.parametrize(
    ("name", "few"), [("bandwidth", "hbm"), ("gpucheck", "sgemm"), ("memtest", "address")]
)
def test_a_gpu_that_hangs_is_named_and_nothing_waits_for_it(name: str, few: str) -> None:
    said = emulated(
        name,
        *("--tests", few, "--seconds", "10", "--grace", "5"),
        EMULATED_GPUS="2",
        EMULATED_HANG="cudaStreamSynchronize:1",
    )
    assert said.code == 1, said.text
    first, second = said.gpus
    assert second["error"]["code"] == "deadline"
    if name != "bandwidth":  # one process for all of them: who comes after is not reached
        assert first["error"] is None
        assert first["results"]


@pytest.mark.parametrize("name", NAMES)
def test_an_ecc_error_is_an_error_of_the_hardware(name: str) -> None:
    said = emulated(name, EMULATED_GPUS="2", EMULATED_ERROR="cudaStreamSynchronize:214:0")
    assert said.code == 3, said.text
    first, second = said.gpus
    assert [error["kind"] for error in first["errors"]] == ["device"]
    assert "cudaError" in first["errors"][0]["message"]
    assert second["errors"] == []
    # With CUDA spoiled in that process, nothing is claimed of the others either.
    assert (second["error"] is None) == (name != "bandwidth")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("2", "out-of-memory"),
        ("46", "gpu-busy"),
        ("209", "architecture"),
        ("719", "cuda"),
        ("802", "fabric"),
        ("999", "driver"),
    ],
)
def test_what_cuda_refuses_is_told_and_accuses_nobody(name: str, status: str, code: str) -> None:
    said = emulated(name, EMULATED_GPUS="2", EMULATED_ERROR=f"cudaSetDevice:{status}:0")
    assert said.code == 1
    first, second = said.gpus
    assert first["error"]["code"] == code
    assert first["errors"] == []
    assert f"`{code}`" in PAGE
    assert second["results"]


def test_too_little_memory_is_told_with_figures() -> None:
    (gpu,) = emulated("memtest", EMULATED_MEMORY="200000").gpus
    assert gpu["error"]["code"] == "out-of-memory"
    assert "262144" in gpu["error"]["message"]


def test_a_share_that_cannot_be_had_in_one_piece_is_made_smaller() -> None:
    (gpu,) = emulated(
        "memtest", "--bytes", "0", "--share", "99", "--tests", "address", EMULATED_MEMORY="4194304"
    ).gpus
    tested = {each["name"]: each["value"] for each in gpu["results"]}
    assert 0.9 < tested["memory_tested"] / tested["memory_total"] <= 0.99


def test_what_fits_into_the_cache_is_not_tested_as_memory() -> None:
    said = emulated("memtest", "--bytes", "65536")
    assert said.code == 1
    assert "L2 cache" in said.gpus[0]["error"]["message"]


def test_time_that_is_over_before_the_first_round_is_no_pass() -> None:
    said = emulated("memtest", "--bytes", "33554432", "--seconds", "1")
    assert said.code == 1, said.text
    assert said.gpus[0]["error"]["code"] == "deadline"
    assert "random" in said.gpus[0]["error"]["message"]


def test_rounds_have_words_of_their_own_and_are_counted() -> None:
    (gpu,) = emulated("memtest", "--rounds", "3", "--tests", "random").gpus
    (random,) = [each for each in gpu["results"] if each["name"] == "random"]
    assert random["count"] == 3
    assert len(random["samples"]) == 3


@pytest.mark.parametrize(
    ("compute", "skipped"), [("75", {"tf32"}), ("70", {"tf32"}), ("80", set())]
)
def test_old_gpus_skip_what_they_cannot(compute: str, skipped: set[str]) -> None:
    said = emulated("gpucheck", EMULATED_COMPUTE=compute)
    assert said.code == 0, said.text
    (gpu,) = said.gpus
    assert {each["name"] for each in gpu["skipped"]} == skipped
    assert {each["name"] for each in gpu["results"]} == RESULTS["gpucheck"] - skipped


def test_gpus_without_peer_access_and_single_ones_skip_what_needs_two() -> None:
    first, second = emulated("bandwidth", EMULATED_GPUS="2", EMULATED_NO_PEERS="1").gpus
    assert first["skipped"] == [
        {"name": "p2p", "peer": second["device"], "reason": "no peer access"}
    ]
    (alone,) = emulated("bandwidth").gpus
    assert {each["name"] for each in alone["skipped"]} == {"parallel", "p2p"}


def test_cublas_is_used_where_it_is_and_has_to_be_right_too() -> None:
    library = {"LD_LIBRARY_PATH": str(BUILD / "emulated/cublas")}
    said = emulated("gpucheck", "--cublas", "auto", **library)
    assert said.code == 0, said.text
    kernels = {each["name"]: each["kernel"] for each in said.gpus[0]["results"]}
    assert kernels.pop("daxpy") == "own"
    assert set(kernels.values()) == {"cublas"}
    failing = emulated("gpucheck", "--cublas", "auto", EMULATED_CUBLAS_STATUS="13", **library)
    assert failing.code == 1
    assert failing.gpus[0]["error"]["code"] == "cublas"


def test_without_cublas_own_kernels_serve_unless_it_was_asked_for() -> None:
    own = emulated("gpucheck", "--cublas", "auto", "--tests", "sgemm").gpus[0]
    assert [each["kernel"] for each in own["results"]] == ["own"]
    said = emulated("gpucheck", "--cublas", "yes", "--tests", "sgemm")
    assert said.code == 1
    assert said.gpus[0]["error"]["code"] == "cublas"


@pytest.mark.parametrize("choice", ["1", "0000:3c:00", "GPU-00000000-0000-0000-0000-000000000001"])
def test_gpus_are_chosen_by_index_address_or_uuid(choice: str) -> None:
    said = emulated("memtest", "--devices", choice, "--tests", "address", EMULATED_GPUS="3")
    assert [gpu["index"] for gpu in said.gpus] == [1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong",
    [
        ("--nothing",),
        ("--seconds", "0"),
        ("--seconds", "1.5"),
        ("--seconds", "nan"),
        ("--tests", "no_such_test"),
        ("--inject", "1:2:3:4"),
        ("--grace",),
    ],
)
def test_wrong_usage_says_what_is_wrong(name: str, wrong: tuple[str, ...]) -> None:
    said = emulated(name, *wrong)
    assert said.code == 2
    assert said.body["error"]["code"] == "usage"
    assert said.complaint.startswith("error: ")
    assert wrong[-1].split(":")[0] in said.complaint
