from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from konduktor_health.cli.scan import render_jsonl, render_summary, render_table, scan_file
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


def test_a_gzipped_file_is_read_as_its_content(tmp_path: Path) -> None:
    path = tmp_path / "kern.log.1"
    path.write_bytes(gzip.compress(f"{XID_79}\n".encode()))

    assert list(scan_file(str(path), io.BytesIO())) == hits_in(path.read_bytes()) == hits_of(XID_79)


def test_a_gzipped_log_of_many_blocks_keeps_its_line_numbers() -> None:
    quiet = "usb 1-1: new high-speed USB device\n" * 20_000

    hits = hits_in(gzip.compress(f"{quiet}{XID_79}\r\n{quiet}{XID_48}".encode()))

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
    "answer", ['{"status":"success","data":3}', '{"status":"success"', '{"status": "success"}']
)
def test_a_damaged_loki_answer_is_a_clear_error(answer: str) -> None:
    with pytest.raises(ConfigError, match="query_range"):
        hits_of(answer)


@pytest.mark.parametrize("content", [gzip.compress(b"x" * 5000, mtime=0)[:20], b"\x1f\x8bnonsense"])
def test_a_damaged_gzip_file_is_a_clear_error(content: bytes) -> None:
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


@pytest.mark.parametrize("name", ["missing.log", ".", "nul\x00.log"])
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(scan_file(str(tmp_path / name), io.BytesIO()))

    assert "cannot read" in str(caught.value)
    assert caught.value.hint


def test_an_empty_file_has_no_faults() -> None:
    assert hits_in(b"") == []
    assert render_summary([]) == "No faults found."


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

    render_table([hit], console)

    shown = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert "[bold]x[/bold] [/]" in shown
    assert "0000:3b:00" in shown


def test_the_summary_advises_by_the_worst_fault_of_each_device() -> None:
    hits = hits_of(
        f"{kmsg_json(XID_48)}\n{kmsg_json(XID_48)}\n"
        f"{kmsg_json(XID_48.replace('48, DBE', '31, x'))}\n{kmsg_json(XID_79)}\n"
    )

    assert render_summary(hits) == (
        "gpu-7 0000:3b:00: xid/79 x1\n  worst is fatal (xid/79): reboot the node.\n"
        "gpu-7 0000:af:00: xid/48 x2, xid/31 x1\n  worst is fatal (xid/48): reset the GPU."
    )


def test_the_drivers_directive_outranks_the_catalog_in_the_summary() -> None:
    directive = (
        "NVRM: Xid (PCI:0000:af:00): 154, GPU recovery action changed from 0x0 (None) to 0x2"
        " (Node Reboot Required)"
    )

    summary = render_summary(hits_of(f"{XID_48}\n{directive}\n"))

    assert "the driver says 'Node Reboot Required', so reboot the node." in summary
