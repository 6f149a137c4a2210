from __future__ import annotations

import pytest

from probes.check import ToolOutput
from probes.errors import BackendMissing, CheckError
from probes.tools.nvidia_smi import parse_query
from tests.support.tool_output import output, text


def test_values_are_known_by_their_path() -> None:
    query = parse_query(output("nvidia-smi/query-a100-remap-pending.txt"))
    gpu = query.gpus[0]

    assert query.driver == "510.73.08"
    assert gpu.device == "0000:10:1c"
    assert gpu.values["Remapped Rows", "Pending"] == "Yes"
    assert gpu.values["Remapped Rows", "Remapping Failure Occurred"] == "No"
    assert gpu.values["ECC Errors", "Volatile", "DRAM Correctable"] == "177"
    assert gpu.values["Remapped Rows", "Bank Remap Availability Histogram", "Max"] == "639 bank(s)"
    assert gpu.broken() == []


def test_values_that_cannot_be_read_are_told_by_gpu() -> None:
    gpus = parse_query(output("nvidia-smi/query-h100-broken.txt")).gpus

    assert [gpu.device for gpu in gpus] == ["0000:19:00", "0000:3b:00"]
    assert gpus[0].broken() == []
    assert gpus[1].broken() == [
        "Fan Speed",
        "Remapped Rows / Pending",
        "Temperature / GPU Current Temp",
        "GPU Power Readings / Average Power Draw",
    ]


@pytest.mark.parametrize(
    ("name", "device", "words"),
    [
        ("lost", "0000:02:00", "GPU is lost"),
        ("unknown-error", "0000:07:00", "Unknown Error"),
        ("unknown-error-2015", "0000:0b:00", "Unknown Error"),
    ],
)
def test_a_gpu_that_it_cannot_reach_is_lost(name: str, device: str, words: str) -> None:
    query = parse_query(output(f"nvidia-smi/{name}.txt", 255))

    assert query.gpus == ()
    assert query.lost[0][0] == device
    assert words in query.lost[0][1]


@pytest.mark.parametrize(
    ("line", "device"),
    [
        (
            "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error",
            "0000:34:00",
        ),
        (
            "Unable to determine the device handle for GPU00001234:56:00.0: GPU is lost.",
            "1234:56:00",
        ),
        ("Unable to determine the device handle for gpu 0: Unknown Error", ""),
    ],
)
def test_all_spellings_of_a_lost_gpu_are_known(line: str, device: str) -> None:
    query = parse_query(ToolOutput(0, line, ""))

    assert [lost[0] for lost in query.lost] == [device]


def test_a_lost_gpu_before_the_list_of_the_others_is_told_beside_it() -> None:
    line = text("nvidia-smi/unknown-error.txt")
    listed = text("nvidia-smi/query-h100-missing.txt")
    query = parse_query(ToolOutput(255, line + listed, ""))

    assert [gpu.device for gpu in query.gpus] == ["0000:19:00"]
    assert [device for device, _ in query.lost] == ["0000:07:00"]


@pytest.mark.parametrize("name", ["mismatch", "no-driver", "no-devices"])
def test_no_driver_is_no_list_of_gpus(name: str) -> None:
    with pytest.raises(BackendMissing):
        parse_query(output(f"nvidia-smi/{name}.txt", 9))


@pytest.mark.parametrize(
    ("stdout", "code"),
    [
        (text("nvidia-smi/query-h100-missing.txt"), 0),
        (text("nvidia-smi/query-h100.txt")[:300], 0),
        (text("nvidia-smi/query-h100.txt"), 1),
        ("", 0),
        ("Attached GPUs : many", 0),
        ("GPU 00000000:19:00.0\n" * 2, 0),
    ],
)
def test_what_is_not_whole_is_an_error(stdout: str, code: int) -> None:
    with pytest.raises(CheckError):
        parse_query(ToolOutput(code, stdout, ""))
