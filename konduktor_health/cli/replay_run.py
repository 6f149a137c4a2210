"""A replay as it was asked for on the command line: what is read, played, and shown.

Apart from the command itself, so that its imports slow no other command.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from konduktor_health.cli import options
from konduktor_health.cli.replay_aside import Polls, passages_of
from konduktor_health.cli.replay_export import AsCsv, AsJson, Writes
from konduktor_health.cli.replay_input import from_loki, nodes_in
from konduktor_health.cli.replay_policy import Named, chosen, other
from konduktor_health.cli.replay_show import AsTable, show_report
from konduktor_health.cli.replay_sums import Played, difference, lines_of, not_known, sums
from konduktor_health.cli.replay_window import Window, seconds_of, window
from konduktor_health.cli.scan import STDIN, Watch
from konduktor_health.cli.scan_progress import progress
from konduktor_health.cli.times import when
from konduktor_health.clock import NS, SystemClock
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.replay.heard import Told
from konduktor_health.runtime.replay.passage import Passage, one_by_one
from konduktor_health.runtime.replay.past_nodes import Inventory, at_the_start
from konduktor_health.runtime.replay.player import Assumed, Player, play_one
from konduktor_health.settings import Settings
from parsers import tables
from parsers.tables import Tables

PIPE_WIDTH = 200  # columns, when there is no terminal to fit


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options, as they were given."""

    settings: Settings
    files: list[str] | None = None  # None: Loki
    since: str | None = None
    start: str | None = None
    end: str | None = None
    policy: Path | None = None
    preset: str | None = None
    compare: str | None = None
    nodes: Path | None = None
    fleet_size: int = 0
    reset_after: str | None = None
    rules: Path | None = None


def run(asked: Asked, output: str, output_file: Path | None) -> None:
    """Play it, and tell it in this form. Raises ConfigError and errors of Loki."""
    settings = asked.settings
    rules = asked.rules or settings.rules_file
    site = options.rules(rules)
    read = tables.recorded() if site is None else site.recorded
    named = [chosen(settings, read, asked.policy, asked.preset)]
    if asked.compare is not None:
        named.append(other(settings, read, asked.compare))
    loki = asked.files is None
    now_ns = SystemClock().now_ns()
    wanted = window(asked.since, asked.start, asked.end, loki=loki, now_ns=now_ns)
    listed = None if asked.nodes is None else nodes_in(asked.nodes, settings)
    passing = {settings.keys().health, *(one.policy.pauses.driver_upgrade_label for one in named)}
    after = asked.reset_after
    replay = Replay(
        settings=settings,
        read=read,
        rules=rules,
        named=_distinct(named),
        inventory=Inventory(
            () if listed is None else at_the_start(listed, passing),
            listed is not None,
            asked.fleet_size,
        ),
        assumed=Assumed(None if after is None else seconds_of("--reset-after", after) * NS),
        window=wanted,
    )
    several = len(named) > 1
    with _opened(output_file) as file:
        writer = _writer(output, file, several=several)
        files = None if asked.files is None else asked.files or [STDIN]
        replay.play(files, writer, whole=output != "table")
        writer.end(replay.report)
    if output_file is not None:
        show_report(replay.report(), _console(None))


@dataclass(slots=True)
class Replay:
    """One run: what is played, how, and what came of it."""

    settings: Settings
    read: Tables
    rules: Path | None  # file that these are made by; None: the shipped ones
    named: list[Named]
    inventory: Inventory
    assumed: Assumed
    window: Window
    told: Told = field(default_factory=Told)
    played: list[Played] = field(default_factory=list)
    end_ns: int = 0

    def play(self, files: list[str] | None, writer: Writes, *, whole: bool) -> None:
        """Read it all, and tell moments as they happen. Raises ConfigError and errors of Loki."""
        poll_ns = max(1, int(self.settings.reading.poll_interval_s * NS))
        start_ns, end_ns = self.window.start_ns, self.window.end_ns
        last_ns = 0
        with (
            progress(keep_lines_whole=whole) as watch,
            closing(self._passages(files, watch, Polls(poll_ns, start_ns, end_ns))) as passages,
        ):
            for passage in passages:
                if not self.played:
                    self._begin(start_ns or passage.first_ns, writer)
                last_ns = max(play_one(passage, [each.player for each in self.played]))
        if not self.played:
            self._begin(start_ns or 1, writer)
        self.end_ns = max(last_ns, self.window.to_ns or 0)
        for each in self.played:
            each.player.end(self.end_ns)

    def _passages(
        self, files: list[str] | None, watch: Watch | None, polls: Polls
    ) -> Generator[Passage, None, None]:
        told = self.told
        if files is None:
            start_ns, end_ns = polls.start_ns or 0, polls.end_ns or 0
            with closing(from_loki(self.settings, start_ns, end_ns, self.read, watch)) as entries:
                yield from one_by_one(polls.of(entries, told))
            return
        if STDIN in files and sys.stdin is None:
            raise ConfigError("standard input is closed", hint="name a log file")
        stdin = sys.stdin.buffer if STDIN in files else io.BytesIO()
        yield from passages_of(files, stdin, watch, self.read, self.rules, polls, told)

    def report(self) -> dict[str, Any]:
        """The sums, and what could not be known."""
        played = self.played
        report: dict[str, Any] = {
            "from": when(played[0].player.start_ns) if self.told.lines else None,
            "to": when(self.end_ns),
            "lines": lines_of(self.told),
            "policies": [sums(each) for each in played],
        }
        if len(played) > 1:
            report["difference"] = difference(played[0], played[1])
        report["not_known"] = not_known(
            self.told,
            played,
            listed=self.inventory.only,
            sized=self.inventory.size > 0,
        )
        return report

    def _begin(self, start_ns: int, writer: Writes) -> None:
        self.played = [
            Played(
                one.name,
                Player(
                    one.policy,
                    self.inventory,
                    start_ns,
                    partial(writer.moment, one.name),
                    self.assumed,
                    self.read,
                ),
            )
            for one in self.named
        ]


def _distinct(named: list[Named]) -> list[Named]:
    """Two policies of one name are told apart."""
    if len(named) == 2 and named[0].name == named[1].name:
        return [named[0], Named(f"{named[1].name} (2)", named[1].policy)]
    return named


def _writer(output: str, file: TextIO | None, *, several: bool) -> Writes:
    if output == "json":
        return AsJson(file or sys.stdout)
    if output == "csv":
        return AsCsv(file or sys.stdout)
    return AsTable(_console(file), several=several, moments=output == "table")


def _console(file: TextIO | None) -> Console:
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="--output-file") from error
    with file:
        yield file
