"""Log lines as GPU nodes print them, and the wrappers that shippers put around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).parent / "data" / "loglines.tsv"

BOOT = "0123456789abcdef0123456789abcdef"
UPTIME_US = 538_441_007_373


@dataclass(frozen=True)
class Row:
    """One line of the collection: what it is (xid, sxid, other), its code or category, device."""

    line: str
    kind: str
    code: str
    pci: str


def rows() -> list[Row]:
    """The whole collection."""
    lines = _TABLE.read_text(encoding="utf-8").splitlines()[1:]
    return [Row(*line.split("\t")[:4]) for line in lines]


def kmsg_json(text: str, **changes: object) -> str:
    """A line of our own forwarder."""
    data: dict[str, object] = {
        "konduktor": "kmsg", "v": 1, "kind": "record", "boot_id": BOOT, "seq": 123,
        "uptime_us": UPTIME_US, "facility": 0, "priority": 4,
        "time": "2026-11-22T05:00:00.123456Z", "node": "gpu-7", "text": text,
    }  # fmt: skip
    return json.dumps(data | changes)


def journald(text: str | list[int], **changes: object) -> str:
    """A line of ``journalctl -o json`` for a kernel record."""
    data: dict[str, object] = {
        "_TRANSPORT": "kernel", "_BOOT_ID": BOOT, "_HOSTNAME": "gpu-7", "PRIORITY": "4",
        "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": text,
        "_SOURCE_MONOTONIC_TIMESTAMP": str(UPTIME_US),
        "__REALTIME_TIMESTAMP": "1795323600123456",
    }  # fmt: skip
    data |= changes
    return json.dumps({k: v for k, v in data.items() if v is not None}, separators=(",", ":"))


def otlp(text: str) -> str:
    """One log record of OTLP in JSON."""
    return json.dumps(
        {
            "timeUnixNano": "1795323600123456000",
            "body": {"stringValue": text},
            "attributes": [{"key": "k8s.node.name", "value": {"stringValue": "gpu-7"}}],
        }
    )


#: How a message of the kernel may reach us, by the name of the wrapper.
WRAPPERS: dict[str, Callable[[str], str]] = {
    "raw": lambda m: m,
    "dmesg": lambda m: f"[538441.007373] {m}",
    "dmesg padded": lambda m: f"[    5.000001] {m}",
    "dmesg whole seconds": lambda m: f"[123] {m}",
    "dmesg caller": lambda m: f"[538441.007373][  T896] {m}",
    "dmesg human": lambda m: f"[Sun Jun 29 19:20:26 2025] {m}",
    "dmesg delta": lambda m: f"[538441.007373 <    0.000012>] {m}",
    "dmesg reltime": lambda m: f"[Jun29 19:20] {m}",
    "dmesg colours": lambda m: (
        "\x1b[32m[538441.007373] \x1b[0m\x1b[33m" + m.replace(": ", ": \x1b[0m", 1) + "\x1b[0m"
    ),
    "two stamps": lambda m: f"[538441.007373] [  12.000001] {m}",
    "decode iso": lambda m: f"kern  :warn  : 2026-11-22T05:00:00,123456+00:00 {m}",
    "decode stamp": lambda m: f"kern  :warn  : [538441.007373] {m}",
    "kmsg": lambda m: f"4,123,538441007373,-;{m}",
    "kmsg caller": lambda m: f"4,123,538441007373,-,caller=T896;{m}",
    "priority": lambda m: f"<4>[538441.007373] {m}",
    "syslog": lambda m: f"Jun 29 19:20:26 gpu-7 kernel: [538441.007373] {m}",
    "syslog priority": lambda m: f"<4>Jun  9 19:20:26 gpu-7 kernel: {m}",
    "syslog iso": lambda m: f"2026-11-22T05:00:00.123456+00:00 gpu-7 kernel: [538441.007373] {m}",
    "syslog 5424": lambda m: f"<4>1 2026-11-22T05:00:00.123456Z gpu-7 kernel - - - {m}",
    "dmesg human caller": lambda m: f"[Sun Jun 29 19:20:26 2025] [  T896] {m}",
    "journal precise": lambda m: f"Jun 29 19:20:26.123456 gpu-7 kernel: {m}",
    "journal full": lambda m: f"Sun 2026-11-22 05:00:00 UTC gpu-7 kernel: {m}",
    "journal full, local": lambda m: f"Sun 2026-11-22 05:00:00.123456 CEST gpu-7 kernel: {m}",
    "journal unix": lambda m: f"1795323600.123456 gpu-7 kernel: {m}",
    "journal monotonic": lambda m: f"[538441.007373] gpu-7 kernel: {m}",
    "journal delta": lambda m: f"[538441.007373 <    0.000012 >] gpu-7.lab kernel: {m}",
    "kernel tag": lambda m: f"kernel: [538441.007373] {m}",
    "repeated": lambda m: (
        f"Jun 29 19:20:26 gpu-7 kernel: message repeated 3 times: [ [538441.007373] {m}]"
    ),
    "cri": lambda m: f"2026-11-22T05:00:00.123456789Z stdout F [538441.007373] {m}",
    "cri cr": lambda m: f"2026-11-22T05:00:00.123456789Z stderr F {m}\r",
    "docker": lambda m: json.dumps(
        {"log": f"[538441.007373] {m}\n", "stream": "stdout", "time": "2026-11-22T05:00:00Z"}
    ),
    "kmsg json": kmsg_json,
    "cri kmsg json": lambda m: f"2026-11-22T05:00:00.123456789Z stdout F {kmsg_json(m)}",
    "docker kmsg json": lambda m: json.dumps({"log": kmsg_json(m) + "\n", "stream": "stdout"}),
    "journald": journald,
    "otlp": otlp,
    "otlp dmesg": lambda m: otlp(f"[538441.007373] {m}"),
    "otlp journald": lambda m: json.dumps({"body": json.loads(journald(m))}),
    "otlp batch": lambda m: json.dumps(
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [json.loads(otlp(m))]}]}]}
    ),
    "logcli": lambda m: json.dumps(
        {"labels": {"k8s_node_name": "gpu-7"}, "line": m, "timestamp": "2026-11-22T05:00:00Z"}
    ),
    "logcli text": lambda m: (
        f'2026-11-22T05:00:00Z {{job="k\\"n", k8s_node_name="gpu-7"}}   [538441.007373] {m}'
    ),
    "promtail pack": lambda m: json.dumps({"_entry": m, "node_name": "gpu-7"}),
}


def _compact(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


#: The same JSON without blanks, as shippers print it, and fields as they come now and then.
COMPACT: dict[str, Callable[[str], str]] = {
    "docker, compact": lambda m: _compact(
        log=f"[538441.007373] {m}\n", stream="stderr", time="2026-11-22T05:00:00.5+01:30"
    ),
    "docker, compact, no stamp": lambda m: _compact(
        log=f"{m}\n", stream="stdout", time="2026-13-22T05:00:00Z"
    ),
    "forwarder": lambda m: _compact(**json.loads(kmsg_json(m))),
    "forwarder, a program's record": lambda m: _compact(**json.loads(kmsg_json(m, facility=1))),
    "forwarder, few fields": lambda m: _compact(
        konduktor="kmsg", v=1, kind="record", uptime_us=0, facility=0, text=m
    ),
    "forwarder, odd boot id": lambda m: _compact(**json.loads(kmsg_json(m, boot_id="A-" * 30))),
    "forwarder, stamp inside": lambda m: _compact(**json.loads(kmsg_json(f"[538441.007373] {m}"))),
    "journald, odd host": lambda m: journald(m, _HOSTNAME="g\u00e9 \u202e\ud800\\x0a 7 "),
    "journald, host with a blank": lambda m: journald(m, _HOSTNAME=" gpu-7"),
    "journald, a letter in the host": lambda m: journald(m, _HOSTNAME="g\u00e9"),
    "journald, a character of no print in the host": lambda m: journald(m, _HOSTNAME="g\u202e7"),
    "journald, bytes beside": lambda m: _compact(MESSAGE=m, x={"MESSAGE": [1]}),
    "journald, a program": lambda m: journald(m, _TRANSPORT="syslog"),
    "journald, facility of a program": lambda m: journald(m, SYSLOG_FACILITY="3"),
    "journald, no uptime": lambda m: journald(
        f"[538441.007373] {m}", _SOURCE_MONOTONIC_TIMESTAMP=None
    ),
}
