"""Rules files on the command line: ``policy check``, ``scan --rules``, the setting, the guide."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import cli

GUIDE = Path(__file__).parents[3] / "docs/guides/write-your-own-rules.md"
FAN = "acme_chassis 0000:3b:00.0: tray4: fan 2 stopped"
XID_43 = "NVRM: Xid (PCI:0000:3b:00): 43, pid=1, name=python3, Ch 00000010"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.S | re.M)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The example of the guide."""
    path = tmp_path / "rules.yaml"
    path.write_text(blocks("yaml")[0])
    return path


def scanned(text: str, *args: str, **more: Any) -> list[tuple[str, str, str]]:
    done = cli("scan", "-", "-o", "jsonl", *args, stdin=text, **more)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    return [(row["fault_id"], row["severity"], row["remedy"]) for row in rows]


def test_the_example_of_the_guide_is_right_and_what_it_changes_is_told(rules: Path) -> None:
    done = cli("policy", "check", str(rules))
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        f"{rules}: right",
        "adds kernel/acme-fan-stopped: degraded, inspect, accuses node; has 'acme_chassis'",
        "adds workload/acme-loader: application, none, accuses nobody; has 'is unreadable'",
        "overrides xid/43: application -> fatal, none -> reset_gpu",
        "overrides kernel/hung-task:",
        "another meaning",
        "texts of kernel lines",
    ):
        assert text in done.stdout


def test_the_mistake_of_the_guide_is_told_as_it_says(rules: Path) -> None:
    rules.write_text(rules.read_text().replace("severity: degraded", "severity: urgent"))
    done = cli("policy", "check", str(rules))
    assert done.returncode == 2
    assert done.stdout == ""
    for line in blocks("text")[0].splitlines():
        assert line in done.stderr.replace(str(rules), rules.name), line
    assert f"error: 1 problem in {rules}\n" in done.stderr


def test_several_files_are_judged_each_by_itself_and_as_json(rules: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nkernel: [{fault_id: kernel/ok-name}, {}]\n")
    done = cli("policy", "check", str(rules), str(wrong), "--output", "json")
    assert done.returncode == 2
    right, other = json.loads(done.stdout)["files"]
    assert (right["ok"], right["problems"]) == (True, [])
    assert {"kind": "overrides", "fault_id": "xid/43"}.items() <= right["changes"][2].items()
    assert right["texts_asked"]["kernel"] == right["texts_asked"]["kernel_shipped"] + 1
    assert not other["ok"]
    assert {
        "line": 2,
        "column": 10,
        "field": "kernel[0].meaning",
        "message": "missing",
    }.items() <= (next(p for p in other["problems"] if p["field"] == "kernel[0].meaning").items())


def test_a_file_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    done = cli("policy", "check", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: file {tmp_path}/none.yaml: No such file")
    assert "Traceback" not in done.stderr


def test_scan_reads_a_log_with_the_rules_of_a_file_or_of_the_settings(
    rules: Path, tmp_path: Path
) -> None:
    text = f"{FAN}\n{XID_43}\n[rank 3] acme loader: shard 17 is unreadable\n"
    expected = [
        ("kernel/acme-fan-stopped", "degraded", "inspect"),
        ("xid/43", "fatal", "reset_gpu"),
        ("workload/acme-loader", "application", "none"),
    ]
    assert scanned(text, "--rules", str(rules)) == expected
    config = tmp_path / "settings.yaml"
    config.write_text(f"rules_file: {rules}\n")
    assert scanned(text, "--config", str(config)) == expected
    assert scanned(text, environ={"KONDUKTOR_HEALTH_RULES_FILE": str(rules)}) == expected
    assert [row[1] for row in scanned(text)] == ["application"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (("kernel/acme-fan-stopped",), ["A fan of the chassis stopped", "chassis-7", "degraded"]),
        (("xid", "43"), ["fatal", "reset_gpu", "overrides it; shipped: application, none."]),
        (("kernel/hung-task",), ["the parallel file system is stuck"]),
        (("xid", "79"), ["fatal"]),
    ],
)
def test_explain_says_what_a_fault_is_at_this_site(
    rules: Path, fault: tuple[str, ...], told: list[str]
) -> None:
    done = cli("explain", *fault, "--rules", str(rules))
    assert done.returncode == 0, done.stderr
    for text in told:
        assert text in done.stdout
    environ = {"KONDUKTOR_HEALTH_RULES_FILE": str(rules)}
    assert cli("explain", *fault, environ=environ).stdout == done.stdout


@pytest.mark.parametrize("command", [("scan", "-"), ("run", "--once", "--dry-run")])
def test_a_wrong_file_ends_a_command_with_its_first_problems(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("version: 1\nkernel: {}\n")
    done = cli(*command, environ={"KONDUKTOR_HEALTH_RULES_FILE": str(path)})
    assert done.returncode == 2
    assert f"rules file {path}: 2:9: kernel: a mapping, not a list of rules" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_text_of_a_file_reaches_the_terminal_raw(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        'version: 1\n"\\e[31mred": 1\nentries: {"xid/\\u202e9": {severity: "\\e[0m"}}\n'
    )
    done = cli("policy", "check", str(path))
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
