"""Do closed, full and narrow streams give one line instead of a traceback?"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, café, GPU has fallen off the bus."
COMMAND = f"{sys.executable} -m konduktor_health"


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=30, env=environ
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "kern.log"
    path.write_text(XID_79 + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("output", ["table", "jsonl"])
def test_a_full_disk_is_one_line(log: Path, output: str) -> None:
    ended = shell(f"{COMMAND} scan {log} -o {output} > /dev/full")

    assert ended.returncode == 1
    assert ended.stderr == "error: [Errno 28] No space left on device\n"


def test_closed_output_goes_nowhere(log: Path) -> None:
    ended = shell(f"{COMMAND} scan {log} -o jsonl >&-")

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("output", ["jsonl", "summary"])
def test_a_large_file_shows_a_bar_where_somebody_looks(tmp_path: Path, output: str) -> None:
    path = tmp_path / "large.log"
    path.write_bytes((b"x" * 1023 + b"\n") * 70_000 + XID_79.encode())
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        ended = subprocess.run(
            [*COMMAND.split(), "scan", str(path), "-o", output],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            timeout=30,
            env={"TERM": "xterm"},
        )
        shown = screen.read(100_000).decode(errors="replace")  # it may be cut in a character
        os.close(theirs)

    assert ended.returncode == 0
    assert "xid/79" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "MiB" in shown


def test_the_summary_begins_where_the_bar_was(tmp_path: Path) -> None:
    path = tmp_path / "large.log"
    path.write_bytes((b"x" * 1023 + b"\n") * 70_000 + XID_79.encode())
    ours, theirs = pty.openpty()
    command = [*COMMAND.split(), "scan", str(path), "-o", "summary"]
    with open(ours, "rb", buffering=0) as screen:
        ended = subprocess.run(
            command, stdout=theirs, stderr=theirs, timeout=30, env={"TERM": "xterm"}
        )
        shown = screen.read(100_000).decode(errors="replace")
        os.close(theirs)

    assert ended.returncode == 0
    bar, _, summary = shown.rpartition("\x1b[2K")
    assert "MiB" in bar
    assert summary.startswith("1 device with faults")


def test_no_bar_goes_into_a_file(log: Path) -> None:
    ended = shell(f"{COMMAND} scan {log} -o jsonl")

    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 1


def test_closed_input_is_no_empty_log() -> None:
    ended = shell(f"{COMMAND} scan <&-")

    assert ended.returncode == 2
    assert ended.stderr.startswith("error: standard input is closed\n")


def test_an_output_that_knows_ascii_only_still_shows_the_fault(log: Path) -> None:
    ended = shell(f"{COMMAND} scan {log}", PYTHONIOENCODING="ascii")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "caf\\xe9" in ended.stdout


def test_a_question_that_nobody_can_answer_is_a_no() -> None:
    ended = shell(f"{COMMAND} inject --local < /dev/null")

    assert ended.returncode == 2
    assert "hint: --yes skips the question" in ended.stderr


def test_a_dry_run_ends_when_nobody_reads_its_plan() -> None:
    from konduktor_health.sandbox.cluster import Sandbox

    sandbox = Sandbox(nodes=8)
    try:
        sandbox.start()
        run = f"timeout 20 {COMMAND} run --dry-run --poll-interval 0.1 --http-port 0"
        ended = subprocess.Popen(
            f"({run}; echo $? >&2) | head -c 1",
            shell=True,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"KUBECONFIG": str(sandbox.kubeconfig), "LOG_ENDPOINT": sandbox.loki.url},
        )
        code = 30
        while ended.poll() is None:  # it notices when it next has something to print
            code += 1
            for name in sandbox.names():
                sandbox.log(name, XID_79.replace(": 79", f": {code}"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                ended.wait(0.3)
        _, stderr = ended.communicate(timeout=5)
    finally:
        sandbox.stop()

    assert "Broken" not in stderr
    assert stderr.splitlines()[-1] == "0"
