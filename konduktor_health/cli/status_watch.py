"""How does ``status --watch`` go on? A terminal is repainted; elsewhere what is new is appended.

A cluster that does not answer for a while ends nothing: it is told, and asked again. Ctrl-C ends
it, and so does SIGTERM: either way the terminal gets its screen back.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import typer
from rich.live import Live

from konduktor_health.cli.status_rows import Choice, Fleet, fleet_as_json, fleet_text, rows, shown
from konduktor_health.cli.status_show import frame
from konduktor_health.cli.times import when
from konduktor_health.clock import Clock
from konduktor_health.errors import TransientError
from konduktor_health.runtime.log import printable

Look = Callable[[], Fleet]


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within, SIGTERM is what Ctrl-C is: KeyboardInterrupt, once, so that what is open is closed.
    Main thread only."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would disturb the closing
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def follow(
    look: Look, show: Callable[[Fleet, str], None], clock: Clock, every_s: float, first: Fleet
) -> None:
    """Show what ``look`` gives, every so many seconds, until Ctrl-C. Raises what is no passing
    failure; of one that is, ``show`` gets the words with the fleet last seen."""
    never = threading.Event()
    fleet, note = first, ""
    while True:
        show(fleet, note)
        clock.wait(never, every_s)
        try:
            fleet, note = look(), ""
        except TransientError as error:
            note = printable(f"{when(clock.now_ns())} not read: {error}")


@dataclass(slots=True)
class Painted:
    """On a terminal: the whole screen, time after time."""

    choice: Choice
    live: Live

    def show(self, fleet: Fleet, note: str) -> None:
        """Paint it anew, at the size that the terminal has now."""
        painted = frame(fleet, self.choice, self.live.console.height, note=note)
        self.live.update(painted, refresh=True)


@dataclass(slots=True)
class Lines:
    """Elsewhere: a line for each row and sum that was not there at the last look."""

    choice: Choice
    _rows: frozenset[tuple[str, ...]] = frozenset()
    _nodes: frozenset[str] = frozenset()
    _sums: str = ""
    _note: str = ""

    def show(self, fleet: Fleet, note: str) -> None:
        """Append what is new."""
        if note:
            if not self._note:  # once, not at every look
                print(f"error: {note}", file=sys.stderr, flush=True)
            self._note = note
            return
        self._note = ""
        stamp = when(fleet.now_ns)
        stories = shown(fleet, self.choice)
        found = rows(stories, lambda ns: when(ns) or "", wide=self.choice.wide)
        for row in found:
            if row not in self._rows:
                typer.echo("  ".join((str(stamp), *row)))
        left = self._nodes - {story.node for story in stories}
        managed = {story.node: story.verdict.value for story in fleet.stories}
        for node in sorted(left):
            typer.echo(f"{stamp}  {node}  {managed.get(node, 'gone, or no longer managed')}")
        sums = fleet_text(fleet)
        if sums != self._sums:
            typer.echo(f"{stamp}  {sums}")
        self._rows, self._sums = frozenset(found), sums
        self._nodes = frozenset(story.node for story in stories)


@dataclass(slots=True)
class JsonLines:
    """Elsewhere, as JSON: one object a line, whenever anything but the time has changed."""

    choice: Choice
    _last: dict[str, object] = field(default_factory=dict)
    _note: str = ""

    def show(self, fleet: Fleet, note: str) -> None:
        """Append the fleet if it is another."""
        if note and not self._note:
            print(f"error: {note}", file=sys.stderr, flush=True)
        self._note = note
        whole = fleet_as_json(fleet, shown(fleet, self.choice))
        content = {name: value for name, value in whole.items() if name != "time"}
        if content != self._last:
            typer.echo(json.dumps(whole, ensure_ascii=False, separators=(",", ":")))
            self._last = content
