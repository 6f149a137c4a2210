from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.processes.seen import Processes, ProcessId
from probes.runner.stuck import StuckProcesses

BOOT = "a" * 32
ONE, TWO = ProcessId(11, 5), ProcessId(12, 6)


class Living(Processes):
    """Those of a set live."""

    def __init__(self, *living: ProcessId) -> None:
        super().__init__("/nonexistent")
        self.living = set(living)

    def alive(self, process: ProcessId) -> bool:
        return process in self.living


def test_a_stuck_check_is_known_after_a_restart_and_forgotten_when_it_is_gone(
    tmp_path: Path,
) -> None:
    path, table = str(tmp_path / "stuck.json"), Living(ONE, TWO)
    before = StuckProcesses(path, BOOT, processes=table)
    before.add("dcgm-1", [ONE], 100)
    before.add("gpu-ecc", [TWO], 200)
    before.add("gpu-ecc", [TWO], 300)

    after = StuckProcesses(path, BOOT, processes=table)
    assert after.names() == ("dcgm-1", "gpu-ecc")
    found = after.of("gpu-ecc")
    assert found is not None
    assert (found.process, found.since_ns) == (TWO, 200)

    table.living = {TWO}
    assert after.of("dcgm-1") is None
    table.living = {ONE, TWO}  # that it was gone is remembered
    assert StuckProcesses(path, BOOT, processes=table).names() == ("gpu-ecc",)


def test_of_another_boot_nothing_counts(tmp_path: Path) -> None:
    path, table = str(tmp_path / "stuck.json"), Living(ONE)
    StuckProcesses(path, BOOT, processes=table).add("dcgm-1", [ONE], 100)

    assert StuckProcesses(path, "b" * 32, processes=table).names() == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"boot_id": "' + BOOT + '"}',
        '{"boot_id": "' + BOOT + '", "stuck": [{"check": "a", "pid": "1"}]}',
        '{"boot_id": "' + BOOT + '", "stuck": [{"check": 1, "pid": 1, "start": 1, "since_ns": 1}]}',
        '{"boot_id": "' + BOOT + '", "stuck": [["a", 1, 1, 1]]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_and_is_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "stuck.json"
    path.write_text(content)
    said: list[str] = []

    stuck = StuckProcesses(str(path), BOOT, processes=Living(ONE), log=said.append)
    assert stuck.names() == ()
    assert len(said) == 1
    stuck.add("dcgm-1", [ONE], 1)
    assert json.loads(path.read_text())["stuck"][0]["pid"] == ONE.pid


def test_what_cannot_be_written_is_still_known(tmp_path: Path) -> None:
    said: list[str] = []
    path = str(tmp_path / "none" / "stuck.json")
    stuck = StuckProcesses(path, BOOT, processes=Living(ONE), log=said.append)
    stuck.add("dcgm-1", [ONE], 1)

    assert stuck.names() == ("dcgm-1",)
    assert "cannot be remembered" in said[0]


@given(st.dictionaries(st.text(max_size=20), st.integers(0, 2**40), max_size=5))
def test_what_was_added_is_read_back(stuck_checks: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/stuck.json"
        ids = {name: ProcessId(number % 4_000_000, number) for name, number in stuck_checks.items()}
        table = Living(*ids.values())
        first = StuckProcesses(path, BOOT, processes=table)
        for name, process in ids.items():
            first.add(name, [process], 7)
        assert StuckProcesses(path, BOOT, processes=table).living() == first.living()
