"""What does ``konduktor-probe run`` do? The checks of one run, by hand or in a Job."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import signal
import sys
import uuid
from collections.abc import Iterator

from rich.console import Console

from parsers.printable import printable
from probes.check import NodeFacts
from probes.commands.checks import (
    add_backend_option,
    add_catalog_options,
    backend_environ,
    catalog,
    tier,
)
from probes.commands.deliver import Delivery, DeliveryError
from probes.commands.facts import FactsError, read_facts
from probes.commands.kept import Kept
from probes.commands.results import bar, exit_code, print_results
from probes.kmsg.command import node_name, read_boot_id
from probes.processes.seen import Processes
from probes.report import Run
from probes.runner.catalog import Catalog
from probes.runner.order import Order, Ran, RunStopped
from probes.runner.run import Runner
from probes.runner.stuck import StuckProcesses

DESCRIPTION = """\
Run checks once, each in the time that it is allowed, and print what was found. Name checks, or a
tier, or both.
"""
EPILOG = """\
exit codes: 0 all passed (or warned), 1 it cannot work or write its output, 2 wrong usage,
  3 something failed, 4 nothing failed but something was not measured (skip, error, timeout),
  130 and 143 ended by Ctrl-C and SIGTERM: nothing of the run counts

examples:
  konduktor-probe run --tier light                 all that can run beside a workload
  konduktor-probe run gpu-count driver --json
  konduktor-probe run iperf3 --option iperf3.server=10.0.0.7
"""
_OPTION = re.compile(r"([a-z0-9-]{1,63}\.[A-Za-z0-9_.-]{1,64})=(.*)", re.DOTALL)
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="names, as `list` prints them")
    add_catalog_options(parser)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="CHECK.NAME=VALUE",
        help="an option of a check; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="the run as JSON on standard output")
    add_backend_option(parser)
    parser.add_argument(
        "--root",
        default="/",
        metavar="DIR",
        help="where /sys, /proc, /dev and /etc of the node are (%(default)s)",
    )
    parser.add_argument(
        "--node", default="", help="node name (environment NODE_NAME, else the host name)"
    )
    parser.add_argument(
        "--settings",
        default="",
        metavar="FILE",
        help="what the controller told the agent of the node: settings.json of its directory",
    )
    parser.add_argument(
        "--state",
        default="",
        metavar="DIR",
        help="keep here what checks compare with the next time; not the agent's own directory",
    )
    parser.add_argument(
        "--deliver",
        default="",
        metavar="DIR",
        help="also write the run as RUN_ID.json here, for the agent to take it up",
    )
    parser.add_argument(
        "--ok-when-delivered",
        action="store_true",
        help="exit code 0 once the run was delivered, whatever it found; for Jobs",
    )
    parser.add_argument("--run-id", default="", metavar="ID", help="default: a random one")
    parser.add_argument(
        "--reason", default="by hand", metavar="TEXT", help="why it runs (%(default)s)"
    )


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run the checks; returns the exit code."""
    known = catalog(parser, arguments)
    names = _chosen(parser, arguments, known)
    options = _options(parser, arguments, names)
    if arguments.run_id and not _RUN_ID.fullmatch(arguments.run_id):
        parser.error("--run-id: letters, digits, '.', '_' and '-' only, at most 64")
    if arguments.ok_when_delivered and not arguments.deliver:
        parser.error("--ok-when-delivered needs --deliver DIR")
    if not os.path.isdir(arguments.root):
        parser.error(f"--root {printable(arguments.root, 80)}: no such directory")
    try:
        facts = _facts(arguments)
        delivery = Delivery(arguments.deliver) if arguments.deliver else None
        boot_id = read_boot_id()
        kept = Kept(arguments.state, boot_id)
        order = Order(
            run_id=arguments.run_id or uuid.uuid4().hex,
            checks=names,
            cadence="invasive" if arguments.tier == "invasive" else "requested",
            reason=printable(arguments.reason, 128),
            node=facts,
            options=options,
            before=kept.before(),
        )
        ran = _run(arguments, known, order, boot_id, kept.stuck_path)
        if delivery is not None:
            delivery.put(ran.run)
        _show(ran.run, as_json=arguments.json)
        kept.put(ran.keep)
    except (OSError, DeliveryError, FactsError) as error:
        _complain(str(error))
        return 1
    except _Ended as ended:
        _complain("stopped; nothing of this run counts")
        return 128 + ended.signal
    return 0 if arguments.ok_when_delivered else exit_code(ran.run)


class _Ended(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def _run(
    arguments: argparse.Namespace, known: Catalog, order: Order, boot_id: str, stuck_path: str
) -> Ran:
    processes = Processes()
    runner = Runner(
        known,
        StuckProcesses(stuck_path, boot_id, processes=processes, log=_complain),
        boot_id=boot_id,
        root=arguments.root,
        environ=backend_environ(arguments, os.environ),
        processes=processes,
    )
    with _stopped_by_signals(runner) as signals, bar(len(order.checks)) as shown:
        try:
            return runner.run(order, shown or (lambda _: None))
        except RunStopped:
            raise _Ended(signals[0]) from None
        finally:
            runner.close()


@contextlib.contextmanager
def _stopped_by_signals(runner: Runner) -> Iterator[list[int]]:
    """SIGTERM and SIGINT stop the run; yields those that came."""
    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        came.append(number)
        runner.stop()

    stops = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in stops}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _chosen(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, known: Catalog
) -> tuple[str, ...]:
    if not arguments.checks and not arguments.tier:
        parser.error("name checks, or --tier; konduktor-probe list prints them")
    names = [spec.name for spec in known.specs()]
    for name in arguments.checks:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"is {near[0]} meant? " if near else ""
            shown = printable(name, 80)
            parser.error(f"no check {shown!r}; {hint}konduktor-probe list prints them")
    chosen = known.chosen(arguments.checks, tier(arguments))
    if not chosen:
        parser.error(f"no check has the tier {arguments.tier}")
    return chosen


def _options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, names: tuple[str, ...]
) -> dict[str, str]:
    options = {}
    for given in arguments.option:
        match = _OPTION.fullmatch(given)
        if match is None:
            shown = printable(given, 80)
            parser.error(f"--option {shown!r}: CHECK.NAME=VALUE is expected, e.g. iperf3.server=a")
        check = match[1].split(".")[0]
        if check not in names:
            parser.error(f"--option {match[1]}: {check} is not among the checks of this run")
        options[match[1]] = match[2]
    return options


def _facts(arguments: argparse.Namespace) -> NodeFacts:
    name = arguments.node or node_name()
    return read_facts(arguments.settings, name) if arguments.settings else NodeFacts(name=name)


def _show(run: Run, *, as_json: bool) -> None:
    if as_json:
        print(run.model_dump_json(indent=2))
    else:
        print_results(run, Console())
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"konduktor-probe run: {text}\n")
