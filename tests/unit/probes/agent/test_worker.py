"""What runs when?"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from probes.agent.boots import BootIdError, boot_id, driver_load
from probes.agent.build import Made
from probes.agent.requests import KnownRunError, QueueFullError, Request, Requests
from tests.support.agent import BOOT, GPU, NODE, AgentWorld, found


def steps(world: AgentWorld, made: Made, seconds: float) -> None:
    """Let so much time pass."""
    end = world.clock.seconds + seconds
    while world.clock.seconds < end:
        wait = made.worker.step()
        world.clock.seconds += min(max(wait, 0.1), 5.0)


def cadences(world: AgentWorld) -> list[str]:
    return [order.cadence for order in world.runner.orders]


def test_boot_checks_come_first_and_once_in_a_boot(world: AgentWorld) -> None:
    steps(world, world.start(), 200)
    assert cadences(world)[0] == "boot"
    steps(world, world.start(), 200)  # the agent was started again
    assert cadences(world).count("boot") == 1


def test_another_boot_runs_them_again(world: AgentWorld) -> None:
    steps(world, world.start(), 10)
    world.write("proc/sys/kernel/random/boot_id", "f" * 32)
    world.runner.boot_id = "f" * 32
    steps(world, world.start(), 10)
    assert cadences(world).count("boot") == 2


def load_driver(world: AgentWorld, keep: Path | None = None) -> None:
    """sysfs as it is after the module was loaded: a directory that was never there before."""
    module = world.root / "sys/module/nvidia"
    if module.exists():
        module.rename(world.root / f"old-{os.stat(module).st_ino}")  # its number is not reused
    world.write("sys/module/nvidia/version", "580.95.05\n")


def test_a_driver_that_was_loaded_anew_runs_them_again(world: AgentWorld) -> None:
    load_driver(world)
    made = world.start()
    steps(world, made, 100)
    assert cadences(world).count("boot") == 1
    load_driver(world)
    steps(world, made, 100)
    assert cadences(world).count("boot") == 2


def test_a_driver_that_is_gone_for_a_while_does_not(world: AgentWorld) -> None:
    made = world.start()
    steps(world, made, 20)  # nothing loaded: told once
    load_driver(world)
    steps(world, made, 20)
    assert cadences(world).count("boot") == 2
    shutil.move(world.root / "sys/module/nvidia", world.root / "away")
    steps(world, made, 100)
    assert cadences(world).count("boot") == 2
    shutil.move(world.root / "away", world.root / "sys/module/nvidia")
    steps(world, made, 100)
    assert cadences(world).count("boot") == 2


def test_the_mtime_of_the_module_says_nothing(world: AgentWorld) -> None:
    load_driver(world)
    before = driver_load(str(world.root))
    os.utime(world.root / "sys/module/nvidia", (1, 1))
    assert driver_load(str(world.root)) == before != ""


def test_light_runs_come_every_minute_and_hourly_ones_every_hour(world: AgentWorld) -> None:
    world.specs = tuple(spec for spec in world.specs if spec.name != "dcgm-3")
    world.runner.takes_s = 0.5
    steps(world, world.start(), 2 * 3600)
    assert 118 <= cadences(world).count("light") <= 121
    assert 2 <= cadences(world).count("hourly") <= 3


def test_each_run_is_of_the_checks_of_its_cadence(world: AgentWorld) -> None:
    steps(world, world.start(), 5 * 3600)
    checks = {order.cadence: tuple(order.checks) for order in world.runner.orders}
    assert checks == {
        "boot": ("driver",), "light": ("gpu-health",), "hourly": ("pcie-bandwidth",),
        "invasive": ("dcgm-3",),
    }  # fmt: skip


def test_an_interval_of_0_and_no_boot_checks_mean_never(tmp_path: Path) -> None:
    world = AgentWorld(
        tmp_path, intervals={"light": 0.0, "hourly": 0.0, "invasive": 0.0}, boot_checks=False
    )
    steps(world, world.start(), 20_000)
    assert world.runner.orders == []
    world.close()


def test_what_was_asked_for_comes_before_what_is_due(world: AgentWorld) -> None:
    made = world.start()
    with world.serving() as client:
        for number in range(3):
            answer = client.signed("/v1/run", request_id=f"r{number}", checks=["gpu-health"])
            assert (answer.status, answer.json()["queued"]) == (202, number)
    steps(world, made, 120)
    assert [order.run_id for order in world.runner.orders][:3] == ["r0", "r1", "r2"]
    assert cadences(world)[3] == "boot"


def test_invasive_runs_wait_until_no_gpu_is_known_to_be_busy(world: AgentWorld) -> None:
    world.runner.found["gpu-health"] = (found("gpu-health", "pass", device=GPU, busy=True),)
    made = world.start()
    steps(world, made, 5 * 3600)
    assert "invasive" not in cadences(world)
    world.runner.found["gpu-health"] = (found("gpu-health", "pass", device=GPU, busy=False),)
    steps(world, made, 240)
    assert cadences(world).count("invasive") == 1


def test_a_runner_that_fails_is_asked_again_after_a_pause_and_told(world: AgentWorld) -> None:
    world.runner.error = OSError("no more processes")
    made = world.start()
    steps(world, made, 600)
    assert cadences(world).count("boot") == 10  # once a minute
    with world.serving() as client:
        answer = client.get("/readyz")
    assert (answer.status, b"the last run could not be run" in answer.body) == (503, True)
    world.runner.error = None
    steps(world, made, 120)
    with world.serving() as client:
        assert client.get("/readyz").status == 200
    assert "a run could not be run" in world.log.warnings()


def test_a_run_that_does_not_end_makes_the_agent_unhealthy(world: AgentWorld) -> None:
    made = world.start()
    deadline = 10.0 + 1 + 60  # of the boot checks, and grace
    world.runner.takes_s = 0
    seen = []
    real = world.runner.run

    def slow(order: object) -> object:
        for seconds in (deadline - 1, deadline + 1):
            began = world.clock.seconds
            world.clock.seconds = began + seconds
            seen.append(made.worker.stands_still())
            world.clock.seconds = began
        return real(order)  # type: ignore[arg-type]

    world.runner.run = slow  # type: ignore[assignment,method-assign]
    made.worker.step()
    assert seen == [False, True]
    assert not made.worker.stands_still()


def test_checks_get_what_they_kept_the_nodes_facts_and_their_options(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, check_options={"gpu-health.a": "1", "gpu-health.b": "2"})
    world.runner.keeps = {"driver": {"count": 7}}
    made = world.start()
    steps(world, made, 10)
    with world.serving() as client:
        assert client.signed("/v1/settings", expected_gpus=8).status == 204
        client.signed(
            "/v1/run", request_id="r", checks=["gpu-health", "driver"],
            options={"gpu-health.b": "3"},
        )  # fmt: skip
    made.worker.step()
    order = world.runner.orders[-1]
    assert order.run_id == "r"
    assert order.checks == ("driver", "gpu-health")  # in the order of the node's checks
    assert order.options == {"gpu-health.a": "1", "gpu-health.b": "3"}
    assert (order.node.name, order.node.expected_gpus) == (NODE, 8)
    assert order.before == {"driver": {"count": 7}}
    world.close()


def test_what_was_found_is_told_again_after_a_restart(world: AgentWorld) -> None:
    world.runner.found["gpu-health"] = (found("gpu-health", "fail", message="too hot"),)
    steps(world, world.start(), 200)
    before = json.loads(world.start().board.told.body)["runs"]
    assert [run["cadence"] for run in before][:1] == ["boot"]
    assert before[-1]["results"][0]["message"] == "too hot"


def test_a_stuck_check_is_told_at_once_after_a_restart(world: AgentWorld) -> None:
    world.stuck = ["driver"]
    assert json.loads(world.start().board.told.body)["stuck"] == ["driver"]


# ---------------------------------------------------------------- the queue


def test_the_queue_is_bounded_and_takes_an_id_once() -> None:
    queue = Requests(known=["done"], limit=2)
    assert queue.put(Request("a", ("x",))) == 0
    assert queue.put(Request("b", ("x",))) == 1
    with pytest.raises(QueueFullError):
        queue.put(Request("c", ("x",)))
    for known in ("a", "done"):
        with pytest.raises(KnownRunError):
            queue.put(Request(known, ("x",)))
    taken = queue.take()
    assert taken is not None
    assert taken.run_id == "a"
    assert queue.put(Request("c", ("x",))) == 1


# ---------------------------------------------------------------- boot id


def test_the_boot_id_is_read_below_the_root(world: AgentWorld) -> None:
    assert boot_id(str(world.root)) == BOOT


@pytest.mark.parametrize("text", ["", "no boot id", "0" * 31, "\x00" * 40])
def test_what_is_no_boot_id_is_refused(world: AgentWorld, text: str) -> None:
    world.write("proc/sys/kernel/random/boot_id", text)
    with pytest.raises(BootIdError, match="boot_id holds no boot id"):
        boot_id(str(world.root))
    with pytest.raises(BootIdError, match="cannot read"):
        boot_id(str(world.root / "nowhere"))
