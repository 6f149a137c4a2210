"""What does ``konduktor-probe list`` print? The checks that can be run."""

from __future__ import annotations

import argparse
import json
import sys

from probes.check import CheckSpec
from probes.commands.checks import add_catalog_options, catalog, tier
from probes.commands.table import print_table

DESCRIPTION = """\
List the checks: what each asks, its tier (what it asks of the node), its cadence (how often the
agent runs it by itself) and its deadline.
"""
EPILOG = """\
exit codes: 0 done, 1 the output cannot be written, 2 wrong usage
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_catalog_options(parser)
    parser.add_argument("--json", action="store_true", help="a JSON list on standard output")


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Print the list; returns the exit code."""
    wanted = tier(arguments)
    specs = [
        spec for spec in catalog(parser, arguments).specs() if wanted is None or spec.tier is wanted
    ]
    try:
        if arguments.json:
            print(json.dumps([_as_json(spec) for spec in specs], indent=2, ensure_ascii=False))
        else:
            head = ("check", "tier", "cadence", "deadline", "question")
            print_table(head, [_row(spec) for spec in specs])
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"konduktor-probe list: the output cannot be written: {error.strerror}\n")
        return 1
    return 0


def _as_json(spec: CheckSpec) -> dict[str, object]:
    """As ``probes.report.CheckInfo``, without what only an agent knows."""
    return {
        "name": spec.name,
        "title": spec.title,
        "tier": spec.tier.value,
        "cadence": spec.cadence.value,
        "deadline_s": spec.deadline_s,
        "needs_idle_gpus": spec.needs_idle_gpus,
    }


def _row(spec: CheckSpec) -> tuple[str, ...]:
    idle = " (needs idle GPUs)" if spec.needs_idle_gpus else ""
    cadence = spec.cadence.value
    return (spec.name, spec.tier.value, cadence, f"{spec.deadline_s:g} s", spec.title + idle)
