from __future__ import annotations

import pytest

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.cuda_json import parse_cuda
from tests.support.tool_output import output, text


def test_bandwidths_are_read_by_gpu_and_peer() -> None:
    run = parse_cuda(output("cuda/bandwidth.json"), "bandwidth")

    assert [gpu.device for gpu in run.gpus] == ["0000:3b:00", "0000:5e:00"]
    h2d = run.gpus[1].result("h2d")
    assert h2d is not None
    assert (h2d.value, h2d.unit) == (12.10, "GB/s")
    assert run.gpus[0].result("p2p_write", "0000:5e:00") is not None
    assert run.gpus[0].result("p2p_write") is None
    assert run.gpus[0].bound is True


@pytest.mark.parametrize(
    ("name", "program", "words", "total"),
    [
        ("bandwidth-wrong-data", "bandwidth", "bit 3", 1),
        ("gpucheck-wrong", "gpucheck", "iteration 17, row 0, column 85", 1),
        ("memtest-wrong", "memtest", "address 0x7f3a2000", 4211),
    ],
)
def test_wrong_results_name_place_and_bits(name: str, program: str, words: str, total: int) -> None:
    run = parse_cuda(output(f"cuda/{name}.json", 3), program)
    bad = run.gpus[-1]

    assert words in bad.wrong[0].text
    assert bad.wrong_total == total
    assert bad.error is None


def test_a_program_that_cannot_work_says_why() -> None:
    run = parse_cuda(output("cuda/emulated-no-driver.json", 1), "gpucheck")

    assert run.gpus == ()
    assert run.error is not None
    assert run.error.code == "no-driver"


@pytest.mark.parametrize(
    ("name", "code"),
    [("bandwidth", 1), ("bandwidth", 3), ("bandwidth", -9), ("no-driver", 0)],
)
def test_an_exit_status_that_says_otherwise_makes_all_of_it_an_error(name: str, code: int) -> None:
    with pytest.raises(CheckError, match="ended with"):
        parse_cuda(output(f"cuda/{name}.json", code), "bandwidth")


def test_errors_that_are_hidden_by_exit_0_are_an_error() -> None:
    with pytest.raises(CheckError, match="its output says 3"):
        parse_cuda(output("cuda/gpucheck-wrong.json", 0), "gpucheck")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"program": "bandwidth"', '"program": "memtest"'),
        ('"version": 1', '"version": 2'),
        ('"injected": false', '"injected": true'),
        ('"injected": false', '"inject": false'),
        ('"value": 55.31', '"value": "55.31 GB/s"'),
        ('"value": 55.31', '"value": -55.31'),
        ('"value": 55.31', '"value": 0'),
        ('"value": 55.31', '"value": NaN'),
        ('"value": 55.31', '"value": 553.1'),
        ('"unit": "GB/s"', '"unit": "GiB/s"'),
        ('"name": "h2d"', '"name": "H2D; rm"'),
        ('"device": "0000:3b:00"', '"device": "gpu0"'),
        ('"device": "0000:5e:00"', '"device": "0000:3b:00"'),
        ('"errors_total": 0', '"errors_total": 5'),
        ('"errors_total": 0', '"errors_total": null'),
        ('"peer": "0000:5e:00"', '"peer": "all"'),
    ],
)
def test_garbled_output_is_an_error(old: str, new: str) -> None:
    document = text("cuda/bandwidth.json")
    assert old in document

    with pytest.raises(CheckError):
        parse_cuda(ToolOutput(0, document.replace(old, new, 1), ""), "bandwidth")


@pytest.mark.parametrize(
    ("name", "program", "results"),
    [
        ("bandwidth", "bandwidth", ["h2d", "d2h", "hbm_triad", "p2p_write", "p2p_read"]),
        ("gpucheck", "gpucheck", ["daxpy", "dgemm", "sgemm", "tf32", "fp16"]),
        ("memtest", "memtest", ["address", "walking", "inversions", "random", "memory_tested"]),
    ],
)
def test_what_the_programs_themselves_print_is_read(
    name: str, program: str, results: list[str]
) -> None:
    run = parse_cuda(output(f"cuda/emulated-{name}.json"), program)

    assert [gpu.device for gpu in run.gpus] == ["0000:3b:00", "0000:3c:00"]
    for gpu in run.gpus:
        assert set(results) <= {result.name for result in gpu.results}


def test_an_error_that_the_driver_calls_one_of_the_hardware_is_of_its_gpu() -> None:
    run = parse_cuda(output("cuda/emulated-device-error.json", 3), "bandwidth")

    assert [gpu.wrong_total for gpu in run.gpus] == [0, 1]
    assert run.gpus[1].wrong[0].kind == "device"


def test_a_gpu_that_hangs_costs_its_own_result() -> None:
    run = parse_cuda(output("cuda/emulated-deadline.json", 1), "memtest")

    assert [gpu.error.code if gpu.error else "" for gpu in run.gpus] == ["deadline", "deadline"]
    assert run.gpus[0].result("address") is not None
    assert run.gpus[1].results == ()


def test_what_could_not_be_measured_says_why() -> None:
    run = parse_cuda(output("cuda/emulated-no-peers.json"), "bandwidth")

    assert run.gpus[0].skipped == ("p2p towards 0000:3c:00: no peer access",)


def test_errors_that_were_injected_on_purpose_accuse_nobody() -> None:
    with pytest.raises(CheckError, match="--inject"):
        parse_cuda(output("cuda/emulated-injected.json", 3), "gpucheck")
