"""A running controller takes up a changed policy file; a wrong one changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from loguru import logger

from konduktor_health.adapters.policy_file import reader_for
from konduktor_health.adapters.rules_file import judge as judge_rules
from konduktor_health.errors import ConfigError
from konduktor_health.model import Policy
from konduktor_health.runtime.agent_wiring import warn_of_unasked
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.policy import PolicyWatch
from konduktor_health.runtime.rules import RulesWatch
from konduktor_health.runtime.watch import LOOK_S
from konduktor_health.runtime.wiring import _decide_by, _use
from konduktor_health.settings import PolicySettings, Settings
from konduktor_health.treatment import FaultFacts, choose
from parsers import tables
from parsers.fault import Remedy, Severity, Trust
from parsers.tables import Tables
from tests.support.memory_loki import FakeClock
from tests.support.world import World

ONE = "version: 1\nbudget: {max_nodes: 1}\n"
TWO = "version: 1\nbudget: {max_nodes: 2}\n"
NAMES_FAN = "version: 1\nrules: [{name: fan, match: {faults: [kernel/acme-fan]}, mode: observe}]\n"
FAN_RULES = b"""\
version: 1
kernel:
  - fault_id: kernel/acme-fan
    patterns: ['acme_fan [a-z0-9]+: fan [0-9]+ stopped']
    severity: fatal
    remedy: reboot
    meaning: A fan stopped
    examples: [{text: 'acme_fan tray4: fan 2 stopped'}]
"""


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged at WARNING and above."""
    messages: list[str] = []
    logger.remove()
    sink = logger.add(lambda message: messages.append(message.record["message"]), level="WARNING")
    yield messages
    logger.remove(sink)


class Watched:
    """A policy file, and who looks at it."""

    def __init__(
        self, folder: Path, content: str = ONE, settings: Settings | None = None,
        read: Tables | None = None,
    ) -> None:  # fmt: skip
        self.path = folder / "policy.yaml"
        self.path.write_text(content)
        self.clock = FakeClock(0)
        self.metrics = Metrics()
        self.used: list[Policy] = []
        self.watch = PolicyWatch(
            self.path, reader_for(settings or Settings(), read),
            clock=self.clock, metrics=self.metrics,
        )  # fmt: skip
        self.watch.on_change(self.used.append)

    def look(self) -> int:
        """How many policies have been told, after the next look."""
        self.clock.advance(LOOK_S)
        self.watch.look()
        return len(self.used)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"konduktor_health_{name}", labels) or 0.0


def test_a_changed_file_is_taken_up_at_the_next_look(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.watch.said.budget_max_nodes == 1
    watched.path.write_text(TWO)
    assert watched.look() == 1
    assert watched.used[0].budget_max_nodes == 2
    assert watched.look() == 1, "unchanged"
    assert watched.value("policy_loads_total", outcome="ok") == 2


@pytest.mark.parametrize("content", ["version: 2\n", "", "budget: [", None])
def test_a_file_that_is_wrong_or_gone_changes_nothing_and_is_told_once(
    tmp_path: Path, said: list[str], content: str | None
) -> None:
    watched = Watched(tmp_path)
    before = watched.watch.said
    if content is None:
        watched.path.unlink()
    else:
        watched.path.write_text(content)
    assert [watched.look() for _ in range(3)] == [0, 0, 0]
    assert watched.watch.said is before
    assert len(said) == 1
    assert str(watched.path) in said[0]
    assert "the policy before it holds" in said[0]
    assert watched.value("policy_broken") == 1
    assert watched.value("policy_loads_total", outcome="failed") == 1
    watched.path.write_text(TWO)
    assert watched.look() == 1
    assert watched.value("policy_broken") == 0


def test_a_wrong_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="version: not known"):
        Watched(tmp_path, "version: 2\n")
    with pytest.raises(ConfigError, match="No such file"):
        PolicyWatch(
            tmp_path / "none", reader_for(Settings()), clock=FakeClock(0), metrics=Metrics()
        )


def test_settings_that_were_given_hold_where_the_file_says_nothing(tmp_path: Path) -> None:
    settings = Settings(policy=PolicySettings(budget_percent=50.0, observe=("xid/79",)))
    policy = Watched(tmp_path, "version: 1\npreset: conservative\n", settings).watch.said
    assert (policy.budget_percent, policy.budget_max_nodes) == (50.0, 5)
    assert list(policy.observe) == ["xid/79"]


def test_a_held_node_is_decided_again_when_the_policy_changes(tmp_path: Path) -> None:
    """It carries a ledger and nothing about the fleet has changed."""
    watched = Watched(tmp_path)
    world = World()
    watched.watch.on_change(partial(_decide_by, world.loop))
    _decide_by(world.loop, watched.watch.said)
    world.loop.files = (watched.watch,)
    world.hear(world.line("gpu-1"), world.line("gpu-2"))
    world.settle()
    assert world.tainted() == ["gpu-1"]
    assert world.reason("gpu-2") == "BudgetExhausted"
    watched.path.write_text(TWO)
    watched.clock.advance(LOOK_S)
    world.turn(1)
    assert world.tainted() == ["gpu-1", "gpu-2"]


def test_the_window_of_a_surge_follows_the_policy(tmp_path: Path) -> None:
    world = World(nodes=60)
    world.hear(*(world.line(f"gpu-{n}") for n in range(4)))
    _decide_by(world.loop, Watched(tmp_path, "version: 1\nsurge: {window: 1m}\n").watch.said)
    world.turn(120)
    assert world.observer.fatal_sightings(world.clock.now_ns()) == {}


def test_tables_without_a_fault_that_the_policy_names_are_refused(tmp_path: Path) -> None:
    with_fan = judge_rules(FAN_RULES).recorded
    watched = Watched(tmp_path, NAMES_FAN, read=with_fan)
    world = World()
    world.loop.files = (watched.watch,)
    before = world.loop.situation
    with pytest.raises(ConfigError, match="no such fault"):
        _use(Settings(), world.loop, [], tables.recorded(), watched.watch)
    assert world.loop.situation is before
    _use(Settings(), world.loop, [], with_fan, watched.watch)
    assert world.loop.situation.policy.rules[1].name == "fan"


def test_a_file_that_waits_for_new_tables_is_taken_up_after_them(
    tmp_path: Path, said: list[str]
) -> None:
    """Both files change, and the policy is looked at first."""
    watched = Watched(tmp_path)
    world = World()
    world.loop.files = (watched.watch,)
    watched.path.write_text(NAMES_FAN)
    assert watched.look() == 0
    assert "no such fault" in said[0]
    _use(Settings(), world.loop, [], judge_rules(FAN_RULES).recorded, watched.watch)
    assert world.loop.situation.policy.budget_max_nodes == 1, "the file in use, over new tables"
    assert watched.look() == 1
    assert watched.used[0].rules[1].name == "fan"


def test_a_condition_that_fails_is_counted_and_told_once(tmp_path: Path, said: list[str]) -> None:
    when = '"odd" in labels && labels["odd"].size() / (labels.size() - 2) > 0'
    text = f"version: 1\nrules: [{{name: x, match: {{when: '{when}'}}, mode: observe}}]\n"
    watched = Watched(tmp_path, text)
    facts = FaultFacts(
        "xid/79", Severity.FATAL, Remedy.REBOOT, "", Trust.KERNEL, False, {"odd": "1", "b": "2"}
    )
    for _ in range(3):
        assert choose(watched.watch.said.rules, facts).name == "fatal"
    assert watched.value("policy_condition_errors_total") == 3
    (message,) = said
    assert "counts as not met: INVALID_ARGUMENT: divide by zero" in message


def test_rules_refused_for_what_the_policy_named_are_taken_once_it_names_it_no_longer(
    tmp_path: Path,
) -> None:
    """Both files lie in one ConfigMap, and change at once."""
    rules_path = tmp_path / "rules.yaml"
    rules_path.write_bytes(FAN_RULES)
    with_fan = judge_rules(FAN_RULES).recorded
    watched = Watched(tmp_path, NAMES_FAN, read=with_fan)
    rules = RulesWatch(rules_path, clock=watched.clock, metrics=watched.metrics)
    world = World()
    rules.on_change(partial(_use, Settings(), world.loop, [], watch=watched.watch))
    watched.watch.on_change(partial(_decide_by, world.loop, rules=rules))
    world.loop.files = (rules, watched.watch)
    rules_path.write_text("version: 1\n")
    watched.path.write_text(ONE)
    for _ in range(3):
        watched.clock.advance(LOOK_S)
        world.turn(1)
    assert watched.value("rules_broken") == 0
    assert rules.tables.kernel.rule("kernel/acme-fan") is None


def test_what_is_on_the_nodes_is_decided_again_when_the_rules_change() -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    world.settle()
    _use(Settings(), world.loop, [], tables.recorded())
    assert "gpu-1" in world.agenda.due(world.fleet.generation(), frozenset())


def test_the_window_of_domains_follows_the_policy(tmp_path: Path) -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    assert world.observer.kinds.now(world.clock.now_ns())
    _decide_by(world.loop, Watched(tmp_path, "version: 1\nsurge: {window: 1m}\n").watch.said)
    world.clock.advance(61)
    assert not world.observer.kinds.now(world.clock.now_ns())


def test_what_will_not_do_what_it_says_is_told_when_it_is_taken_up(
    tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nrules: [{name: look, mode: observe, verify: [invasive]}]\n")
    settings = Settings.model_validate({"probes": {"invasive_interval_s": 0}})
    PolicyWatch(path, reader_for(settings), clock=FakeClock(0), metrics=Metrics())
    [warning] = said
    assert f"{path}:2:46: rules[0].verify[0]: it is never measured: nobody runs" in warning


def test_rules_of_the_preset_that_never_clear_are_named(said: list[str]) -> None:
    warn_of_unasked(Policy(), Settings.model_validate({"probes": {"invasive_interval_s": 0}}))
    [warning] = said
    assert warning.startswith("rules ")
    assert "fatal" in warning
    assert "neither Jobs (probes.jobs.enabled) nor the agents by themselves" in warning
    said.clear()
    for quiet in ({}, {"enabled": False}, {"jobs": {"enabled": True, "image": "i"}}):
        warn_of_unasked(Policy(), Settings.model_validate({"probes": quiet}))
    assert said == []
