from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from konduktor_health.cli import scan_packed
from konduktor_health.cli.app import app
from konduktor_health.cli.scan import scan_file, scan_files
from konduktor_health.cli.scan_show import render_jsonl, render_table
from konduktor_health.errors import ConfigError
from parsers.blocks import BLOCK_BYTES
from parsers.scan import ScanHit
from tests.support.wrapped_lines import WRAPPERS, journald, kmsg_json

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
XID_48 = "NVRM: Xid (PCI:0000:af:00): 48, DBE"


def hits_in(content: bytes) -> list[ScanHit]:
    return list(scan_file("-", io.BytesIO(content)))


def hits_of(content: str) -> list[ScanHit]:
    return hits_in(content.encode("utf-8", "surrogateescape"))


def test_faults_carry_their_line_number_and_the_wrappers_node() -> None:
    hits = hits_of(f"boot\n[1.5] {XID_48}\n\n{kmsg_json(XID_79)}\n")

    assert [(hit.line_number, hit.fault.fault_id, hit.fault.node) for hit in hits] == [
        (2, "xid/48", ""),
        (4, "xid/79", "gpu-7"),
    ]


def test_a_message_of_three_records_is_found_at_its_end() -> None:
    hits = hits_of(
        "[5.1] NVRM: The NVIDIA GPU 0000:18:00.0\n[5.1] usb 1-1: new device\n"
        "[5.1] NVRM: installed in this system has\n"
        "[5.1] NVRM: fallen off the bus and is not responding to commands.\n"
    )

    assert [(hit.line_number, hit.fault.device) for hit in hits] == [(4, "0000:18:00")]


def test_pod_lines_are_found_too() -> None:
    (hit,) = hits_of("RuntimeError: CUDA error: invalid device ordinal\n")

    assert hit.fault.fault_id == "workload/invalid-device-ordinal"


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_file_of_any_shipper_is_read(name: str) -> None:
    (hit,) = hits_of(WRAPPERS[name](XID_79) + "\n")

    assert (hit.fault.fault_id, hit.fault.device) == ("xid/79", "0000:3b:00")


def test_what_logcli_prints_as_text_names_the_node() -> None:
    (hit,) = hits_of(WRAPPERS["logcli text"](XID_79))

    assert (hit.fault.node, hit.fault.uptime_us) == ("gpu-7", 538_441_007_373)


PACKERS = (gzip.compress, lzma.compress, bz2.compress)
Pack = Callable[[bytes], bytes]


@pytest.mark.parametrize("pack", PACKERS)
def test_a_packed_file_is_read_as_its_content(tmp_path: Path, pack: Pack) -> None:
    path = tmp_path / "kern.log.1"
    path.write_bytes(pack(f"{XID_79}\n".encode()))

    assert list(scan_file(str(path), io.BytesIO())) == hits_in(path.read_bytes()) == hits_of(XID_79)


@pytest.mark.parametrize("pack", PACKERS)
def test_packed_files_that_were_joined_are_read_to_the_end(pack: Pack) -> None:
    hits = hits_in(pack(f"{XID_48}\n".encode()) + pack(f"{XID_79}\n".encode()))

    assert [(hit.line_number, hit.fault.fault_id) for hit in hits] == [(1, "xid/48"), (2, "xid/79")]


@pytest.mark.parametrize("pack", PACKERS)
def test_a_packed_log_of_many_blocks_keeps_its_line_numbers(pack: Pack) -> None:
    quiet = "usb 1-1: new high-speed USB device\n" * 20_000

    hits = hits_in(pack(f"{quiet}{XID_79}\r\n{quiet}{XID_48}".encode()))

    assert [(hit.line_number, hit.fault.text) for hit in hits] == [
        (20_001, XID_79),
        (40_002, XID_48),
    ]


@pytest.mark.timeout(20)
def test_a_fault_in_a_pipe_shows_before_the_pipe_is_closed() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "wb", buffering=0) as writer:
        writer.write(f"{XID_48}\n{XID_79}\n".encode())

        hits = scan_file("-", reader)

        assert [next(hits).fault.fault_id, next(hits).fault.fault_id] == ["xid/48", "xid/79"]


def test_who_watches_a_file_is_told_how_far_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_bytes(b"\n" * 3 * BLOCK_BYTES)
    told: list[tuple[int, int]] = []

    assert list(scan_file(str(path), io.BytesIO(), lambda *news: told.append(news))) == []

    assert told[-1] == (3 * BLOCK_BYTES, 3 * BLOCK_BYTES)
    assert told == sorted(told)


def test_undecodable_bytes_do_no_harm() -> None:
    content = b"\xff\xfe\x00\n" + XID_79.encode() + b" \xff\n"

    (hit,) = hits_in(content)

    assert hit.line_number == 2
    json.loads(render_jsonl(hit))


def test_a_loki_answer_is_read_in_time_order() -> None:
    answer = {
        "status": "success",
        "data": {
            "resultType": "streams",
            "result": [
                {"stream": {"node": "b"}, "values": [["1795323600000000002", XID_79]]},
                {"stream": {"node": "a"}, "values": [["1795323600000000001", XID_48]]},
            ],
        },
    }

    hits = hits_of(json.dumps(answer))

    assert [(hit.fault.node, hit.fault.time_ns) for hit in hits] == [
        ("a", 1795323600000000001),
        ("b", 1795323600000000002),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"streams": [{"stream": {"node": "a"}, "values": [["1795323600000000001", XID_48]]}]},
        [
            {
                "line": XID_48,
                "timestamp": "1795323600000000001",
                "date": "x",
                "fields": {"node": "a"},
            }
        ],
        [{"labels": {"node": "a"}, "line": XID_48, "timestamp": 1795323600000000001}],
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_what_grafana_and_a_tail_export_is_read(answer: object, indent: int | None) -> None:
    (hit,) = hits_of(json.dumps(answer, indent=indent))

    assert (hit.fault.node, hit.fault.time_ns) == ("a", 1795323600000000001)


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    old, new = tmp_path / "kern.log.1.gz", tmp_path / "kern.log"
    old.write_bytes(gzip.compress(f"\n{XID_48}\n".encode()))
    new.write_text(f"{XID_79}\n")
    told: list[tuple[int, int]] = []

    hits = list(scan_files([str(old), str(new)], io.BytesIO(), lambda *news: told.append(news)))

    assert [(name, hit.line_number, hit.fault.fault_id) for name, hit in hits] == [
        (str(old), 2, "xid/48"), (str(new), 1, "xid/79"),
    ]  # fmt: skip
    size = old.stat().st_size + new.stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)
    assert json.loads(render_jsonl(hits[0][1], hits[0][0]))["file"] == str(old)


def test_one_file_is_not_named_at_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_text(XID_79)

    assert [name for name, _ in scan_files([str(path)], io.BytesIO())] == [""]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_loki_answer_with_sorted_keys_is_an_answer(mark: str) -> None:
    stream = {"stream": {"node": "gpu-7"}, "values": [["1764000000000000000", XID_79]]}
    answer = {"data": {"result": [stream], "resultType": "streams"}, "status": "success"}

    (hit,) = hits_of(mark + json.dumps(answer, sort_keys=True))
    assert hit.fault.fault_id == "xid/79"


@pytest.mark.parametrize(
    "answer",
    ['{"status":"success","data":3}', '{"status":"success"', '{"status": "success"}', '[{"a":1}]'],
)
def test_a_damaged_loki_answer_is_a_clear_error(answer: str) -> None:
    with pytest.raises(ConfigError, match="query_range"):
        hits_of(answer)


def test_a_file_that_asks_for_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = lzma.compress(f"{XID_79}\n".encode(), preset=9)
    monkeypatch.setattr(scan_packed, "XZ_MEMORY", 1 << 20)

    with pytest.raises(ConfigError, match="cannot read standard input"):
        hits_in(packed)


def test_zstd_is_named_with_the_way_around() -> None:
    with pytest.raises(ConfigError, match="zstd") as caught:
        hits_in(b"\x28\xb5\x2f\xfd\x04\x00")

    assert "zstd -dc" in caught.value.hint


def test_a_line_that_begins_like_bzip2_is_a_line() -> None:
    assert [hit.line_number for hit in hits_of(f"BZh is no level\n{XID_79}\n")] == [2]


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"x" * 5000, mtime=0)[:20],
        b"\x1f\x8bnonsense",
        lzma.compress(b"x" * 5000)[:-20],
        b"\xfd7zXZ\x00nonsense",
        lzma.compress(b"x") + b"nonsense",
        bz2.compress(b"x" * 5000)[:20],
        b"BZh9nonsense",
    ],
)
def test_a_damaged_packed_file_is_a_clear_error(content: bytes) -> None:
    with pytest.raises(ConfigError, match="standard input") as caught:
        hits_in(content)

    assert caught.value.hint


def test_what_was_read_before_the_damage_is_told() -> None:
    noise = "".join(f"{n * n * 7919:x}\n" for n in range(200_000))
    content = gzip.compress(f"{XID_48}\n{noise}".encode())
    hits = scan_file("-", io.BytesIO(content[: len(content) // 2]))

    assert next(hits).fault.fault_id == "xid/48"
    with pytest.raises(ConfigError, match="cannot read"):
        next(hits)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_what_a_damaged_file_has_before_the_damage_is_told(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    noise = "".join(f"{n * n * 7919:x}\n" for n in range(20_000))
    content = pack(f"{XID_48}\n{noise}".encode())
    file = tmp_path / "kern.log.gz"
    file.write_bytes(content[:-2000])
    hits = scan_file(str(file), io.BytesIO())

    assert next(hits).fault.fault_id == "xid/48"
    with pytest.raises(ConfigError, match="cannot read"):
        next(hits)


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    for name in ("a", "c"):
        (tmp_path / name).write_text(f"{XID_79}\n")
    paths = [str(tmp_path / name) for name in ("a", "b", "c", "d")]
    told: list[str] = []

    with pytest.raises(ConfigError) as caught:
        told.extend(Path(name).name for name, _ in scan_files(paths, io.BytesIO()))

    assert told == ["a", "c"]
    assert str(caught.value).count("cannot read") == 2
    assert "b: No such file" in str(caught.value)


def test_the_summary_of_what_could_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"{XID_79}\n")
    command = ["scan", "--output", "summary", str(tmp_path / "a"), str(tmp_path / "b")]
    result = CliRunner().invoke(app, command)

    assert "0000:3b:00: fatal" in result.stdout
    assert "not known: what is in the part that could not be read" in result.stdout
    assert isinstance(result.exception, ConfigError)


def test_nothing_read_is_not_told_as_nothing_found(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["scan", "--output", "summary", str(tmp_path / "b")])

    assert result.stdout == ""
    assert isinstance(result.exception, ConfigError)


def test_a_log_that_is_packed_twice_is_read() -> None:
    content = bz2.compress(gzip.compress(f"{XID_79}\n".encode()))

    assert [hit.fault.fault_id for hit in hits_in(content)] == ["xid/79"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x04\x22\x4d\x18 and more", "lz4"),
        (b"PK\x03\x04 and more", "zip"),
        (b"LPKSHHRH and more", "journalctl --file"),
        (f"{XID_79}\n".encode("utf-16"), "iconv"),
        (gzip.compress(b"LPKSHHRH and more", mtime=0), "journalctl --file"),
    ],
)
def test_a_form_in_which_nothing_would_be_found_is_an_error(content: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hits_in(content)

    assert said in str(caught.value) + caught.value.hint


def test_a_text_that_begins_with_a_mark_of_another_form_is_read() -> None:
    assert [hit.line_number for hit in hits_in(b"\xff\xfe\n" + XID_79.encode())] == [2]


@pytest.mark.parametrize("name", ["missing.log", ".", "nul\x00.log"])
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(scan_file(str(tmp_path / name), io.BytesIO()))

    assert "cannot read" in str(caught.value)
    assert caught.value.hint


def test_an_empty_file_has_no_faults() -> None:
    assert hits_in(b"") == []


def test_a_json_line_has_the_promised_keys() -> None:
    (hit,) = hits_of(journald(XID_79, SYSLOG_FACILITY="1"))

    assert json.loads(render_jsonl(hit)) == {
        "line_number": 1,
        "fault_id": "xid/79",
        "severity": "fatal",
        "remedy": "reboot",
        "device": "0000:3b:00",
        "node": "gpu-7",
        "time": "2026-11-22T05:00:00.123456Z",
        "uptime": "538441.007373",
        "injected": True,
        "count": 1,
        "detail": {},
        "text": XID_79,
    }


def test_an_unknown_time_is_null() -> None:
    (hit,) = hits_of(XID_79)

    assert json.loads(render_jsonl(hit))["time"] is None


def test_the_table_never_takes_a_log_line_for_markup() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    (hit,) = hits_of(f"{XID_79} [bold]x[/bold] [/]")

    render_table([("", hit)], console)

    shown = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert "[bold]x[/bold] [/]" in shown
    assert "0000:3b:00" in shown


BEGINNINGS = (
    b"", b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh9", b"__CURSOR=", b'{"status":"success"',
    b'{"streams":[', b'[{"line":"x","timestamp":', lzma.compress(b"x"), bz2.compress(b"x"),
    gzip.compress(b"x", mtime=0),
)  # fmt: skip


@given(st.sampled_from(BEGINNINGS), st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_content_is_read_or_a_clear_error(beginning: bytes, rest: bytes) -> None:
    hint = "x"
    try:
        hits_in(beginning + rest)
    except ConfigError as error:
        hint = error.hint

    assert hint


@pytest.mark.parametrize("stamp", ["Infinity", "1e400", '"x"', "null", "[]"])
def test_a_time_that_is_none_in_an_answer_is_a_clear_error(stamp: str) -> None:
    with pytest.raises(ConfigError):
        hits_of(f'[{{"line":"{XID_48}","timestamp":{stamp}}}]')


def test_several_files_on_the_command_line(tmp_path: Path) -> None:
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    old.write_text(f"{XID_48}\n")
    new.write_text(f"{XID_79}\n")

    table = CliRunner().invoke(app, ["scan", str(old), str(new)]).output
    both = CliRunner().invoke(app, ["scan", str(old), "-", "-o", "jsonl"], input=XID_79).output
    summary = CliRunner().invoke(app, ["scan", str(old), str(new), "-o", "summary"]).output

    assert f"{new}:1" in table
    assert [json.loads(line)["file"] for line in both.splitlines()] == [str(old), "-"]
    assert f"line {old}:1" in summary


def test_files_and_loki_at_once_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["scan", "--loki", str(tmp_path)])

    assert isinstance(done.exception, ConfigError)
