"""A check whose process SIGKILL does not end, as one that waits in the GPU driver (state D)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from probes.processes.seen import Processes
from probes.report import Result
from probes.runner.catalog import Catalog
from probes.runner.order import Order, Progress, Ran, RunStopped
from probes.runner.run import Runner
from probes.runner.stuck import StuckProcesses
from tests.support.freezer import Freezer, freezer
from tests.support.probe_checks import BACKEND, REFERENCE

pytestmark = pytest.mark.root

BOOT = "fc4f71dc948848f1a7c595d4d9a7e4a6"
ROOT = Path(__file__).parents[3]
DEADLINE_S = 1.0  # of the check "short"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Runner]]:
    """A runner, as an agent would make it when it starts: what is stuck is in a file."""
    made: list[Runner] = []

    def new() -> Runner:
        processes = Processes()
        runner = Runner(
            Catalog(REFERENCE),
            StuckProcesses(str(tmp_path / "stuck.json"), BOOT, processes=processes),
            boot_id=BOOT,
            backend=BACKEND,
            environ={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        made.append(runner)
        return runner

    yield new
    for runner in made:
        runner.close()


@pytest.fixture
def frozen(tmp_path: Path, start: Callable[[], Runner]) -> Iterator[Freezer]:
    """Thawed before the runners are closed, so that they can wait for what is in it."""
    with freezer(tmp_path / "freezer") as made:
        if isinstance(made, str):
            pytest.skip(made)
        yield made


class Timed:
    """Runs an order, and notes when each check began and ended."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def run(self, order: Order) -> Ran:
        return self._runner.run(order, self._note)

    def _note(self, progress: Progress) -> None:
        times = self.began if progress.results is None else self.ended
        times[progress.check.name] = time.monotonic()


def order(frozen: Freezer, tmp_path: Path, do: str, within: str = "60") -> Order:
    options = {"do": do, "freezer": str(frozen.folder), "file": str(tmp_path / "pids")}
    options["within"] = within
    short = {f"short.{name}": value for name, value in options.items()}
    return Order("run-1", ["first", "short", "third"], options=short)


def of(ran: Ran, check: str) -> Result:
    [found] = [result for result in ran.run.results if result.check == check]
    return found


def starts(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "pids").read_text().split()]


@pytest.mark.parametrize(
    ("do", "within"),
    [
        pytest.param("freeze", "60", id="the check's own process"),
        pytest.param("freeze-tool", "60", id="a program that it runs"),
        pytest.param("freeze-tool", "0.5", id="a program that it gives up"),
    ],
)
def test_it_is_a_timeout_in_time_and_is_not_started_again_while_it_lives(
    frozen: Freezer, start: Callable[[], Runner], tmp_path: Path, do: str, within: str
) -> None:
    asked = order(frozen, tmp_path, do, within)
    runner = start()
    timed = Timed(runner)
    first = timed.run(asked)

    assert frozen.frozen()
    [pid] = starts(tmp_path)
    assert Path(f"/proc/{pid}").exists()  # killed, and still there
    assert timed.ended["short"] - timed.began["short"] <= DEADLINE_S + 1.0
    assert of(first, "short").outcome == "timeout"
    assert f"SIGKILL does not end process {pid}" in of(first, "short").message
    assert [of(first, name).outcome for name in ("first", "third")] == ["pass", "pass"]

    # The same agent, and one that was started anew, with a file of what is stuck.
    for each in (runner, start()):
        again = each.run(asked)
        assert of(again, "short").outcome == "timeout"
        assert f"process {pid} of an earlier run" in of(again, "short").message
        assert [of(again, name).outcome for name in ("first", "third")] == ["pass", "pass"]
    assert starts(tmp_path) == [pid]

    frozen.thaw()
    file = str(tmp_path / "pids")
    options = {"short.do": "pid", "short.file": file, "short.then": "finish"}
    after = runner.run(Order("run-4", ["short"], options=options))
    assert of(after, "short").outcome == "pass"
    assert len(starts(tmp_path)) == 2


def test_a_stop_does_not_wait_for_it(
    frozen: Freezer, start: Callable[[], Runner], tmp_path: Path
) -> None:
    runner = start()
    asked = Order(
        "run-1",
        ["first"],  # its own deadline is far away
        options={
            "first.do": "freeze",
            "first.freezer": str(frozen.folder),
            "first.file": str(tmp_path / "pids"),
        },
    )

    def run_until_stopped() -> None:
        with suppress(RunStopped):
            runner.run(asked)

    thread = threading.Thread(target=run_until_stopped)
    thread.start()
    end = time.monotonic() + 20
    while not frozen.frozen() and time.monotonic() < end:
        threading.Event().wait(0.02)
    runner.stop()
    thread.join(3.0)

    assert not thread.is_alive()
    again = start().run(Order("run-2", ["first"]))
    assert of(again, "first").outcome == "timeout"
