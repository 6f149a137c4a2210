"""Whatever a tool prints, a parser says what it says or raises an error of ours, and no cut or
garbled output reads better than the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.check import Outcome, ToolOutput
from probes.errors import ProbeError
from probes.tools.bandwidthtest import parse_csv
from probes.tools.cuda_json import parse_cuda
from probes.tools.dcgm_discovery import parse_discovery
from probes.tools.dcgm_judgement import judge
from probes.tools.dcgmi import parse_diag
from probes.tools.nccl_tests import parse_run
from probes.tools.nvbandwidth import parse_json, parse_text
from probes.tools.nvidia_smi import parse_query
from tests.support import tool_output


def cuda(program: str) -> Callable[[ToolOutput], object]:
    return lambda output: parse_cuda(output, program)


PARSERS: dict[str, Callable[[ToolOutput], object]] = {
    "dcgmi/v": parse_diag,
    "dcgmi/host": parse_diag,
    "dcgmi/already": parse_diag,
    "dcgmi/discovery": parse_discovery,
    "nvidia-smi/": parse_query,
    "nvbandwidth/error": parse_json,
    "nvbandwidth/v0.5": parse_json,
    "nvbandwidth/v": parse_text,
    "bandwidthtest/": parse_csv,
    "nccl-tests/": parse_run,
    "cuda/gpucheck": cuda("gpucheck"),
    "cuda/memtest": cuda("memtest"),
    "cuda/": cuda("bandwidth"),
}
NAMES = sorted(tool_output.origins())
FAILING = ("dcgmi/v4-level3-failures.json", "dcgmi/v3-level3-pcie-fails.json")


def parser(name: str) -> Callable[[ToolOutput], object]:
    return next(parse for start, parse in PARSERS.items() if name.startswith(start))


def attempt(parse: Callable[[ToolOutput], object], output: ToolOutput) -> object | None:
    said = ""
    try:
        return parse(output)
    except ProbeError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 1000
    return None


names = st.sampled_from(NAMES)
codes = st.sampled_from([0, 1, 3, 226, 205, 217, -9])


@given(names, st.floats(0, 1), codes)
def test_output_that_is_cut_off_raises_nothing_but_our_errors(
    name: str, share: float, code: int
) -> None:
    document = tool_output.text(name)

    attempt(parser(name), ToolOutput(code, document[: int(len(document) * share)], ""))


@given(
    names, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=6), codes
)
def test_flipped_bits_raise_nothing_but_our_errors(
    name: str, flips: list[tuple[float, int]], code: int
) -> None:
    raw = bytearray(tool_output.text(name).encode())
    for place, bit in flips:
        raw[min(int(place * len(raw)), len(raw) - 1)] ^= 1 << bit

    attempt(parser(name), ToolOutput(code, raw.decode("utf-8", "replace"), ""))


@given(st.sampled_from(sorted(set(PARSERS))), st.text(max_size=400), st.text(max_size=50), codes)
def test_any_text_raises_nothing_but_our_errors(
    start: str, stdout: str, stderr: str, code: int
) -> None:
    assert attempt(PARSERS[start], ToolOutput(code, stdout, stderr)) in (None, {})


pieces = st.sampled_from(
    ['"DCGM Diagnostic":', '"test_categories":', '"tests":', '"results":', '"name":', '"status":',
     '"memory"', '"Pass"', '"Fail"', "{", "}", "[", "]", ",", "0", '"entity_id":', '"program":',
     '"gpus":', '"bandwidth"', '"nvbandwidth":', "null", "1e999", "-", '"']
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(pieces, max_size=60))
def test_pieces_of_json_in_any_order_raise_nothing_but_our_errors(parts: list[str]) -> None:
    output = ToolOutput(0, "".join(parts), "")

    for parse in (parse_diag, parse_json, cuda("bandwidth")):
        attempt(parse, output)


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_does_not_vanish_when_the_output_is_cut(name: str) -> None:
    document = tool_output.text(name)

    for end in range(0, len(document.rstrip()), 7):
        assert attempt(parse_diag, ToolOutput(226, document[:end], "")) is None


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_is_found_behind_garbage_with_braces(name: str) -> None:
    noise = "WARNING: {{{ garbage } {\n" * 5
    found = parse_diag(ToolOutput(226, noise + tool_output.text(name) + noise, "")).results

    assert any(judge(result).outcome is Outcome.FAIL for result in found)


@pytest.mark.parametrize(
    "hostile", ["{" * 100_000, "[" * 100_000, '{"a":' * 50_000, '{"a' * 50_000]
)
def test_deep_nesting_ends(hostile: str) -> None:
    assert attempt(parse_diag, ToolOutput(0, hostile, "")) is None


def test_control_characters_of_an_output_reach_no_message() -> None:
    with pytest.raises(ProbeError) as caught:
        parse_diag(ToolOutput(1, "\x1b[31mError\x00: \u202eevil\n", ""))

    assert str(caught.value).isprintable()
