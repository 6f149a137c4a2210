"""Runs that Jobs leave on the node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from probes.agent.delivered import Deliveries
from probes.agent.files import StateDir
from probes.report import Run
from tests.support.agent import BOOT, AgentWorld, FakeClock, LogLines, found, run_of


class Inbox:
    """A delivery directory."""

    def __init__(self, path: Path, owner: int | None = None) -> None:
        self.folder = path / "delivered"
        self.folder.mkdir(mode=0o700)
        self.log, self.clock = LogLines(), FakeClock()
        self.state = StateDir(str(path / "state"), self.log)
        self.deliveries = Deliveries(
            str(self.folder), self.state, self.log, boot_id=BOOT, now_ns=self.clock.now_ns,
            owner=os.geteuid() if owner is None else owner,
        )  # fmt: skip

    def put(self, run: Run, name: str = "run.json", mode: int = 0o600) -> Path:
        file = self.folder / name
        file.write_text(run.model_dump_json())
        file.chmod(mode)
        return file

    def taken(self) -> list[str]:
        return [run.run_id for run in self.deliveries.take()]

    def left(self) -> list[str]:
        return sorted(os.listdir(self.folder))


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def test_a_delivered_run_is_taken_up_once_and_its_file_is_gone(inbox: Inbox) -> None:
    inbox.put(run_of(found("dcgm-3", "pass", tier="invasive"), run_id="job-1", cadence="invasive"))
    assert inbox.taken() == ["job-1"]
    assert inbox.left() == []
    assert inbox.taken() == []


def test_a_crash_before_it_was_kept_does_not_lose_it(inbox: Inbox) -> None:
    inbox.put(run_of(run_id="job-1"))
    taking = inbox.deliveries.take()
    next(taking)  # the agent is killed here
    del taking
    assert inbox.taken() == ["job-1"]


def test_a_run_of_another_boot_is_dropped_and_told(inbox: Inbox) -> None:
    inbox.put(run_of(run_id="job-1", boot_id="f" * 32))
    assert inbox.taken() == []
    assert inbox.left() == []
    assert inbox.log.warnings() == ["a delivered run is of another boot"]


def test_folders_in_it_keep_no_file_from_being_taken_and_hold_nothing_open(inbox: Inbox) -> None:
    for number in range(70):
        (inbox.folder / f"{number:02}.json").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    inbox.put(run_of(run_id="job-1"))

    assert inbox.taken() == ["job-1"]
    assert inbox.taken() == []
    assert len(os.listdir("/proc/self/fd")) == before
    assert inbox.log.warnings() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": "a"}', b"\xff" * 10, b"9" * 99])
def test_what_is_no_run_is_set_aside(inbox: Inbox, content: bytes) -> None:
    (inbox.folder / "x.json").write_bytes(content)
    (inbox.folder / "x.json").chmod(0o600)
    assert inbox.taken() == []
    assert inbox.left() == []
    assert len(os.listdir(Path(inbox.state.path) / "aside")) == 1


def test_a_number_that_is_none_makes_it_no_run(inbox: Inbox) -> None:
    text = run_of(found("a", "pass", duration_s=1.5)).model_dump_json().replace("1.5", "NaN")
    (inbox.folder / "x.json").write_text(text)
    (inbox.folder / "x.json").chmod(0o600)
    assert inbox.taken() == []


def test_a_run_that_is_too_large_is_refused(inbox: Inbox) -> None:
    (inbox.folder / "x.json").write_bytes(b" " * (2**20 + 1))
    (inbox.folder / "x.json").chmod(0o600)
    assert inbox.taken() == []
    assert inbox.left() == []


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_could_have_written_does_not_count(inbox: Inbox, mode: int) -> None:
    inbox.put(run_of(run_id="job-1"), mode=mode)
    assert inbox.taken() == []
    assert inbox.left() == []


def test_links_and_pipes_do_not_count(inbox: Inbox, tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text(run_of(run_id="job-1").model_dump_json())
    real.chmod(0o600)
    (inbox.folder / "symbolic.json").symlink_to(real)
    os.link(real, inbox.folder / "hard.json")
    os.mkfifo(inbox.folder / "pipe.json", 0o600)
    assert inbox.taken() == []
    assert inbox.left() == []
    assert real.exists()


def test_files_of_another_user_do_not_count(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, owner=os.geteuid() + 1)
    inbox.put(run_of(run_id="job-1"))
    assert inbox.taken() == []
    assert inbox.left() == ["run.json"]  # its directory is not of that user either


def test_a_directory_that_others_can_write_does_not_count(inbox: Inbox) -> None:
    inbox.put(run_of(run_id="job-1"))
    inbox.folder.chmod(0o777)
    assert inbox.taken() == []
    assert "others could write into the delivery directory" in inbox.log.warnings()


def test_a_directory_that_is_a_link_does_not_count(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.put(run_of(run_id="job-1"))
    inbox.folder.rename(tmp_path / "elsewhere")
    inbox.folder.symlink_to(tmp_path / "elsewhere")
    assert inbox.taken() == []


def test_half_a_file_is_left_alone_and_goes_after_an_hour(inbox: Inbox) -> None:
    part = inbox.folder / ".17.part"
    part.write_text("{")
    os.utime(part, ns=(inbox.clock.now_ns(), inbox.clock.now_ns()))
    inbox.clock.seconds += 3000
    assert inbox.taken() == []
    assert inbox.left() == [".17.part"]
    inbox.clock.seconds += 700
    assert inbox.taken() == []
    assert inbox.left() == []


def test_runs_come_in_the_order_in_which_they_were_left(inbox: Inbox) -> None:
    for number in range(5):
        file = inbox.put(run_of(run_id=f"job-{number}"), f"{9 - number}.json")
        os.utime(file, ns=(number, number))
    assert inbox.taken() == [f"job-{number}" for number in range(5)]


def test_the_agent_tells_a_delivered_run_once(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, delivered_by=os.geteuid())
    made = world.start()
    for _ in range(2):  # a Job that delivers twice
        file = tmp_path / "delivered" / "job-1.json"
        file.write_text(run_of(run_id="job-1", cadence="invasive").model_dump_json())
        file.chmod(0o600)
        made.chores.step()
    told = Run.model_validate_json
    assert made.board.told.body.count(b'"job-1"') == 1
    assert [told(each.read_bytes()).run_id for each in (tmp_path / "state/runs").iterdir()] == [
        "job-1"
    ]
    world.close()
