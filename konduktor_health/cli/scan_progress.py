"""How far has the scan of a large file come? A bar on standard error, where somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from konduktor_health.cli.scan import Watch

#: A smaller file is done before anybody has read the bar.
LEAST_BYTES = 64 << 20
_EVERY_S = 0.1


@contextmanager
def progress(*, keep_lines_whole: bool) -> Iterator[Watch | None]:
    """What to tell the bytes read to; None where no bar can be shown.

    On one terminal with the output, the output goes above the bar and is wrapped at its width:
    ``keep_lines_whole`` is for output that must not be.
    """
    shared = sys.stdout.isatty()
    console = Console(stderr=True)
    if not console.is_terminal or (shared and keep_lines_whole):
        yield None
        return
    bar = Progress(
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
        redirect_stdout=shared,
        redirect_stderr=False,
    )
    shown = _Shown(bar)
    try:
        yield shown.watch
    finally:
        bar.stop()


class _Shown:
    """Starts the bar with the first news of a large file, and moves it now and then."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._next = 0.0

    def watch(self, done: int, size: int) -> None:
        """Tell how many bytes of how many were read."""
        if size < LEAST_BYTES or (now := time.monotonic()) < self._next:
            return
        if not self._bar.tasks:
            self._bar.add_task("scan", total=size)
            self._bar.start()
        self._next = now + _EVERY_S
        self._bar.update(self._bar.tasks[0].id, completed=done, refresh=True)
