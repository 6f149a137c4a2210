"""A kernel line that the node's own agent denies acts no more; one that it confirms is attested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from loguru import logger

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.record import Record
from konduktor_health.errors import AgentUnavailable
from konduktor_health.model import Corroborate, InjectionMode, Trust
from konduktor_health.runtime.attesting import MOST_KEYS, MOST_QUESTIONS, WAIT_S
from probes.report import KmsgAnswer, KmsgAnswers, KmsgQuestion
from tests.support.builders import BOOT, OTHER_BOOT
from tests.support.world import LOST, World


class Kernel:
    """Agents that know which lines their kernels have logged."""

    def __init__(self) -> None:
        self.has: dict[str, KmsgAnswer] = {}  # text -> answer; denied by default
        self.silent = False
        self.boot_id = BOOT
        self.asked: list[tuple[str, tuple[KmsgQuestion, ...]]] = []

    def kernel_log(
        self, node: str, questions: Sequence[KmsgQuestion], *, timeout_s: float
    ) -> KmsgAnswers:
        assert timeout_s == WAIT_S
        self.asked.append((node, tuple(questions)))
        if self.silent:
            raise AgentUnavailable("no answer within the time-out")
        denied = KmsgAnswer(answer="denied", reason="no such record at this uptime")
        answers = tuple(self.has.get(each.text, denied) for each in questions)
        return KmsgAnswers(boot_id=self.boot_id, answers=answers)

    def logs(self, text: str, **how: Any) -> None:
        self.has[text] = KmsgAnswer(**({"answer": "confirmed"} | how))


def heard(kernel: Kernel, text: str = LOST, **rules: Any) -> World:
    """gpu-1's log says so; its agent has not answered yet."""
    world = World(kernel=kernel, **rules)
    world.hear(world.line("gpu-1", text))
    return world


def answered(world: World, name: str = "gpu-1") -> World:
    """The agent's answer is there."""
    assert world.attesting is not None
    world.attesting.answer(name)
    world.turn()
    return world


def record(world: World, name: str = "gpu-1") -> Record:
    (found,) = read_ledger(world.cluster.nodes[name])[0].records
    return found


def test_a_fresh_line_waits_for_the_answer_and_then_acts_attested() -> None:
    kernel = Kernel()
    kernel.logs(LOST)
    world = heard(kernel)
    assert world.tainted() == []
    answered(world)
    assert world.tainted() == ["gpu-1"]
    assert (record(world).trust, record(world).count) == (Trust.ATTESTED, 1)


def test_what_is_asked_is_what_the_log_said() -> None:
    kernel = Kernel()
    answered(heard(kernel))
    ((node, (question,)),) = kernel.asked
    assert (node, question.text, question.boot_id) == ("gpu-1", LOST, "")
    assert question.uptime_us == 100_000_000_000


def test_a_forged_line_is_held_shown_and_told() -> None:
    world = answered(heard(Kernel()))
    assert world.tainted() == []
    assert (record(world).acting, record(world).why) == (False, "Uncorroborated")
    assert world.report.metrics.holds.labels("Uncorroborated")._value.get() == 1
    condition = world.cluster.nodes["gpu-1"].condition
    assert condition is not None
    assert (condition.status, condition.reason) == ("Unknown", "SuspectFault")
    assert "agent denies" in condition.message
    assert any("agent denies" in event.message for event in world.cluster.events.values())
    world.settle()
    assert world.tainted() == []


def test_no_answer_changes_nothing_and_costs_two_seconds() -> None:
    kernel = Kernel()
    kernel.silent = True
    world = heard(kernel)
    world.turn(WAIT_S - 0.1)
    assert world.tainted() == []
    world.turn(0.2)
    assert world.tainted() == ["gpu-1"]
    assert record(world).trust is Trust.KERNEL


def test_an_answer_of_unknown_changes_nothing() -> None:
    kernel = Kernel()
    kernel.logs(LOST, answer="unknown")
    world = answered(heard(kernel))
    assert world.tainted() == ["gpu-1"]


def test_an_answer_of_another_boot_is_none() -> None:
    kernel = Kernel()
    kernel.boot_id = OTHER_BOOT
    world = answered(heard(kernel))
    assert world.tainted() == ["gpu-1"]
    assert record(world).trust is Trust.KERNEL


def test_require_holds_what_is_not_confirmed_and_acts_once_it_is() -> None:
    kernel = Kernel()
    kernel.silent = True
    world = heard(kernel, corroborate=Corroborate.REQUIRE)
    answered(world)
    world.turn(WAIT_S + 1)
    assert (world.tainted(), record(world).why) == ([], "Uncorroborated")
    kernel.silent = False
    kernel.logs(LOST)
    world.clock.advance(60)
    world.hear(world.line("gpu-1"))
    answered(world)
    assert world.tainted() == ["gpu-1"]
    assert record(world).trust is Trust.ATTESTED


def test_a_late_confirmation_lets_act_what_was_held_for_want_of_it() -> None:
    kernel = Kernel()
    kernel.logs(LOST)
    world = heard(kernel, corroborate=Corroborate.REQUIRE)
    world.turn(WAIT_S + 1)
    assert (world.tainted(), record(world).acting) == ([], False)
    answered(world)
    assert world.tainted() == ["gpu-1"]
    assert (record(world).trust, record(world).count) == (Trust.ATTESTED, 1)


def test_require_holds_nodes_without_an_agent() -> None:
    world = World(corroborate=Corroborate.REQUIRE)
    world.hear(world.line("gpu-1"))
    world.settle()
    assert (world.tainted(), record(world).why) == ([], "Uncorroborated")


def test_off_waits_for_nobody() -> None:
    world = heard(Kernel(), corroborate=Corroborate.OFF)
    assert world.tainted() == ["gpu-1"]


def test_without_agents_a_kernel_line_acts_as_before() -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    assert world.tainted() == ["gpu-1"]


@pytest.mark.parametrize(
    ("mode", "tainted"), [(InjectionMode.ACT, True), (InjectionMode.REPORT, False)]
)
def test_a_line_that_a_program_wrote_is_injected_though_the_shipper_did_not_say(
    mode: InjectionMode, tainted: bool
) -> None:
    kernel = Kernel()
    kernel.logs(LOST, injected=True)
    world = answered(heard(kernel, injection=mode))
    assert bool(world.tainted()) is tainted
    assert record(world).injected


def test_the_kernels_own_line_acts_though_a_forger_was_there_first() -> None:
    """With a stamp so high that the true line would look like a replay of it."""
    kernel = Kernel()
    true = LOST.replace("pid=1", "pid=7")
    kernel.logs(true)
    world = World(kernel=kernel)
    world.hear(world.line("gpu-1", ago_s=-400))
    answered(world)
    assert world.tainted() == []
    world.clock.advance(5)
    world.hear(world.line("gpu-1", true))
    answered(world)
    assert world.tainted() == ["gpu-1"]
    assert record(world).trust is Trust.ATTESTED


def test_a_forger_cannot_take_back_what_was_confirmed() -> None:
    kernel = Kernel()
    kernel.logs(LOST)
    world = answered(heard(kernel))
    world.clock.advance(5)
    world.hear(world.line("gpu-1", LOST.replace("pid=1", "pid=666")))
    answered(world)
    assert world.tainted() == ["gpu-1"]
    assert record(world).acting


def test_a_storm_is_few_questions_in_one_request() -> None:
    kernel = Kernel()
    world = World(kernel=kernel)
    world.hear(*(world.line("gpu-1", ago_s=n / 1000) for n in range(5000, 0, -1)))
    answered(world)
    (asked,) = kernel.asked
    assert len(asked[1]) == MOST_QUESTIONS


def test_what_never_acts_is_not_asked_about() -> None:
    kernel = Kernel()
    world = World(kernel=kernel)
    app = "NVRM: Xid (PCI:0000:3b:00): 13, pid=1, name=x, Graphics Exception"
    world.hear(world.line("gpu-1", app), world.line("gpu-2", trust=Trust.POD, pod=True))
    for name in ("gpu-1", "gpu-2"):
        answered(world, name)
    assert kernel.asked == []


def test_a_line_that_was_counted_is_not_asked_about_again() -> None:
    kernel = Kernel()
    kernel.logs(LOST)
    world = heard(kernel)
    answered(world)
    again = world.line("gpu-1", ago_s=30)
    world.hear(again)
    answered(world)
    assert len(kernel.asked) == 1


OTHER = "NVRM: Xid (PCI:0000:86:00): 79, pid=9, name=x, GPU has fallen off the bus."


def test_a_storm_of_one_forged_line_leaves_no_other_unasked() -> None:
    """Else whoever forges enough of one makes the next one act for want of an answer."""
    kernel = Kernel()
    world = World(kernel=kernel)
    storm = [world.line("gpu-1", ago_s=n / 1000) for n in range(MOST_QUESTIONS + 9, 0, -1)]
    world.hear(*storm, world.line("gpu-1", OTHER))
    answered(world)
    assert OTHER in {each.text for each in kernel.asked[0][1]}
    world.turn(WAIT_S + 1)
    assert world.tainted() == []


def test_a_storm_of_a_forged_line_is_counted_whole_and_logged_once() -> None:
    kernel, said = Kernel(), list[str]()
    world = World(kernel=kernel)
    sink = logger.add(lambda message: said.append(message.record["message"]), level="WARNING")
    try:
        world.hear(*(world.line("gpu-1", ago_s=n / 1000) for n in range(5000, 0, -1)))
        answered(world)
    finally:
        logger.remove(sink)
    assert world.attesting is not None
    assert world.attesting.drain_counts()["denied"] == MOST_QUESTIONS
    assert len([each for each in said if "denies a kernel line" in each]) == 1


def test_denied_faults_fill_no_memory_that_the_next_one_would_need() -> None:
    kernel = Kernel()
    world = World(kernel=kernel)
    assert world.attesting is not None
    for bus in range(MOST_KEYS):
        text = OTHER.replace("0000:86", f"{bus // 256 + 1:04x}:{bus % 256:02x}")
        world.hear(world.line("gpu-1", text))
    answered(world)
    world.clock.advance(5)
    world.hear(world.line("gpu-1", OTHER))
    answered(world)
    assert OTHER in {each.text for each in kernel.asked[-1][1]}
    world.turn(WAIT_S + 1)
    assert world.tainted() == []
    assert len(world.attesting.of(["gpu-1"])["gpu-1"]) <= MOST_KEYS
