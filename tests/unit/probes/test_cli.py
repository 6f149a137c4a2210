from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import probes
from probes.cli import main
from probes.kmsg.command import KmsgOptions, PushOptions, StderrLog, run
from tests.support.push_server import PushServer


@pytest.fixture
def boot_id(tmp_path: Path) -> str:
    path = tmp_path / "boot_id"
    path.write_text("FC4F71DC-9488-48f1-a7c5-95d4d9a7e4a6\n")
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["kmsg", "--no-such-option"],
        ["kmsg", "--push", "loki:3100"],
        ["kmsg", "--no-stdout"],
        ["kmsg", "--heartbeat", "0"],
        ["kmsg", "--node", "a b"],
        ["kmsg", "--push", "http://x", "--label", "no-value"],
        ["kmsg", "--push", "http://x", "--no-push"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_what(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOKI_PUSH_URL", raising=False)
    monkeypatch.delenv("LOG_ENDPOINT", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kmsg", "--help"])

    assert ended.value.code == 0
    assert "exit codes: 0" in capsys.readouterr().out


def test_a_device_that_cannot_be_opened_ends_with_1_and_one_line(
    tmp_path: Path, boot_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(KmsgOptions("node-a", device=str(tmp_path / "none"), boot_id_path=boot_id))
    assert code == 1
    [line] = capfd.readouterr().err.splitlines()
    assert "No such file" in line

    assert run(KmsgOptions("node-a", device=boot_id, boot_id_path=boot_id)) == 1
    assert run(KmsgOptions("node-a", boot_id_path=str(tmp_path / "none"))) == 1


def test_privileges_that_cannot_be_dropped_end_it_with_1_and_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: object())
    assert main(["kmsg", "--drop-privileges"]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("konduktor-probe kmsg: --drop-privileges: ")


def test_once_prints_and_pushes_what_the_log_holds(
    tmp_path: Path, boot_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    device = str(tmp_path / "kmsg")
    os.mkfifo(device)
    keeper = os.open(device, os.O_RDWR)
    os.write(keeper, b"4,7,5000000,-;NVRM: hello\n")
    with PushServer() as server:
        push = PushOptions(server.url, labels={"cluster": "east"})
        options = KmsgOptions("node-a", device=device, once=True, boot_id_path=boot_id, push=push)
        code = run(options)
        pushed = server.lines()
        labels = server.pushes[0].labels
    os.close(keeper)

    assert code == 0
    assert capfd.readouterr().out.splitlines() == pushed
    [line] = [json.loads(text) for text in pushed]
    assert (line["seq"], line["text"]) == (7, "NVRM: hello")
    assert line["boot_id"] == "fc4f71dc948848f1a7c595d4d9a7e4a6"
    assert labels == {"job": "konduktor-kmsg", "node": "node-a", "cluster": "east"}


def test_the_command_runs_without_any_installed_package() -> None:
    root = Path(probes.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-S", "-I", "-c", _IMPORT_ALL, str(root)],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode == 0, result.stderr


_IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import probes.cli, probes.kmsg
for module in pkgutil.iter_modules(probes.kmsg.__path__):
    importlib.import_module(f"probes.kmsg.{module.name}")
assert "konduktor_health" not in sys.modules
"""


def test_the_same_complaint_is_printed_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    log = StderrLog()
    log("push failed: 1")
    log("push failed: 2")
    log("missed 3 kernel records: overwritten")

    assert capsys.readouterr().err.splitlines() == [
        "konduktor-probe kmsg: push failed: 1",
        "konduktor-probe kmsg: missed 3 kernel records: overwritten",
    ]


@pytest.mark.parametrize(("where", "code"), [("/dev/full", 1), ("/dev/null", 0), ("&-", 1)])
def test_output_that_cannot_be_written_is_a_failure(tmp_path: Path, where: str, code: int) -> None:
    device = tmp_path / "kmsg"
    os.mkfifo(device)
    keeper = os.open(device, os.O_RDWR)
    os.write(keeper, b"4,7,5000000,-;NVRM: hello\n")
    ended = subprocess.run(
        f"{sys.executable} -m probes.cli kmsg --once --device {device} --node a >{where}",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    os.close(keeper)

    assert ended.returncode == code
    assert len(ended.stderr.splitlines()) == code  # one line says why


@pytest.mark.parametrize("number", ["abc", "nan", "inf", "1e308", "-1"])
def test_a_number_that_makes_no_sense_is_wrong_usage(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kmsg", "--buffer-mib", number, "--push", "http://127.0.0.1:1"])

    assert ended.value.code == 2
    assert "a number above 0 is expected" in capsys.readouterr().err
