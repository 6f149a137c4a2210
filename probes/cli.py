"""Which command of ``konduktor-probe`` was asked for?

A command's module is loaded only when it is asked for: the forwarder runs for months on each node
and has no use for what the others need. Such a module has ``DESCRIPTION``, ``EPILOG`` (its exit
codes), ``add_options(parser)`` and ``run(parser, arguments)``, which returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Collection, Mapping, Sequence

#: What each command is for; its module is ``probes.commands.<name>``.
COMMANDS: Mapping[str, str] = {
    "run": "run checks once and print what was found",
    "list": "list the checks",
    "agent": "run the checks by their cadence and serve what they find",
    "kmsg": "forward the kernel log as JSON lines",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = parser_of(COMMANDS.keys() & set(words))
    arguments = parser.parse_args(words)
    code: int = arguments.run(arguments.parser, arguments)
    return code


def parser_of(wanted: Collection[str]) -> argparse.ArgumentParser:
    """The parser of the program, with the options of the wanted commands."""
    parser = argparse.ArgumentParser(
        prog="konduktor-probe",
        description="The node part of konduktor-health.",
        epilog="exit codes: konduktor-probe COMMAND --help",
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    for name, purpose in COMMANDS.items():
        if name not in wanted:
            commands.add_parser(name, help=purpose)
            continue
        module = importlib.import_module(f"probes.commands.{name}")
        command = commands.add_parser(
            name,
            help=purpose,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
