from __future__ import annotations

import pytest

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.bandwidthtest import parse_csv
from probes.tools.nvbandwidth import DataWrong, parse_json, parse_text
from tests.support.tool_output import output, text


@pytest.mark.parametrize("name", ["v0.5-one-gpu.json", "v0.5-garbage-around.txt"])
def test_json_is_read_whatever_stands_around_it(name: str) -> None:
    cases = parse_json(output(f"nvbandwidth/{name}"))

    assert set(cases) == {
        "host_to_device_memcpy_ce",
        "device_to_host_memcpy_ce",
        "host_to_device_bidirectional_memcpy_ce",
        "host_device_latency_sm",
    }
    assert cases["host_to_device_memcpy_ce"].matrix == ((12.3964,),)
    assert cases["host_to_device_memcpy_ce"].unit == "GB/s"
    assert cases["host_device_latency_sm"].unit == "ns"


def test_text_is_read() -> None:
    cases = parse_text(output("nvbandwidth/v0.2-8x4090.txt"))

    assert cases["host_to_device_memcpy_ce"].matrix[0][2] == 23.90
    assert cases["device_to_host_memcpy_ce"].matrix[0] == (
        26.77, 26.47, 26.25, 26.63, 27.10, 27.11, 27.11, 26.83,
    )  # fmt: skip


def test_pairs_that_were_not_measured_are_no_zero() -> None:
    matrix = parse_text(output("nvbandwidth/v0.8-6xa6000-p2p.txt"))[
        "device_to_device_memcpy_read_ce"
    ].matrix

    assert [row[at] for at, row in enumerate(matrix)] == [None] * 6
    assert matrix[0][3] == 21.95


def test_data_that_arrived_wrong_names_the_test() -> None:
    for parse in (parse_text, parse_json):
        with pytest.raises(DataWrong, match="device_to_device_memcpy_read_ce"):
            parse(output("nvbandwidth/v0.7-wrong-data.txt", 1))


def test_its_own_error_is_an_error() -> None:
    with pytest.raises(CheckError, match="initialization error"):
        parse_json(output("nvbandwidth/error.json", 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"12.3964"', '"12.39 64"'),
        ('"12.3964"', "NaN"),
        ('"12.3964"', '"-1"'),
        ('"Passed"', '"Error"'),
        ('"Passed"', '"Running"'),
        ("(GB/s) ", "(MB/s) "),
        ('"testcases"', '"test"'),
    ],
)
def test_garbled_json_is_an_error(old: str, new: str) -> None:
    document = text("nvbandwidth/v0.5-one-gpu.json")
    assert old in document

    with pytest.raises(CheckError):
        parse_json(ToolOutput(0, document.replace(old, new), ""))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("23.90", "x"),
        ("     26.31", ""),
        ("          0         1", "          1         0"),
        ("Running", "Ran"),
        ("(GB/s)", ""),
    ],
)
def test_garbled_text_is_an_error(old: str, new: str) -> None:
    document = text("nvbandwidth/v0.2-8x4090.txt")
    assert old in document

    with pytest.raises(CheckError):
        parse_text(ToolOutput(0, document.replace(old, new), ""))


def test_results_of_a_run_that_ended_badly_do_not_count() -> None:
    for name in ("v0.5-one-gpu.json", "v0.2-8x4090.txt"):
        parse = parse_json if name.endswith("json") else parse_text
        with pytest.raises(CheckError, match="signal 11"):
            parse(output(f"nvbandwidth/{name}", -11))


def test_bandwidthtest_gives_its_largest_size() -> None:
    assert parse_csv(output("bandwidthtest/v100-h2d.txt")) == {"h2d": 12.4}


def test_a_time_that_looks_like_an_error_code_is_a_time() -> None:
    line = (
        "bandwidthTest-H2D-Pinned, Bandwidth = 3.9 GB/s, Time = 0.00802 s, "
        "Size = 32000000 bytes, NumDevsUsed = 1\nResult = PASS\n"
    )

    assert parse_csv(ToolOutput(0, line, "")) == {"h2d": 3.9}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("12.4 GB/s", "12.4 GiB/s"),
        ("12.4 GB/s", "nan GB/s"),
        ("Result = PASS", ""),
        ("bandwidthTest-", "x"),
        ("Size =", "Sized"),
    ],
)
def test_a_line_that_is_not_understood_is_an_error(old: str, new: str) -> None:
    document = text("bandwidthtest/v100-h2d.txt")
    assert old in document

    with pytest.raises(CheckError):
        parse_csv(ToolOutput(0, document.replace(old, new), ""))
