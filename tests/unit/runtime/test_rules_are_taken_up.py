"""A running controller takes up a changed rules file; a wrong one changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from loguru import logger

from konduktor_health.adapters.loki import LokiClient, LokiSource, literals_for
from konduktor_health.adapters.loki.presets import spec
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ConfigError
from konduktor_health.runtime import rules as rules_module
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.rules import LOOK_S, RulesWatch
from konduktor_health.runtime.wiring import _use
from konduktor_health.settings import PolicySettings, Settings, SourceSettings
from parsers import tables
from parsers.record import unwrap
from parsers.tables import Tables
from tests.support.loki_world import World as LokiWorld
from tests.support.memory_loki import FakeClock, line
from tests.support.world import World

FAN = "acme_fan tray4: fan 2 stopped"
LOST = (
    "NVRM: The NVIDIA GPU 0000:3b:00.0",
    "NVRM: (PCI ID: 10de:2330) installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
)
NOTHING = "version: 1\n"
RULES = """\
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
    """A rules file, and who looks at it."""

    def __init__(self, folder: Path, content: str = NOTHING) -> None:
        self.path = folder / "rules.yaml"
        self.path.write_text(content)
        self.clock = FakeClock(0)
        self.metrics = Metrics()
        self.used: list[Tables] = []
        self.watch = RulesWatch(self.path, clock=self.clock, metrics=self.metrics)
        self.watch.on_change(self.used.append)

    def look(self, after_s: float = LOOK_S) -> int:
        """How many tables have been told, after a look so much later."""
        self.clock.advance(after_s)
        self.watch.look()
        return len(self.used)

    def broken(self) -> float:
        return self.metrics.registry.get_sample_value("konduktor_health_rules_broken") or 0.0

    def loads(self, outcome: str) -> float:
        name = "konduktor_health_rules_loads_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


def test_a_changed_file_is_taken_up_at_the_next_look_and_not_before(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.path.write_text(RULES)
    assert watched.look(LOOK_S - 0.1) == 0
    assert watched.look(0.1) == 1
    assert "acme_fan" in watched.used[0].literals
    assert watched.look() == 1, "unchanged"
    assert (watched.loads("ok"), watched.loads("failed")) == (2, 0)


def test_a_mount_that_swaps_its_links_is_a_change_whatever_its_times_say(tmp_path: Path) -> None:
    for name, content in (("first", NOTHING), ("second", RULES)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yaml").write_text(content)
        os.utime(tmp_path / name / "rules.yaml", (1, 1))
    (tmp_path / "data").symlink_to("first")
    watch = RulesWatch(tmp_path / "data/rules.yaml", clock=FakeClock(0), metrics=Metrics())
    used: list[Tables] = []
    watch.on_change(used.append)
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").rename(tmp_path / "data")
    watch._looked_s -= LOOK_S
    watch.look()
    assert len(used) == 1


@pytest.mark.parametrize("content", ["version: 2\n", "kernel: [", None])
def test_a_wrong_or_missing_file_changes_nothing_and_is_said_once(
    tmp_path: Path, said: list[str], content: str | None
) -> None:
    watched = Watched(tmp_path, RULES)
    before = watched.watch.tables
    if content is None:
        watched.path.unlink()
    else:
        watched.path.write_text(content)
    assert [watched.look() for _ in range(3)] == [0, 0, 0]
    assert watched.watch.tables is before
    assert len(said) == 1
    assert str(watched.path) in said[0]
    assert "the rules before it hold" in said[0]
    assert (watched.broken(), watched.loads("failed")) == (1, 1)
    watched.path.write_text(RULES)
    assert watched.look() == 1
    assert watched.broken() == 0


def test_a_bug_in_the_checks_keeps_nobody_from_the_logs(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path)

    def judge(_content: bytes) -> None:
        raise RecursionError("bug")

    monkeypatch.setattr(rules_module, "judge", judge)
    watched.path.write_text(RULES)
    assert [watched.look() for _ in range(3)] == [0, 0, 0]
    assert watched.broken() == 1
    assert len(said) == 2  # with its traceback, and what follows from it


def test_a_wrong_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="version: not 1"):
        Watched(tmp_path, "version: 2\n")
    with pytest.raises(ConfigError, match="No such file"):
        RulesWatch(tmp_path / "none", clock=FakeClock(0), metrics=Metrics())


def test_the_loop_looks_and_the_next_line_is_judged_by_the_new_rules(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "rules.yaml"
    path.write_text(NOTHING)
    watch = RulesWatch(path, clock=world.clock, metrics=world.report.metrics)
    watch.on_change(world.observer.use)
    world.loop.files = (watch,)
    world.hear(world.line("gpu-1", FAN))
    assert world.tainted() == []
    path.write_text(RULES)
    world.turn(LOOK_S)
    assert world.tainted() == [], "what was read before is not judged again"
    world.hear(world.line("gpu-2", FAN))
    assert world.tainted() == ["gpu-2"]
    path.write_text(NOTHING)
    world.turn(LOOK_S)
    world.hear(world.line("gpu-3", FAN))
    assert world.tainted() == ["gpu-2"], "and its record stays"


def test_what_is_half_assembled_survives_a_change_of_rules(tmp_path: Path) -> None:
    world = World()
    watched = Watched(tmp_path, RULES)
    world.hear(*(world.line("gpu-1", text) for text in LOST[:2]))
    world.observer.use(watched.watch.tables)
    world.hear(world.line("gpu-1", LOST[2]))
    assert world.tainted() == ["gpu-1"]


def test_a_source_asks_for_the_new_texts_from_the_next_read_on() -> None:
    world = LokiWorld()
    world.source.ask_for(("old",))
    world.loki.put(line(world.ago(5), "an old text"), line(world.ago(5), "a new text"))
    assert world.poll() == ["an old text"]
    world.source.ask_for(("old", "new"))
    world.loki.put(line(world.ago(0), "another new text"))
    assert world.poll() == ["a new text", "another new text"], "the overlap has the first"
    assert world.polls(3600) == []


def test_decoders_change_before_what_is_read_does(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Source(LokiSource):
        def ask_for(self, literals: Sequence[str]) -> None:
            order.append("source")
            super().ask_for(literals)

    settings = Settings()
    client = LokiClient(settings.loki, clock=SystemClock(), stop=threading.Event())
    one = spec(SourceSettings(preset="kmsg"), ())
    source = Source(
        client, one, settings.reading, clock=FakeClock(0), literals=("a",), unwrap=unwrap
    )
    order.clear()  # a source asks for its first literals when it is made
    world = World()
    monkeypatch.setattr(Observer, "use", lambda _self, *_args: order.append("observer"))
    _use(settings, world.loop, [source], tables.recorded())
    assert order == ["observer", "source"]


def test_a_rule_in_observation_taints_nothing_until_the_file_says_so(tmp_path: Path) -> None:
    world = World()
    doubted = RULES.replace("    severity:", "    observe: new here\n    severity:")
    for content, name, tainted in ((doubted, "gpu-1", []), (RULES, "gpu-2", ["gpu-2"])):
        _use(Settings(), world.loop, [], Watched(tmp_path, content).watch.tables)
        world.hear(world.line(name, FAN))
        assert world.tainted() == tainted


def test_tables_without_a_fault_that_the_settings_name_are_refused(
    tmp_path: Path, said: list[str]
) -> None:
    world = World()
    settings = Settings(policy=PolicySettings(observe=("kernel/acme-fan",)))
    watched = Watched(tmp_path, RULES)
    watched.watch.on_change(partial(_use, settings, world.loop, []))
    before = world.loop.situation
    watched.path.write_text(NOTHING)
    watched.look()
    assert world.loop.situation is before
    assert "acme_fan" in watched.watch.tables.literals
    assert watched.broken() == 1
    assert "kernel/acme-fan" in said[0]


def test_a_source_without_a_rule_is_never_asked_for_every_line(tmp_path: Path) -> None:
    silent = "".join(
        f"  {rule.fault_id}: {{severity: info}}\n" for rule in tables.shipped().pod.rules
    )
    watched = Watched(tmp_path, f"version: 1\nentries:\n{silent}")
    assert watched.watch.tables.pod_literals == ()
    assert (
        len(literals_for(spec(SourceSettings(preset="pods"), ("default",)), watched.watch.tables))
        == 1
    )
