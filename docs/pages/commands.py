"""Which commands and options are there? Read from the functions behind them."""

from __future__ import annotations

import argparse
import inspect
import types
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from docs.pages.kinds import kind_of
from docs.pages.tables import code, table
from konduktor_health.cli.app import app
from probes import cli as probe_cli

_CLI_TEXT = """
# Command line

`python -m konduktor_health` is the same program as `konduktor-health`. Results are on stdout,
the log is on stderr. [Exit codes](exit-codes.md). Flags outrank [settings](settings.md) from
files and the environment.
"""
_PROBE_TEXT = """
## `konduktor-probe {name}`

{help}. {notes}

"""
_PROBE_NOTES = {
    "run": """[Exit codes, JSON, processes](probe-run.md).

Environment: `NODE_NAME` is the node's name, `KONDUKTOR_USER_CHECKS` where
[checks of your own](user-checks.md) are.""",
    "list": """Environment: `KONDUKTOR_USER_CHECKS` is where [checks of your own](user-checks.md)
are.""",
    "agent": """[What it answers](agent-api.md), [its metrics](probe-metrics.md). The log is JSON
lines on stdout: `time`, `level`, `message`, and what belongs to it.

Environment: `NODE_NAME` is the node's name, `KONDUKTOR_USER_CHECKS` where
[checks of your own](user-checks.md) are. Options with a value can be given as
`KONDUKTOR_PROBE_<OPTION>` too, e.g. `KONDUKTOR_PROBE_LIGHT_INTERVAL`, but for `--node`,
`--backend`, `--user-checks` and `--option`; the command line outranks it.""",
    "kmsg": """[Form of its lines](kmsg-format.md).

Environment: `NODE_NAME` is the node's name; `LOKI_PUSH_URL`, else `LOG_ENDPOINT`, is where to
push.""",
}


def cli_page() -> str:
    """Every command of both programs with its options."""
    parts = [_CLI_TEXT.lstrip()]
    for name, callback in commands():
        text = inspect.getdoc(callback) or ""
        rows = table(("option", "value", "default", "meaning"), _options(callback))
        parts.append(f"\n## `konduktor-health {name}`\n\n{text}\n\n{rows}")
    parts.append("\n`konduktor-health --version` prints the version; `--help` works everywhere.\n")
    parser = probe_cli.parser_of(probe_cli.COMMANDS)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                name, notes = choice.dest, _PROBE_NOTES[choice.dest]
                purpose = _sentence(choice.help)
                parts.append(_PROBE_TEXT.format(name=name, help=purpose, notes=notes))
                probe_rows = _probe_options(action.choices[choice.dest])
                parts.append(table(("option", "value", "default", "meaning"), probe_rows))
    return "".join(parts)


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command of ``konduktor-health``, those of groups by both words, and its function."""
    groups = [
        (f"{group.name} ", group.typer_instance)
        for group in app.registered_groups
        if group.typer_instance is not None
    ]
    for prefix, holder in [("", app), *groups]:
        for command in holder.registered_commands:
            if command.callback is None or command.name is None:
                raise ValueError("a command without name or function")
            yield prefix + command.name, command.callback


def _options(callback: Callable[..., Any]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        hint = hints[name]
        if get_origin(hint) is not Annotated:
            raise ValueError(f"{callback}: {name} is not documented")
        kind, info = get_args(hint)[:2]
        value = "" if kind is bool else _flag_kind(kind)
        if info.min is not None:
            value += f", {info.min} to {info.max}"
        unset = parameter.default in (None, False, inspect.Parameter.empty)
        default = "" if unset else code(_plain(parameter.default))
        if isinstance(info, ArgumentInfo):
            shown = name.upper() + ("..." if "list" in str(kind) else "")
        elif isinstance(info, OptionInfo):
            # the first name given stands where the default would without Annotated
            given = [
                str(each) for each in (info.default, *(info.param_decls or ())) if each is not ...
            ]
            shown = ", ".join(given or [f"--{name.replace('_', '-')}"])
        else:
            raise TypeError(f"{callback}: {name} is neither option nor argument")
        yield code(shown), value, default, info.help or ""


def _flag_kind(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return "names" if get_origin(kind) is list else kind_of(kind)


def _plain(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value)


def _probe_options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    for action in parser._actions:
        if action.dest == "help":
            continue
        if not action.option_strings:
            yield code(f"{action.metavar}..."), "", "", _sentence(action.help)
            continue
        takes = action.nargs != 0
        choices = ", ".join(map(str, action.choices or ()))
        value = choices or str(action.metavar or action.dest.upper()) if takes else ""
        default = code(action.default) if takes and action.default not in ("", [], None) else ""
        help_text = (action.help or "").replace("(%(default)s)", "").replace("(%(default)g)", "")
        yield code(", ".join(action.option_strings)), value, default, _sentence(help_text)


def _sentence(text: str | None) -> str:
    stripped = (text or "").strip()
    return stripped[:1].upper() + stripped[1:]
