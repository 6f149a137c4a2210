"""What is kept on the disk survives restarts, and damage to it survives nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.agent.files import StateDir, StateError
from probes.agent.history import History
from probes.agent.memory import Booted, Memory
from probes.agent.nonces import MOST_NONCES, Nonces, ReplayedError, UncertainError
from probes.report import NodeSettings
from tests.support.agent import NODE, START_NS, AgentWorld, FakeClock, LogLines, found, run_of


class Disk:
    """A state directory that is closed and opened again."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock, self.log = path, FakeClock(), LogLines()
        self.state = StateDir(str(path), self.log)

    def reopen(self) -> None:
        self.state.close()
        self.state = StateDir(str(self.path), self.log)

    def aside(self) -> list[str]:
        return sorted(os.listdir(self.path / "aside"))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "state")


# ---------------------------------------------------------------- files


def test_a_damaged_file_is_set_aside_with_a_line_and_gone(disk: Disk) -> None:
    (disk.path / "x.json").write_text('{"half": ')
    assert disk.state.read("x.json", json.loads, most_bytes=1000) is None
    assert not (disk.path / "x.json").exists()
    assert [name.split("-", 2)[2] for name in disk.aside()] == ["x.json"]
    assert disk.log.warnings() == ["a damaged file is set aside"]


def test_what_was_set_aside_does_not_fill_the_disk(disk: Disk) -> None:
    for number in range(40):
        (disk.path / f"x{number}.json").write_text("no")
        disk.state.read(f"x{number}.json", json.loads, most_bytes=1000)
    assert [name.split("-", 2)[2] for name in disk.aside()] == [f"x{n}.json" for n in range(24, 40)]


@pytest.mark.parametrize("content", [b"[" * 5000, b"\xff\xfe", b"", b"x" * 2000], ids=len)
def test_hostile_content_is_no_content(disk: Disk, content: bytes) -> None:
    (disk.path / "x.json").write_bytes(content)
    assert disk.state.read("x.json", json.loads, most_bytes=1500) is None


def test_a_link_and_a_pipe_are_not_read(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (disk.path / "link.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(disk.path / "pipe.json")
    assert disk.state.read("link.json", json.loads, most_bytes=100) is None
    assert disk.state.read("pipe.json", json.loads, most_bytes=100) is None


def test_a_write_that_fails_leaves_the_old_content(disk: Disk) -> None:
    disk.state.write("x.json", b"1", durable=True)
    os.mkdir(disk.path / "x.json.part")  # the place of the new content is taken
    with pytest.raises(OSError, match="directory"):
        disk.state.write("x.json", b"2", durable=True)
    assert (disk.path / "x.json").read_bytes() == b"1"


def test_two_agents_do_not_share_a_directory(disk: Disk) -> None:
    with pytest.raises(StateError, match="another agent uses"):
        StateDir(str(disk.path), disk.log)
    disk.state.close()
    StateDir(str(disk.path), disk.log).close()


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot be used.*--state"):
        StateDir(str(tmp_path / "file" / "state"), LogLines())


# ---------------------------------------------------------------- history


def history(disk: Disk, **bounds: float) -> History:
    return History(disk.state, disk.clock, disk.log, **bounds)  # type: ignore[arg-type]


def test_runs_are_there_after_a_restart_newest_first(disk: Disk) -> None:
    kept = history(disk)
    for number in range(5):
        kept.add(run_of(found("a", "pass"), run_id=f"r{number}"))
    disk.reopen()
    assert [run.run_id for run in history(disk).newest_first()] == ["r4", "r3", "r2", "r1", "r0"]


def test_a_clock_set_back_does_not_mix_up_the_order(disk: Disk) -> None:
    kept = history(disk)
    kept.add(run_of(run_id="first"))
    disk.clock.set_by_ns = -3_600_000_000_000
    kept.add(run_of(run_id="second", ended_ns=START_NS - 10**12))
    disk.reopen()
    assert [run.run_id for run in history(disk).newest_first()] == ["second", "first"]


def test_many_small_runs_do_not_push_out_the_rare_ones(disk: Disk) -> None:
    kept = history(disk, most_bytes=20_000)
    kept.add(run_of(found("a", "pass"), run_id="b", cadence="boot"))
    kept.add(run_of(found("a", "pass"), run_id="h1", cadence="hourly"))
    kept.add(run_of(found("a", "pass"), run_id="h2", cadence="hourly"))
    for number in range(200):
        kept.add(run_of(found("a", "pass"), run_id=f"l{number}"))
    ids = [run.run_id for run in kept.newest_first()]
    assert ids[-3:] == ["h2", "h1", "b"]
    assert ids[0] == "l199"
    assert kept.size() <= 20_000
    on_disk = sum(file.stat().st_size for file in (disk.path / "runs").iterdir())
    assert on_disk == kept.size()


def test_old_runs_go_but_the_newest_of_each_cadence_stays(disk: Disk) -> None:
    kept = history(disk, most_age_s=3600)
    kept.add(run_of(run_id="b", cadence="boot"))
    kept.add(run_of(run_id="l1"))
    disk.clock.seconds += 4000
    kept.add(run_of(run_id="l2"))
    assert [run.run_id for run in kept.newest_first()] == ["l2", "b"]


def test_a_damaged_run_costs_that_run_alone(disk: Disk) -> None:
    kept = history(disk)
    for number in range(3):
        kept.add(run_of(run_id=f"r{number}"))
    file = disk.path / kept.entries[1].name
    file.write_text("{")
    os.utime(file, ns=(disk.clock.now_ns(), disk.clock.now_ns()))
    disk.reopen()
    assert [run.run_id for run in history(disk).newest_first()] == ["r2", "r0"]
    assert len(disk.aside()) == 1


def test_half_a_file_of_a_crash_is_removed(disk: Disk) -> None:
    history(disk)
    (disk.path / "runs" / "000000000009-light.json.part").write_text("{")
    disk.reopen()
    assert history(disk).entries == ()
    assert os.listdir(disk.path / "runs") == []


def test_a_full_disk_is_told_and_over_when_there_is_room(disk: Disk) -> None:
    kept = history(disk)
    kept.add(run_of(run_id="r1"))
    os.mkdir(disk.path / "runs" / "000000000002-light.json.part")
    kept.add(run_of(run_id="r2"))
    assert [kept.writable] == [False]
    assert "a run cannot be kept" in disk.log.warnings()
    kept.add(run_of(run_id="r3"))
    assert kept.writable
    assert [run.run_id for run in kept.newest_first()] == ["r3", "r1"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["boot", "light", "hourly"]), st.integers(0, 40)), max_size=40
    )
)
def test_size_holds_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[str, int]]
) -> None:
    disk = Disk(tmp_path_factory.mktemp("disk") / "state")
    kept = history(disk, most_bytes=8000)
    for number, (cadence, results) in enumerate(runs):
        many = [found("a", "pass", message="x" * 50) for _ in range(results)]
        kept.add(run_of(*many, run_id=f"r{number}", cadence=cadence))
        newest = {entry.cadence: entry.size for entry in kept.entries}
        assert kept.size() <= max(8000, sum(newest.values()))
    seen = {cadence for cadence, _ in runs}
    assert {entry.cadence for entry in kept.entries} == seen
    disk.state.close()


# ---------------------------------------------------------------- what checks keep, settings, boot


def told(**members: object) -> NodeSettings:
    return NodeSettings.model_validate(
        {
            "node": NODE, "issued_ns": START_NS, "expires_ns": START_NS + 1,
            "nonce": "n" * 16, **members,
        }
    )  # fmt: skip


def test_what_a_check_keeps_is_there_after_a_restart(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    memory.keep({"ecc": {"count": 3}})
    disk.reopen()
    again = Memory(disk.state, disk.log)
    assert again.before(["ecc", "ping"]) == {"ecc": {"count": 3}}


def test_a_check_that_keeps_what_is_no_json_costs_itself_alone(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    memory.keep({"bad": {"x": object()}, "nan": {"x": float("nan")}, "good": {"x": 1}})
    assert memory.before(["bad", "nan", "good"]) == {"good": {"x": 1}}


def test_what_a_check_keeps_that_was_damaged_is_empty(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    memory.keep({"ecc": {"count": 3}, "ping": {"x": 1}})
    (disk.path / "keep" / "ecc.json").write_text("[1]")
    disk.reopen()
    assert Memory(disk.state, disk.log).before(["ecc", "ping"]) == {"ping": {"x": 1}}


def test_what_is_kept_for_checks_that_are_gone_is_removed(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    memory.keep({"old": {"x": 1}, "new": {"x": 1}})
    memory.forget(["new"])
    assert os.listdir(disk.path / "keep") == ["new.json"]


def test_settings_are_facts_of_the_node_after_a_restart(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    assert memory.take(told(expected_gpus=8, labels={"pool": "h100"}, thresholds={"a/b": 1.5}))
    disk.reopen()
    facts = Memory(disk.state, disk.log).facts(NODE)
    assert (facts.expected_gpus, facts.labels, facts.thresholds) == (
        8, {"pool": "h100"}, {"a/b": 1.5},
    )  # fmt: skip


def test_settings_of_another_node_are_none_of_this_one(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    memory.take(told(node="node-b", expected_gpus=4))
    assert memory.facts(NODE).expected_gpus is None


def test_settings_never_go_back(disk: Disk) -> None:
    memory = Memory(disk.state, disk.log)
    assert memory.take(told(expected_gpus=8, issued_ns=START_NS + 10, expires_ns=START_NS + 20))
    assert not memory.take(told(expected_gpus=4, issued_ns=START_NS))
    assert memory.facts(NODE).expected_gpus == 8


def test_for_which_boot_the_boot_checks_ran_is_known_after_a_restart(disk: Disk) -> None:
    Memory(disk.state, disk.log).has_booted(Booted("b" * 32, "580 17"))
    disk.reopen()
    assert Memory(disk.state, disk.log).booted == Booted("b" * 32, "580 17")


# ---------------------------------------------------------------- nonces


S = 1_000_000_000


def nonces(disk: Disk) -> Nonces:
    """Of an agent that has worked here before."""
    file = disk.path / "nonces.json"
    if not file.exists():
        file.write_text("{}")
    return started(disk)


def started(disk: Disk) -> Nonces:
    return Nonces(disk.state, disk.clock, grace_ns=30 * S)


def sent(disk: Disk, kept: Nonces, nonce: str, *, issued_ns: int, valid_s: int = 300) -> str:
    """What comes of a request that is within its time: "taken", "replayed" or "uncertain"."""
    now = disk.clock.now_ns()
    assert issued_ns <= now + 30 * S
    assert now <= issued_ns + (valid_s + 30) * S
    try:
        kept.take(nonce, issued_ns=issued_ns, expires_ns=issued_ns + valid_s * S)
    except ReplayedError:
        return "replayed"
    except UncertainError:
        return "uncertain"
    return "taken"


def take(kept: Nonces, disk: Disk, nonce: str, valid_s: float = 60) -> None:
    now = disk.clock.now_ns()
    kept.take(nonce, issued_ns=now, expires_ns=now + int(valid_s * 1e9))


def test_a_nonce_is_taken_once_also_over_a_restart(disk: Disk) -> None:
    take(nonces(disk), disk, "a" * 16)
    disk.reopen()
    again = nonces(disk)
    with pytest.raises(ReplayedError):
        take(again, disk, "a" * 16)
    take(again, disk, "b" * 16)


def test_a_nonce_is_remembered_as_long_as_its_request_could_be_taken(disk: Disk) -> None:
    kept = nonces(disk)
    take(kept, disk, "a" * 16, valid_s=60)
    disk.clock.seconds += 89  # 60 s, and 30 s of clock skew
    with pytest.raises(ReplayedError):
        take(kept, disk, "a" * 16)
    disk.clock.seconds += 2
    take(kept, disk, "c" * 16)
    kept_now = json.loads((disk.path / "nonces.json").read_text())
    assert list(kept_now["taken"]) == ["c" * 16]


@pytest.mark.parametrize("loss", ["gone", "garbage"])
@pytest.mark.parametrize("ahead_s", [-30, 0, 29])
def test_when_nonces_are_lost_nothing_of_before_is_taken_again(
    disk: Disk, loss: str, ahead_s: int
) -> None:
    """Also of a controller whose clock is ahead: its request seems to be of after the loss."""
    issued = disk.clock.now_ns() + ahead_s * S
    assert sent(disk, nonces(disk), "a" * 16, issued_ns=issued) == "taken"
    file = disk.path / "nonces.json"
    file.unlink() if loss == "gone" else file.write_text("garbage")
    disk.clock.seconds += 1
    disk.reopen()
    again = started(disk)
    while disk.clock.now_ns() <= issued + 330 * S:
        assert sent(disk, again, "a" * 16, issued_ns=issued) == "uncertain"
        disk.clock.seconds += 7


def test_a_controller_is_refused_for_a_moment_and_told_for_how_long(disk: Disk) -> None:
    kept = started(disk)
    for ahead_s in (29, 0, -29):
        issued = disk.clock.now_ns() + ahead_s * S
        with pytest.raises(UncertainError) as refused:
            kept.take("b" * 16, issued_ns=issued, expires_ns=issued + 60 * S)
        assert refused.value.again_s == 30 - ahead_s
    disk.clock.seconds += 31
    assert sent(disk, kept, "b" * 16, issued_ns=disk.clock.now_ns()) == "taken"


def test_the_loss_is_not_forgotten_with_the_next_restart(disk: Disk) -> None:
    issued = disk.clock.now_ns() + 20 * S
    assert sent(disk, nonces(disk), "a" * 16, issued_ns=issued) == "taken"
    (disk.path / "nonces.json").unlink()
    disk.reopen()
    kept = started(disk)
    disk.clock.seconds += 31
    assert sent(disk, kept, "b" * 16, issued_ns=disk.clock.now_ns()) == "taken"
    for _ in range(4):
        disk.reopen()
        again = started(disk)
        assert sent(disk, again, "a" * 16, issued_ns=issued) == "uncertain"
        assert sent(disk, again, "b" * 16, issued_ns=disk.clock.now_ns()) == "replayed"
        disk.clock.seconds += 60


def test_a_clock_that_was_wrong_at_the_loss_bars_nobody_for_long(disk: Disk) -> None:
    disk.clock.set_by_ns = 3600 * S
    kept = started(disk)
    disk.clock.set_by_ns = 0
    disk.clock.seconds += 300 + 2 * 30
    assert sent(disk, kept, "a" * 16, issued_ns=disk.clock.now_ns()) == "taken"


def test_nonces_of_an_older_agent_are_read(disk: Disk) -> None:
    end = disk.clock.now_ns() + 60 * S
    (disk.path / "nonces.json").write_text(json.dumps({"a" * 16: end}))
    kept = started(disk)
    assert sent(disk, kept, "a" * 16, issued_ns=disk.clock.now_ns()) == "replayed"
    assert sent(disk, kept, "b" * 16, issued_ns=disk.clock.now_ns()) == "taken"


def test_a_nonce_that_cannot_be_kept_is_not_taken(disk: Disk) -> None:
    kept = nonces(disk)
    os.mkdir(disk.path / "nonces.json.part")
    with pytest.raises(OSError, match="directory"):
        take(kept, disk, "a" * 16)
    os.rmdir(disk.path / "nonces.json.part")
    take(kept, disk, "a" * 16)  # it was not used up


def test_nonces_are_bounded(disk: Disk) -> None:
    now = disk.clock.now_ns()
    full = {f"nonce-{n:010d}": now + 10**11 for n in range(MOST_NONCES)}
    (disk.path / "nonces.json").write_text(json.dumps(full))
    with pytest.raises(OSError, match="remembered"):
        take(nonces(disk), disk, "a" * 16)


# ---------------------------------------------------------------- all of it


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_lies_in_the_state_directory_the_agent_starts(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("world")
    world = AgentWorld(path)
    state = path / "state"
    for folder in ("runs", "keep"):
        (state / folder).mkdir(parents=True)
    names = ["settings.json", "booted.json", "nonces.json", "keep/driver.json",
             "runs/000000000001-light.json", "runs/000000000002-boot.json"]  # fmt: skip
    content = st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5) | st.floats(),
            lambda each: (
                st.lists(each, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["node", "boot_id", "run_id", "driver", "x"]), each
                )
            ),
            max_leaves=6,
        ).map(lambda value: json.dumps(value).encode()),
    )
    for name in names:
        if data.draw(st.booleans()):
            (state / name).write_bytes(data.draw(content))
    made = world.start()
    for _ in range(4):
        made.worker.step()
        world.clock.seconds += 400
    assert json.loads(made.board.told.body)["node"] == NODE
    assert {order.cadence for order in world.runner.orders} >= {"boot", "light"}
    world.close()
