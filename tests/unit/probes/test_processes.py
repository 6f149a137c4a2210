from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from probes.processes.ending import end_all
from probes.processes.seen import Processes, ProcessId


class Table:
    """A /proc of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, pid: int, parent: int, state: str = "S", name: str = "x", tasks: int = 1) -> None:
        process = self.folder / str(pid)
        (process / "task").mkdir(parents=True, exist_ok=True)
        for number in range(tasks):
            (process / "task" / str(pid + number)).mkdir(exist_ok=True)
        fields = [state, str(parent), *["0"] * 17, str(1000 + pid), "0"]
        (process / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")

    def environ(self, pid: int, **variables: str) -> None:
        content = b"".join(f"{k}={v}\0".encode() for k, v in variables.items())
        (self.folder / str(pid) / "environ").write_bytes(content)

    @property
    def processes(self) -> Processes:
        return Processes(str(self.folder))


def test_a_name_with_brackets_and_blanks_does_not_hide_the_fields(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.put(7, 1, name="a) Z 9 (b\n c")

    assert table.processes.identify(7) == ProcessId(7, 1007)
    assert table.processes.alive(ProcessId(7, 1007))


def test_a_number_that_was_given_away_again_is_another_process(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.put(7, 1)

    assert not table.processes.alive(ProcessId(7, 900))
    assert not table.processes.alive(ProcessId(8, 1008))
    assert table.processes.identify(8) is None


def test_a_zombie_is_gone_unless_another_thread_of_it_lives(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.put(7, 1, "Z")
    table.put(8, 1, "Z", tasks=2)  # one waits in the driver
    table.put(9, 1, "D")

    alive = [pid for pid in (7, 8, 9) if table.processes.alive(ProcessId(pid, 1000 + pid))]
    assert alive == [8, 9]


def test_descendants_are_found_beyond_a_zombie_and_others_are_not(tmp_path: Path) -> None:
    table = Table(tmp_path)
    for pid, parent, state in [(2, 1, "S"), (3, 2, "Z"), (4, 3, "S"), (5, 4, "D"), (6, 1, "S")]:
        table.put(pid, parent, state)
    (tmp_path / "7").mkdir()  # it ends while we look
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "stat").write_text("8 (cut")

    assert {each.pid for each in table.processes.descendants(2)} == {4, 5}


def test_carriers_of_a_variable_are_found_by_its_whole_name(tmp_path: Path) -> None:
    table = Table(tmp_path)
    for pid in (2, 3, 4, 5):
        table.put(pid, 1)
    table.environ(2, A="1", MARK="mine")
    table.environ(3, MARKED="no", NOT_MARK="no")
    table.environ(4, MARK="")

    found = {(process.pid, value) for process, value in table.processes.carriers("MARK")}
    assert found == {(2, "mine"), (4, "")}


def test_a_process_that_ignores_signals_is_ended() -> None:
    script = "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    processes = Processes()
    identity = processes.identify(process.pid)
    assert identity is not None

    assert end_all(processes, lambda: [identity], patience_s=5) == ()
    assert process.wait(5) == -signal.SIGKILL
    process.stdout.close()
    process.stdin.close()


def test_what_does_not_end_is_told_after_the_patience(tmp_path: Path) -> None:
    """Numbers above the kernel's limit: SIGKILL finds nobody, as if it had no effect."""
    table, never = Table(tmp_path), 2**22 + 1
    table.put(never, 1, "D")
    table.put(never + 1, 1, "Z")
    found = [ProcessId(never, 1000 + never), ProcessId(never + 1, 1001 + never)]
    times = iter([0.0, 0.1, 0.2, 0.3])

    left = end_all(table.processes, lambda: found, patience_s=0.25, monotonic=lambda: next(times))
    assert left == (found[0],)


def test_this_process_is_in_the_real_table() -> None:
    processes = Processes()
    me = processes.identify(os.getpid())

    assert me is not None
    assert processes.alive(me)
    assert me in processes.descendants(os.getppid())
