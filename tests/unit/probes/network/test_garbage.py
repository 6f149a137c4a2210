"""Whatever a tool prints, it is an error of ours or what it says: cut or garbled output never reads
better than the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.check import ToolOutput
from probes.errors import ProbeError
from probes.tools.chrony import parse_tracking
from probes.tools.crash import journal_lines, of_dump
from probes.tools.iperf3 import parse_client, parse_server
from probes.tools.mounts import parse_mountinfo
from probes.tools.ping import parse_ping
from probes.tools.rdma import of_ibstat
from tests.support.network_checks import origins, text

PARSERS: dict[str, Callable[[ToolOutput], object]] = {
    "ping/": parse_ping,
    "iperf3/client": parse_client,
    "iperf3/server": parse_server,
    "ibstat/": of_ibstat,
    "chronyc/": parse_tracking,
    "mountinfo/": lambda output: parse_mountinfo(output.stdout),
    "pstore/": lambda output: of_dump(output.stdout),
}
NAMES = sorted(name for name in origins() if not name.startswith("sysfs/"))
codes = st.sampled_from([0, 1, 2, 255, -9])


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


@given(st.sampled_from(NAMES), st.floats(0, 1), codes)
def test_cut_output_raises_nothing_but_our_errors(name: str, share: float, code: int) -> None:
    document = text(name)
    attempt(parser(name), ToolOutput(code, document[: int(len(document) * share)], ""))


@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), max_size=6),
    codes,
)
def test_flipped_bits_raise_nothing_but_our_errors(
    name: str, flips: list[tuple[float, int]], code: int
) -> None:
    raw = bytearray(text(name).encode())
    for place, bit in flips:
        raw[min(int(place * len(raw)), len(raw) - 1)] ^= 1 << bit
    attempt(parser(name), ToolOutput(code, raw.decode("utf-8", "replace"), ""))


@given(st.sampled_from(sorted(PARSERS)), st.text(max_size=300), codes)
def test_any_text_raises_nothing_but_our_errors(start: str, stdout: str, code: int) -> None:
    attempt(PARSERS[start], ToolOutput(code, stdout, ""))


@given(st.text(max_size=200))
def test_any_journal_raises_nothing_but_our_errors(stdout: str) -> None:
    attempt(lambda output: journal_lines(output.stdout), ToolOutput(0, stdout, ""))


@pytest.mark.parametrize("name", ["ping/lossy.txt", "iperf3/client-slow-bidir.json"])
def test_a_bad_result_does_not_get_better_when_it_is_cut(name: str) -> None:
    """Until nothing but the last line's end is missing."""
    document = text(name).rstrip()
    for end in range(0, len(document), 7):
        assert attempt(parser(name), ToolOutput(0, document[:end], "")) is None
