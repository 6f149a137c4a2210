"""The real runner with real children; what the checks do is in tests/support/probe_checks.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from probes.check import NodeFacts
from probes.processes.seen import Processes
from probes.report import Result
from probes.runner.catalog import Catalog
from probes.runner.job import RUN_VARIABLE
from probes.runner.order import Order, Progress, Ran, RunStopped
from probes.runner.run import Runner
from probes.runner.stuck import StuckProcesses
from tests.support.probe_checks import BACKEND, GPU, REFERENCE

BOOT = "fc4f71dc948848f1a7c595d4d9a7e4a6"
ROOT = Path(__file__).parents[3]

Make = Callable[..., Runner]


@pytest.fixture
def make() -> Iterator[Make]:
    """A runner of the tests' checks."""
    made: list[Runner] = []

    def new(**environ: str) -> Runner:
        processes = Processes()
        runner = Runner(
            Catalog(REFERENCE),
            StuckProcesses("", BOOT, processes=processes),
            boot_id=BOOT,
            root="/node",
            backend=BACKEND,
            environ={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            processes=processes,
        )
        made.append(runner)
        return runner

    yield new
    for runner in made:
        runner.close()


def run(runner: Runner, *checks: str, before: Any = None, **options: str) -> Ran:
    """Options are given as ``second_do="hang"``."""
    named = {name.replace("_", ".", 1): value for name, value in options.items()}
    return runner.run(Order("run-1", checks, options=named, before=before or {}))


def outcomes(ran: Ran) -> list[tuple[str, str]]:
    return [(result.check, result.outcome) for result in ran.run.results]


def only(ran: Ran, check: str) -> Result:
    [found] = [result for result in ran.run.results if result.check == check]
    return found


def gone(pid: int) -> bool:
    identity = Processes().identify(pid)
    return identity is None or not Processes().alive(identity)


def gone_soon(pid: int) -> bool:
    end = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < end:
        threading.Event().wait(0.02)
    return gone(pid)


# ---------------------------------------------------------------- what came of a check


def test_a_finding_becomes_a_result_with_its_numbers_and_where_they_are_from(make: Make) -> None:
    began_ns = time.time_ns()
    ran = make().run(Order("run-7", ["first"], cadence="light", reason="schedule"))

    assert (ran.run.run_id, ran.run.cadence, ran.run.reason) == ("run-7", "light", "schedule")
    assert ran.run.boot_id == BOOT
    [result] = ran.run.results
    assert (result.check, result.tier, result.outcome, result.device) == (
        "first",
        "light",
        "pass",
        GPU,
    )
    [measured] = result.measurements
    assert (measured.name, measured.value, measured.unit) == ("h2d", 55.0, "GB/s")
    assert measured.threshold is not None
    assert (measured.threshold.value, measured.threshold.bound) == (50.0, "at_least")
    assert (result.backend, result.fake) == ("fake", True)
    assert began_ns <= ran.run.began_ns <= result.ended_ns <= ran.run.ended_ns <= time.time_ns()


@pytest.mark.parametrize(
    ("do", "outcome", "said"),
    [
        ("nothing", "error", "found nothing to say"),
        ("skip", "skip", "no NVSwitch here"),
        ("error", "error", "nvidia-smi said nothing"),
        ("lost", "error", "GPU 3 has fallen off the bus"),
        ("bug", "error", "KeyError: 'field'"),
        ("exit", "error", "SystemExit: 0"),
        ("crash", "error", "ended by SIGSEGV; it wrote: about to fall over"),
        ("killed", "error", "ended by SIGKILL (the kernel does that when memory runs out)"),
        ("garbage", "error", "wrote no message"),
        ("out-of-turn", "error", "wrote a check out of turn"),
        ("endless-line", "error", "a line of more than"),
        ("not-a-finding", "error", "yielded str, no Finding"),
        ("odd-severity", "error", "severity"),
        ("odd-device", "error", "no name of a device"),
        ("hang", "timeout", "did not end within 1 s"),
    ],
)
def test_a_check_that_does_not_measure_is_no_pass_and_the_others_run(
    make: Make, do: str, outcome: str, said: str
) -> None:
    ran = run(make(), "first", "short", "third", short_do=do)

    assert outcomes(ran) == [("first", "pass"), ("short", outcome), ("third", "pass")]
    assert said in only(ran, "short").message


@pytest.mark.parametrize("value", ["49.9", "nan", "inf", "-inf"])
def test_a_pass_that_its_own_number_contradicts_is_an_error(make: Make, value: str) -> None:
    ran = run(make(), "first", first_do="lying", first_value=value)

    assert outcomes(ran) == [("first", "error")]


def test_what_was_found_before_the_end_of_a_check_is_kept(make: Make) -> None:
    ran = run(make(), "short", "first", short_do="fail-then-hang", first_do="pass-then-raise")

    assert outcomes(ran) == [
        ("short", "fail"),
        ("short", "timeout"),
        ("first", "pass"),
        ("first", "error"),
    ]
    failed = ran.run.results[0]
    assert (failed.device, failed.severity, failed.remedy) == (GPU, "fatal", "reset_gpu")
    assert "ValueError: no such field" in ran.run.results[3].message
    assert "probe_checks.py" in ran.run.results[3].detail["where"]


def test_more_findings_than_allowed_are_an_error_and_bounded(make: Make) -> None:
    ran = run(make(), "first", "third", first_do="many")

    of_first = [result.outcome for result in ran.run.results if result.check == "first"]
    assert of_first == ["pass"] * 256 + ["error"]
    assert only(ran, "third").outcome == "pass"


def test_text_of_a_check_is_printable_and_bounded(make: Make) -> None:
    [result] = run(make(), "first", first_do="hostile-text").run.results

    texts = [result.message, *result.detail, *result.detail.values()]
    texts += [part for each in result.measurements for part in (each.name, each.unit)]
    assert all(text.isprintable() for text in texts)
    assert result.outcome == "fail"
    assert len(result.message) <= 512


def test_what_libraries_print_is_no_finding(make: Make) -> None:
    ran = run(make(), "first", "third", first_do="noise")

    assert outcomes(ran) == [("first", "fail"), ("third", "pass")]


def test_a_check_is_told_of_its_node_and_reads_nothing(make: Make) -> None:
    order = Order(
        "run-1",
        ["first"],
        node=NodeFacts(name="gpu-node-3", expected_gpus=8, labels={"a": "b"}),
        options={"first.do": "show", "first.x": "1", "third.y": "2", "firsts.z": "3"},
    )

    [result] = make().run(order).run.results
    expected = f"/node {BOOT} gpu-node-3 8 [('do', 'show'), ('x', '1')] ''"
    assert result.message == expected


def test_programs_speak_english_and_their_exit_code_is_told(make: Make) -> None:
    runner = make(LC_ALL="de_DE.UTF-8", LANGUAGE="de")

    assert only(run(runner, "first", first_do="fast-tool"), "first").message == "C 3"


# ---------------------------------------------------------------- the backend


def test_without_a_backend_a_check_that_asks_it_is_an_error_and_the_others_run(make: Make) -> None:
    ran = run(make(TEST_BACKEND="missing"), "first", "third", first_do="gpus")

    assert outcomes(ran) == [("first", "error"), ("third", "pass")]
    assert only(ran, "first").message == "libnvidia-ml.so.1 is not there"
    assert only(ran, "third").backend == "none"


def test_a_backend_that_cannot_be_made_is_an_error(make: Make) -> None:
    ran = run(make(TEST_BACKEND="broken"), "first", first_do="gpus")

    assert "RuntimeError: a bug" in only(ran, "first").message


def test_a_driver_that_hangs_at_once_is_a_timeout_of_the_check(make: Make) -> None:
    ran = run(make(TEST_BACKEND="hang"), "short")

    assert outcomes(ran) == [("short", "timeout")]


@pytest.mark.parametrize(
    ("busy", "outcome", "said"),
    [
        ("0", "pass", "good"),
        ("1", "skip", "needs idle GPUs, and these are in use: 0000:0b:00"),
        ("2", "skip", "needs idle GPUs, and these are in use: 0000:0b:00, 0000:1b:00"),
        ("missing", "error", "libnvidia-ml.so.1 is not there"),
    ],
)
def test_a_check_that_needs_idle_gpus_is_refused_while_they_are_busy(
    make: Make, busy: str, outcome: str, said: str
) -> None:
    result = only(run(make(TEST_BACKEND=busy), "idle-only"), "idle-only")

    assert (result.outcome, result.message) == (outcome, said)


# ---------------------------------------------------------------- what a check keeps


def test_what_a_check_keeps_is_given_to_it_the_next_time(make: Make) -> None:
    runner = make()
    first = run(runner, "first", "third", first_do="count")
    assert first.keep == {"first": {"count": 1}}

    second = run(runner, "first", first_do="count", before=first.keep)
    assert second.keep == {"first": {"count": 2}}
    assert only(second, "first").message == "before 1"


@pytest.mark.parametrize("do", ["keep-much", "keep-no-json", "keep-and-raise"])
def test_what_cannot_be_kept_is_an_error_and_keeps_nothing(make: Make, do: str) -> None:
    ran = run(make(), "first", "third", first_do=do)

    assert ran.keep == {}
    assert "error" in [result.outcome for result in ran.run.results if result.check == "first"]
    assert only(ran, "third").outcome == "pass"


# ---------------------------------------------------------------- deadlines and leftovers


def test_a_late_check_is_ended_in_time_with_its_process(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    began = time.monotonic()
    ran = run(make(), "short", short_do="pid", short_file=str(file))

    result = only(ran, "short")
    assert result.outcome == "timeout"
    assert 1.0 <= result.duration_s <= 2.0
    assert time.monotonic() - began < 10
    assert gone(int(file.read_text()))


@pytest.mark.parametrize(
    ("check", "do"),
    [("first", "leave"), ("first", "leave-and-crash"), ("short", "leave-and-hang")],
)
def test_what_a_check_leaves_behind_is_ended(
    make: Make, tmp_path: Path, check: str, do: str
) -> None:
    file = tmp_path / "pid"
    ran = run(make(), check, "third", **{f"{check}_do": do, f"{check}_file": str(file)})

    assert only(ran, "third").outcome == "pass"
    assert gone(int(file.read_text()))


@pytest.mark.parametrize("within", ["0.5", "60"])
def test_a_program_that_hangs_is_a_timeout_of_its_check(
    make: Make, tmp_path: Path, within: str
) -> None:
    file = tmp_path / "pid"
    ran = run(make(), "short", short_do="tool", short_file=str(file), short_within=within)

    assert outcomes(ran) == [("short", "timeout")]
    assert gone(int(file.read_text()))


def test_a_run_that_is_stopped_ends_at_once_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    file, runner, raised = tmp_path / "pid", make(), threading.Event()
    order = Order("r", ["first"], options={"first.do": "pid", "first.file": str(file)})

    def run_it() -> None:
        try:
            runner.run(order)
        except RunStopped:
            raised.set()

    thread = threading.Thread(target=run_it)
    thread.start()
    end = time.monotonic() + 20
    while not (file.exists() and file.read_text().endswith("\n")) and time.monotonic() < end:
        threading.Event().wait(0.02)
    runner.stop()
    thread.join(5)

    assert raised.is_set()
    assert gone(int(file.read_text()))
    with pytest.raises(RunStopped):
        runner.run(order)


def test_what_a_killed_owner_left_behind_is_ended_by_the_next_one(
    make: Make, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    end = time.monotonic() + 20
    while not (file.exists() and file.read_text().endswith("\n")) and time.monotonic() < end:
        threading.Event().wait(0.02)
    pid = int(file.read_text())
    owner.kill()
    owner.wait(5)
    assert not gone(pid)  # a program has no thread to end with

    run(make(), "first")
    assert gone_soon(pid)


_OWNER = f"""
import sys
from probes.runner.catalog import Catalog
from probes.runner.order import Order
from probes.runner.run import Runner
from probes.runner.stuck import StuckProcesses
from probes.processes.seen import Processes
runner = Runner(
    Catalog({REFERENCE!r}),
    StuckProcesses("", "", processes=Processes()),
    boot_id="",
    backend={BACKEND!r},
)
options = {{"first.do": "tool", "first.file": sys.argv[1], "first.within": "600"}}
runner.run(Order("r", ["first"], options=options))
"""


def test_a_foreign_process_is_left_alone(make: Make) -> None:
    """One that carries a mark of an owner that lives, or something that is none."""
    mine = Processes().identify(os.getpid())
    assert mine is not None
    namespace = os.readlink("/proc/self/ns/pid")
    marks = ["", "x/1/2", f"{namespace}/{mine.pid}/{mine.start}/ab", "pid:[1]/999999/1/ab/first"]
    others = [
        subprocess.Popen(["sleep", "60"], env={**os.environ, RUN_VARIABLE: mark}) for mark in marks
    ]
    try:
        run(make(), "short", short_do="hang")
        assert [other.poll() for other in others] == [None] * len(marks)
    finally:
        for other in others:
            other.kill()
            other.wait(5)


# ---------------------------------------------------------------- progress, order, size


def test_progress_is_told_for_each_check(make: Make) -> None:
    told: list[tuple[str, list[str] | None]] = []

    def note(progress: Progress) -> None:
        results = progress.results
        ended: list[str] | None = None if results is None else [each.outcome for each in results]
        told.append((progress.check.name, ended))

    order = Order("r", ["third", "short", "first"], options={"short.do": "crash"})
    ran = make().run(order, note)

    assert told == [
        ("third", None),
        ("third", ["pass"]),
        ("short", None),
        ("short", ["error"]),
        ("first", None),
        ("first", ["pass"]),
    ]
    assert [result.check for result in ran.run.results] == ["third", "short", "first"]


def test_a_check_that_is_named_twice_runs_once_and_an_unknown_one_is_refused(make: Make) -> None:
    assert outcomes(run(make(), "first", "first")) == [("first", "pass")]
    with pytest.raises(KeyError):
        run(make(), "first", "no-such-check")


def test_a_child_that_cannot_start_makes_each_check_an_error(make: Make) -> None:
    runner = make(PYTHONPATH="/nonexistent", PYTHONHOME="/nonexistent")
    ran = run(runner, "first", "third")

    assert outcomes(ran) == [("first", "error"), ("third", "error")]
    assert "its process exited with 1" in only(ran, "first").message


def test_a_large_order_reaches_the_child(make: Make) -> None:
    before: Mapping[str, Mapping[str, object]] = {
        name: {"count": 1, "much": "x" * 60_000} for name in ("first", "second", "third")
    }
    ran = run(make(), "first", "second", "third", first_do="count", before=before)

    assert only(ran, "first").message == "before 1"


def test_a_child_loads_nothing_of_the_agent_and_starts_in_little_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


_LOADED = """
import sys, time
import probes.runner.child
seconds = time.process_time()
heavy = {"pydantic", "rich", "fastapi", "cryptography", "asyncio", "http", "logging"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
print(f"{seconds:.3f} s of CPU time")
"""


def test_no_child_is_left_as_a_zombie(make: Make) -> None:
    runner = make()
    run(runner, "first", "short", "third", short_do="crash")
    run(runner, "short", short_do="hang")

    zombies = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            zombies += [file] if fields[:2] == ["Z", str(os.getpid())] else []
    assert zombies == []


@pytest.mark.root
def test_as_the_first_process_of_a_container_it_waits_for_the_orphans(tmp_path: Path) -> None:
    """They come to it, and nobody else would."""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", _FIRST, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "1 ['timeout', 'error'] []\n"), done.stderr


_FIRST = f"""
import glob, os, sys
from probes.runner.catalog import Catalog
from probes.runner.order import Order
from probes.runner.run import Runner
from probes.runner.stuck import StuckProcesses
from probes.processes.seen import Processes
runner = Runner(
    Catalog({REFERENCE!r}),
    StuckProcesses("", "", processes=Processes()),
    boot_id="",
    backend={BACKEND!r},
)
options = {{
    "short.do": "leave-and-hang",
    "short.file": sys.argv[1] + "/a",
    "first.do": "leave-and-crash",
    "first.file": sys.argv[1] + "/b",
}}
ran = runner.run(Order("r", ["short", "first"], options=options))
others = [int(path.split("/")[2]) for path in glob.glob("/proc/[0-9]*/stat")]
outcomes = [result.outcome for result in ran.run.results]
print(os.getpid(), outcomes, [pid for pid in others if pid != 1])
"""
