"""``konduktor-health scan``: the faults in any log, or in Loki's past; never acts."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from konduktor_health.cli import options
from konduktor_health.cli.scan import STDIN, scan_files
from konduktor_health.cli.scan_progress import progress
from konduktor_health.cli.scan_show import render_jsonl, render_table
from konduktor_health.cli.scan_summary import NOTHING, render_summary
from konduktor_health.cli.times import seconds as seconds_of
from konduktor_health.clock import NS, SystemClock
from konduktor_health.errors import ConfigError, HealthError
from konduktor_health.settings import Settings
from parsers.decode import Decoder
from parsers.printable import printable
from parsers.record import unwrap
from parsers.scan import ScanHit
from parsers.tables import Tables

PIPE_WIDTH = 250  # columns, when there is no terminal to fit


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSONL = "jsonl"
    SUMMARY = "summary"


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Log files, the oldest first; packed or not; - (the default) is stdin.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
    loki: Annotated[bool, typer.Option("--loki", help="Read Loki instead of a file.")] = False,
    since: Annotated[str, typer.Option("--since", help="With --loki: 90s, 15m, 6h, 2d.")] = "1h",
    rules: options.Rules = None,
    config: options.Config = None,
    log_endpoint: options.LogEndpoint = None,
) -> None:
    """Print the faults in logs. Exit code 0 whether there are any or not, 2 where not all could
    be read.

    Reads dmesg, kern.log, journalctl -o json or export, logcli, Loki's and Grafana's JSON, and
    lines of any shipper; packed with gzip, xz or bzip2; of any size.
    """
    if loki and files:
        raise ConfigError("--loki and log files", hint="one or the other")
    settings = options.load(config, log_endpoint=log_endpoint)
    read = options.shown(rules or settings.rules_file)
    if loki:
        found = _from_loki(settings, seconds_of(since, "--since"), read)
        _show((("", hit) for hit in found), output, read)()
        return
    paths = files or [STDIN]
    if STDIN in paths and sys.stdin is None:
        raise ConfigError("standard input is closed", hint="name a log file")
    with progress(keep_lines_whole=output is Output.JSONL) as watch:
        stdin = sys.stdin.buffer if STDIN in paths else io.BytesIO()
        end = _show(scan_files(paths, stdin, watch, read), output, read)
    end()


def _show(hits: Iterable[tuple[str, ScanHit]], output: Output, read: Tables) -> Callable[[], None]:
    """Read all, and show what is shown as it is found; returns what shows the rest, once there is
    no bar."""
    if output is Output.SUMMARY:
        return _summary(hits, read)
    if output is Output.JSONL:
        for file, hit in hits:
            sys.stdout.write(render_jsonl(hit, file) + "\n")
        sys.stdout.flush()
    else:
        console = Console()
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        render_table(hits, console)
    return lambda: None


def _summary(hits: Iterable[tuple[str, ScanHit]], read: Tables) -> Callable[[], None]:
    """As ``_show``. What was found stays worth telling where not all could be read."""
    ended: list[HealthError] = []

    def readable() -> Iterator[tuple[str, ScanHit]]:
        try:
            yield from hits
        except HealthError as error:
            ended.append(error)

    summary = render_summary(readable(), read)

    def tell() -> None:
        if not ended:
            typer.echo(summary)
            return
        if summary != NOTHING:
            typer.echo(f"{summary}\n\nnot known: what is in the part that could not be read")
        raise ended[0]

    return tell


def _from_loki(settings: Settings, seconds: int, read: Tables) -> Iterator[ScanHit]:
    """Faults that Loki holds; line numbers count the matching lines."""
    from konduktor_health.adapters.loki import (
        LokiClient,
        build_specs,
        for_cluster,
        history,
        literals_for,
    )

    clock = SystemClock()
    end_ns = clock.now_ns()
    client = LokiClient(settings.loki, clock=clock)
    number = 0
    for each in build_specs(settings):
        spec = for_cluster(each, settings.reading)
        decoder = Decoder(read)
        literals = literals_for(spec, read)
        start_ns = end_ns - seconds * NS
        for entry in history(client, spec, start_ns, end_ns, literals=literals, unwrap=unwrap):
            number += 1
            feed = decoder.feed_pod if spec.pod else decoder.feed
            for fault in feed(entry.record, entry.node_name, entry.time_ns):
                node = printable(entry.node_name, 253)
                known = replace(fault, node=node, time_ns=entry.time_ns, source=entry.source)
                yield ScanHit(number, known)
