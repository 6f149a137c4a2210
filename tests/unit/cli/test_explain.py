"""Does ``konduktor-health explain`` print what the catalog knows?"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from konduktor_health.cli.explain import as_json, find, is_node, render
from konduktor_health.errors import ConfigError
from parsers import catalog

EVERY = [*catalog.xids().values(), *catalog.sxids().values(), *catalog.uncoded().values()]


def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "konduktor_health", "explain", *arguments],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def shown(fault_id: str, width: int = 100) -> str:
    entry = catalog.entry(fault_id)
    assert entry is not None
    stream = io.StringIO()
    render(entry, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("arguments", "fault_id"),
    [
        (("xid", "79"), "xid/79"),
        (("XID", " 079"), "xid/79"),
        (("xid/79",), "xid/79"),
        (("sxid", "12028"), "sxid/12028"),
        (("sxid/12028",), "sxid/12028"),
        (("kernel/gpu-lost",), "kernel/gpu-lost"),
        (("workload/invalid-device-ordinal",), "workload/invalid-device-ordinal"),
        (("kernel/xfs-shutdown",), "kernel/xfs-shutdown"),
        (("kernel/pcie-aer-corrected",), "kernel/pcie-aer-corrected"),
    ],
)
def test_a_fault_is_named_by_kind_and_code_or_by_its_id(
    arguments: tuple[str, ...], fault_id: str
) -> None:
    assert find(*arguments).fault_id == fault_id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("xid", "999"), "the catalog has no xid/999"),
        (("sxid", "79"), "the catalog has no sxid/79"),
        (("xid/12028",), "the catalog has no xid/12028"),
        (("kernel/odd",), "the catalog has no kernel/odd"),
        (("xid",), "xid: not a code: ''"),
        (("xid", "x9"), "xid: not a code: 'x9'"),
        (("xid", "9" * 400), "xid: not a code"),
        (("xid", "²"), "xid: not a code"),
        (("79",), "not a fault: '79'"),
        (("gpu-7",), "not a fault: 'gpu-7'"),
        (("xid/79", "80"), "not a fault: 'xid/79 80'"),
    ],
)
def test_what_the_catalog_does_not_have_is_one_clear_error(
    arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        find(*arguments)

    assert str(raised.value).startswith(message)
    assert raised.value.hint
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("arguments", "node"),
    [
        (("gpu-7",), True),
        ((" ip-10-0-0-1.internal ",), True),
        (("xid-79",), True),
        (("79",), False),  # more likely a code without its kind than a node's name
        (("xid",), False),
        (("XID", "79"), False),
        (("gpu-7", "79"), False),
        (("kernel/odd",), False),
        (("",), False),
    ],
)
def test_a_single_word_that_is_no_fault_is_a_nodes_name(
    arguments: tuple[str, ...], node: bool
) -> None:
    assert is_node(*arguments) is node


def test_the_command_prints_the_entry() -> None:
    done = explain("xid", "79")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("xid/79  GPU_HAS_FALLEN_OFF_THE_BUS\n")
    for line in ("severity     fatal", "remedy       reboot", "counts with  kernel/gpu-lost"):
        assert f"\n{line}\n" in done.stdout


def test_an_unknown_code_ends_with_2() -> None:
    done = explain("sxid", "1")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the catalog has no sxid/1\nhint: it has 420 sxid codes")


def test_json_is_one_object_with_what_is_known() -> None:
    done = explain("xid/154", "--output", "json")

    assert (done.returncode, done.stderr) == (0, "")
    entry: dict[str, Any] = json.loads(done.stdout)
    assert (entry["fault_id"], entry["severity"], entry["class"]) == (
        "xid/154", "degraded", "directive",
    )  # fmt: skip
    assert entry["values"][2] == {
        "value": "2 (Node Reboot Required)", "asks": "fatal, reboot: reboot the node",
    }  # fmt: skip
    assert {"kind": "follows", "fault_id": "xid/79"} in entry["relations"]
    assert "guide" not in entry


@pytest.mark.parametrize("width", [40, 100, 200])
def test_every_entry_can_be_shown(width: int) -> None:
    for entry in EVERY:
        text = shown(entry.fault_id, width)

        assert text.startswith(f"{entry.fault_id}  {entry.mnemonic}\n")
        assert all(line == line.rstrip() for line in text.splitlines())
        for example in (*entry.examples, *entry.counter_examples):
            assert example in text  # whole: it can be copied
        assert json.loads(json.dumps(as_json(entry)))["fault_id"] == entry.fault_id


def test_where_the_line_decides_its_values_are_listed() -> None:
    assert "register 4 bit 18: secondary; the fabric has to be reset" in shown("xid/74")
    assert "RLW_RXPIPE status bit 0x1: ignore; with the promoting bit: reset" in shown("xid/145")
    assert (
        "NETIR_LINK_EVT/NETIR_LINK_DOWN sub-reason 100001: reset the GPU; the fault is on the"
        in (shown("xid/149", 200))
    )
    assert shown("xid/150").count("reset the GPU; ask the vendor") == 2


def test_a_switchs_entry_says_what_the_guide_and_the_driver_say() -> None:
    text = shown("sxid/12020")

    assert "guide      always-fatal\n" in text
    assert "prints Fatal when the error is contained, else Non-fatal\n" in text
    assert "does not print this code" in shown("sxid/12003")


def test_a_rules_entry_says_whom_it_accuses_and_what_may_make_it_wrong() -> None:
    text = shown("kernel/xfs-shutdown")

    assert "accuses   the node that printed it\n" in text
    assert "doubt     a volume that the cloud attaches" in text
    assert "not the node that printed it" in shown("workload/nccl-peer-error", 200)
    assert "a program: it never acts" in shown("kernel/gpu-reset-done")
    assert "gives no fault" in shown("kernel/oom-invoked", 200)
    assert "cleared by  kernel/cpu-cooled" in shown("kernel/cpu-hot")


def test_a_misspelt_fault_id_is_answered_with_the_likeliest() -> None:
    done = explain("kernel/xfs-shutdwn")

    assert (done.returncode, done.stdout) == (2, "")
    known = len(catalog.uncoded())
    assert (
        f"hint: did you mean kernel/xfs-shutdown? it has {known} faults without a code"
        in done.stderr
    )
