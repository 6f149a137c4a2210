from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from konduktor_health.cli.app import app
from konduktor_health.cli.inject import (
    TEXT_LIMIT,
    build_line,
    loki_entry,
    node_command,
    normal_pci,
    write_local,
)
from konduktor_health.errors import ConfigError
from konduktor_health.sandbox.loki import LokiServer
from probes.kmsg.hostclock import PrintkClock
from probes.kmsg.output import LineFormat
from probes.kmsg.record import KernelRecord
from tests.support.kmsg import BOOT_ID, BOOT_NS, FakeClocks

NOW = BOOT_NS + 20 * 10**9


def test_the_default_is_a_gpu_that_fell_off_the_bus() -> None:
    assert build_line() == (
        "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, "
        "GPU has fallen off the bus."
    )


@given(st.integers(1, 999))
def test_every_code_gives_one_line_that_may_be_injected(xid: int) -> None:
    line = build_line(xid, "0000:af:00")

    assert line.startswith(f"NVRM: Xid (PCI:0000:af:00): {xid}, ")
    assert build_line(line=line) == line


@pytest.mark.parametrize(
    ("given_address", "expected"),
    [
        ("0000:3b:00", "0000:3b:00"),
        ("3B:00.0", "0000:3b:00"),
        ("00000000:AF:00.0", "0000:af:00"),
        ("PCI:000d:00:1f", "000d:00:1f"),
        ("10000:e1:00.0", "10000:e1:00"),
    ],
)
def test_an_address_is_written_one_way(given_address: str, expected: str) -> None:
    assert normal_pci(given_address) == expected


@pytest.mark.parametrize("address", ["", "3b", "0000:3b:00:1", "0000:3b:20", "x:3b:00", "3b:00\n)"])
def test_what_is_no_address_is_refused_with_a_hint(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_line(79, address)
    assert "0000:3b:00" in refused.value.hint


@pytest.mark.parametrize("xid", [0, -1, 1000])
def test_what_is_no_code_is_refused(xid: int) -> None:
    with pytest.raises(ConfigError):
        build_line(xid)


@given(st.text(max_size=TEXT_LIMIT + 200))
def test_only_one_short_printable_line_is_ever_injected(text: str) -> None:
    may_be = bool(text.strip()) and text.isprintable() and len(text.encode()) <= TEXT_LIMIT
    if may_be:
        assert build_line(line=text) == text
    else:
        with pytest.raises(ConfigError):
            build_line(line=text)


def test_the_whole_line_goes_into_one_write_with_its_end(tmp_path: Path) -> None:
    device = tmp_path / "kmsg"
    device.touch()
    write_local("NVRM: hello", str(device))

    assert device.read_text() == "<4>NVRM: hello\n"


def test_a_kernel_log_that_cannot_be_written_is_told_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        write_local("NVRM: hello", str(tmp_path / "none"))
    with pytest.raises(ConfigError) as directory:
        write_local("NVRM: hello", str(tmp_path))

    assert "--loki" in missing.value.hint
    assert "--loki" in directory.value.hint


def test_the_text_is_an_argument_and_never_part_of_the_script() -> None:
    text = "'; $(reboot) `reboot` \" %s \\n"
    command = node_command(text)

    assert command.argv[-1] == "<4>" + text
    assert "reboot" not in "".join(command.argv[:-1])


def test_a_line_for_loki_looks_like_the_dmesg_shippers() -> None:
    entry = loki_entry("NVRM: hello", "node-a", NOW, uptime_us=20_000_005)

    assert entry.line == "[   20.000005] NVRM: hello"
    assert entry.labels["k8s_daemonset_name"] == "dmesg"
    assert entry.labels["k8s_namespace_name"] == "dmesg-logging"
    assert entry.metadata == {"k8s_node_name": "node-a"}
    assert entry.time_ns == NOW


def test_a_line_of_unknown_uptime_has_no_stamp() -> None:
    """A made-up one would make later real faults of the node look like history."""
    entry = loki_entry("NVRM: hello", "node-a", NOW, uptime_us=None)

    assert entry.line == "NVRM: hello"


def test_a_kmsg_line_for_loki_is_one_of_the_forwarders() -> None:
    clocks = FakeClocks()
    lines = LineFormat(BOOT_ID, "node-a", PrintkClock(clocks))
    uptime_us = 20_000_000
    forwarded = lines.record(KernelRecord(uptime_us, uptime_us, 1, 4, "NVRM: hello"))

    entry = loki_entry(
        "NVRM: hello", "node-a", NOW, uptime_us=uptime_us, boot_id=BOOT_ID, style="kmsg"
    )

    assert entry.line == forwarded.text
    assert entry.labels == {"job": "konduktor-kmsg", "node": "node-a"}
    assert json.loads(entry.line)["facility"] == 1


def test_a_pushed_fault_carries_the_cluster_that_the_controller_reads() -> None:
    loki = LokiServer()
    loki.start()
    try:
        wanted = ["inject", "--loki", "--node", "n1", "--yes", "--log-endpoint", loki.url]
        ended = CliRunner().invoke(app, wanted, env={"KONDUKTOR_HEALTH_READING__CLUSTER": "east"})
        answer = requests.get(f"{loki.url}/loki/api/v1/label/cluster/values", timeout=5).json()
    finally:
        loki.stop()

    assert ended.exit_code == 0, ended.output
    assert answer["data"] == ["east"]
