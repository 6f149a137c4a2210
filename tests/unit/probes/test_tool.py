from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from probes.errors import CheckError, ToolMissing, ToolTimeout
from probes.processes.seen import Processes
from probes.tools.run import DEFAULT_PATH, OUTPUT_LIMIT, ProgramTool


@pytest.fixture
def tool() -> ProgramTool:
    return ProgramTool(os.environ)


def script(folder: Path, text: str, name: str = "program") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_output_exit_code_and_input(tool: ProgramTool) -> None:
    said = tool(("sh", "-c", "cat; echo oops >&2; exit 3"), deadline_s=10, input_text="é\n" * 9999)

    assert (said.returncode, said.stdout, said.stderr) == (3, "é\n" * 9999, "oops\n")


def test_a_signal_is_a_negative_code(tool: ProgramTool) -> None:
    assert tool(("sh", "-c", "kill -11 $$"), deadline_s=10).returncode == -11


def test_input_that_nobody_reads_is_no_matter(tool: ProgramTool) -> None:
    said = tool(("sh", "-c", "exec <&-; echo done"), deadline_s=10, input_text="x" * 1_000_000)

    assert (said.returncode, said.stdout) == (0, "done\n")


def test_bytes_that_are_no_text_are_marked(tool: ProgramTool) -> None:
    assert tool(("printf", r"a\377b"), deadline_s=10).stdout == "a\ufffdb"


def test_the_locale_is_c_and_the_rest_of_the_environment_is_passed_on() -> None:
    tool = ProgramTool({"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de", "NCCL_DEBUG": "WARN"})

    said = tool(("env",), deadline_s=10).stdout.split()
    assert {"LC_ALL=C", "NCCL_DEBUG=WARN", f"PATH={DEFAULT_PATH}"} <= set(said)
    assert not [line for line in said if line.startswith("LANGUAGE")]


def test_output_is_cut_and_the_program_goes_on(tool: ProgramTool) -> None:
    program = "import sys; sys.stdout.write('x' * 20_000_000); sys.stderr.write('end')"
    said = tool((sys.executable, "-c", program), deadline_s=60)

    assert len(said.stdout) == OUTPUT_LIMIT
    assert (said.returncode, said.stderr) == (0, "end")


def test_a_missing_program_says_where_it_was_looked_for(tmp_path: Path) -> None:
    tool = ProgramTool({"PATH": str(tmp_path)})
    with pytest.raises(ToolMissing, match=f"no program dcgmi in {tmp_path}"):
        tool(("dcgmi", "diag"), deadline_s=1)
    with pytest.raises(ToolMissing, match=r"no program /opt/none/dcgmi$"):
        tool(("/opt/none/dcgmi",), deadline_s=1)


def test_a_program_is_found_in_path(tmp_path: Path) -> None:
    script(tmp_path, "echo mine", "dcgmi")

    tool = ProgramTool({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert tool(("dcgmi",), deadline_s=10).stdout == "mine\n"


def test_what_cannot_be_started_is_an_error(tmp_path: Path, tool: ProgramTool) -> None:
    path = tmp_path / "broken"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)

    with pytest.raises(CheckError, match="cannot be started"):
        tool((str(path),), deadline_s=1)
    with pytest.raises(CheckError, match="cannot be started"):
        tool(("sh", "-c", "a\0b"), deadline_s=1)


def test_a_late_program_is_ended_with_what_it_started_and_what_it_said_is_told(
    tmp_path: Path, tool: ProgramTool
) -> None:
    pids = tmp_path / "pids"
    program = script(
        tmp_path, f"sleep 600 & echo $$ $! >{pids}; echo 'Initialising GPU 3' >&2; wait"
    )
    with pytest.raises(ToolTimeout, match=r"did not end within 1 s; it said: Initialising GPU 3$"):
        tool((program,), deadline_s=1)

    table = Processes()
    ids = [table.identify(int(pid)) for pid in pids.read_text().split()]
    assert not [each for each in ids if each is not None and table.alive(each)]


def test_a_descendant_that_holds_the_pipes_is_not_waited_for(
    tmp_path: Path, tool: ProgramTool
) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    said = tool(("sh", "-c", f"sleep 60 & echo $! >{pid}; echo done"), deadline_s=50)
    took = time.monotonic() - began
    os.kill(int(pid.read_text()), 9)

    assert said.stdout == "done\n"
    assert took < 40


def test_a_program_that_closes_its_output_is_waited_for(tool: ProgramTool) -> None:
    said = tool(("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 5"), deadline_s=10)

    assert said.returncode == 5
