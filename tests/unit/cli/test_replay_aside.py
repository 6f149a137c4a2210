"""Files that another process reads: the same lines come of it, and the reader does not stay."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks import past_log
from konduktor_health.cli import replay_aside
from konduktor_health.cli.replay_aside import (
    Polls,
    is_worth_it,
    passages_aside,
    passages_of,
)
from konduktor_health.cli.replay_input import from_files
from konduktor_health.errors import ConfigError, HealthError
from konduktor_health.model import Severity
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import DecodedRecord, Told
from konduktor_health.runtime.replay.passage import Passage
from konduktor_health.timestamps import NS
from parsers import tables

READER = "konduktor_health.cli.replay_aside"
POLLS = Polls(2 * NS)
ASKED = json.dumps([None, 2 * NS, None, None])


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("past") / "past.log"
    past_log.write(path, 5_000, 20, 0.2)
    with path.open("a", encoding="utf-8") as file:
        file.write("[ 12.5] NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n")
        file.write('{"log":"RuntimeError: CUDA error: invalid device ordinal\\n"}\n')
    return path


def told(entry: LogEntry) -> tuple[Any, ...]:
    """All that is played of an entry."""
    record = entry.record
    assert isinstance(record, DecodedRecord)
    (fault,) = record.faults
    said = (fault.fault_id, fault.severity, fault.remedy, fault.device, fault.injected)
    return (
        (entry.node_name, entry.time_ns, entry.identity, entry.source, entry.trust, entry.pod),
        (record.text, record.uptime_us, record.uptime_stamp, record.boot_id, record.facility),
        (record.time_ns, record.repeated, *said, fault.trust, fault.text, fault.detail),
    )


#: Each poll's time and lines.
Heard = list[tuple[int, list[tuple[Any, ...]]]]


def in_one_process(*paths: Path, polls: Polls = POLLS) -> tuple[Heard, Told]:
    files = from_files([str(path) for path in paths], io.BytesIO(), None, tables.recorded())
    counts = Told()
    found = [(at_ns, [told(each) for each in lines]) for at_ns, lines in polls.of(files, counts)]
    return found, counts


def heard_in(passages: Iterable[Passage]) -> Heard:
    return [
        (at_ns, [told(each) for each in passage.entries(at)])
        for passage in passages
        for at, at_ns in enumerate(passage.times_ns)
    ]


def aside(*paths: Path, polls: Polls = POLLS, rules: Path | None = None) -> tuple[Heard, Told]:
    counts = Told()
    with closing(passages_aside([*map(str, paths)], rules, None, polls, counts)) as passages:
        return heard_in(passages), counts


def test_the_same_polls_come_of_it(past: Path) -> None:
    positions: list[tuple[int, int]] = []

    def watch(done: int, size: int) -> None:
        positions.append((done, size))

    counts = Told()
    with closing(passages_aside([str(past)], None, watch, POLLS, counts)) as passages:
        found = heard_in(passages)

    assert (found, counts) == in_one_process(past)
    assert (counts.lines, counts.without_time, counts.without_node) == (5_000, 2, 0)
    assert positions[-1] == (past.stat().st_size, past.stat().st_size)


def test_the_window_and_the_interval_of_polls_count_there_too(past: Path) -> None:
    start_ns = past_log.START_S * NS
    polls = Polls(5 * NS, start_ns + 3600 * NS, start_ns + 2 * 3600 * NS)

    found, counts = aside(past, polls=polls)

    assert (found, counts) == in_one_process(past, polls=polls)
    assert counts.outside > 1000
    assert found[0][0] % (5 * NS) == 0


def test_several_files_are_merged(past: Path, tmp_path: Path) -> None:
    other = tmp_path / "node-9.log"
    past_log.write(other, 500, 3, 0.2, seed=2)

    assert aside(past, other) == in_one_process(past, other)


def test_a_rules_file_counts_there_too(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text('version: 1\nentries: {"xid/31": {severity: degraded}}\n')
    log = tmp_path / "a.log"
    past_log.write(log, 2_000, 3, 0.2)

    found, _ = aside(log, rules=rules)

    severities = dict(line[2][2:4] for _, lines in found for line in lines)
    assert severities["xid/31"] is Severity.DEGRADED
    assert severities["xid/13"] is Severity.APPLICATION


def test_a_file_that_cannot_be_read_is_an_error_after_the_others(
    past: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(b"\x1f\x8b\x08" + b"\0" * 40)

    with pytest.raises(ConfigError, match="cannot read") as raised:
        aside(damaged)
    assert raised.value.hint
    with pytest.raises(ConfigError, match="No such file"):
        aside(past, tmp_path / "none.log")


def test_a_reader_that_was_ended_is_no_end_of_the_files(
    past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("this", "keyword"):  # modules that say something else, or nothing
        monkeypatch.setattr(replay_aside, "_MODULE", other)
        with pytest.raises(HealthError, match="was ended"):
            aside(past)


def test_a_reader_whose_lines_nobody_takes_any_more_ends(
    past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Seen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Seen)
    passages = passages_aside([str(past)], None, None, POLLS, Told())
    next(passages)
    passages.close()

    assert started[0].returncode is not None


def test_a_reader_without_a_parent_ends_quietly(past: Path) -> None:
    """As if the one that plays had been killed: nobody is at the other end of the pipe."""
    reader = subprocess.Popen(
        [sys.executable, "-m", READER, ASKED, *[str(past)] * 20],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert reader.stdout is not None
    assert reader.stderr is not None
    reader.stdout.read(8)
    reader.stdout.close()

    assert reader.wait(60) == 0
    assert reader.stderr.read() == b""
    reader.stderr.close()


def test_ctrl_c_is_not_for_the_reader(past: Path) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-m", READER, ASKED, str(past)], stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    begin = reader.stdout.read(8)
    os.kill(reader.pid, signal.SIGINT)
    rest = reader.stdout.read()
    reader.stdout.close()

    assert reader.wait(60) == 0
    assert len(begin + rest) > 100_000


def test_small_files_and_pipes_are_read_here(past: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert not is_worth_it([str(past)])
    monkeypatch.setattr(replay_aside, "LEAST_BYTES", 1000)
    assert is_worth_it([str(past)])
    assert not is_worth_it([str(past), "-"])
    assert not is_worth_it([str(past.with_suffix(".none"))])
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert not is_worth_it([str(past)])


def test_what_lies_in_the_folder_that_one_is_in_is_not_run(
    past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parsers.py").write_text("raise SystemExit('not ours')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])

    assert aside(past) == in_one_process(past)


def test_a_path_may_be_that_of_an_open_file(past: Path) -> None:
    """As a shell makes it of ``<(...)``, and as /dev/stdin is."""
    text = b"2026-01-01T00:00:00Z n kernel: [1.0] NVRM: Xid (PCI:0000:3b:00): 79, x\n"
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    os.write(write_end, text)
    os.close(write_end)
    try:
        _, counts = aside(past, Path(f"/dev/fd/{read_end}"))
        assert counts.lines == 5_001
    finally:
        os.close(read_end)


@pytest.mark.parametrize("least", [1, 1 << 40])
def test_whichever_way_the_lines_are_the_same(
    past: Path, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_aside, "LEAST_BYTES", least)
    files, counts, read = [str(past)], Told(), tables.recorded()
    with closing(passages_of(files, io.BytesIO(), None, read, None, POLLS, counts)) as passages:
        assert (heard_in(passages), counts) == in_one_process(past)


def test_the_past_is_json_lines(past: Path) -> None:
    """What the other tests rest on: the forwarder's own form."""
    with past.open(encoding="utf-8") as file:
        assert json.loads(file.readline())["konduktor"] == "kmsg"
