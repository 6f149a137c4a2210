"""What do the generated reference pages say? What the code says, in tables.

``python docs/generate.py`` writes the pages, ``--check`` names those that are not current and
exits 1. Nothing here is configured: settings, metrics, options, errors and fault tables are
read from the modules that define them. A new thing without an explanation raises KeyError.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo, OptionInfo

from konduktor_health import errors, settings
from konduktor_health.cli.app import app
from konduktor_health.model import EditKind, HoldReason
from konduktor_health.runtime.metrics import MAX_FAULT_IDS, NAMESPACE, Metrics
from konduktor_health.runtime.shutdown import DEADLINE_S, HUNG_EXIT_CODE
from parsers import catalog, sxid, xid
from parsers.catalog import Entry
from parsers.fault import Severity
from parsers.workload import POD_RULES
from probes import cli as probe_cli

REFERENCE = Path(__file__).parent / "reference"
MARK = "<!-- Written by docs/generate.py: change the code, then run it. -->\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; cells are one line each, ``|`` escaped."""
    names = list(head)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: object) -> str:
    """Inline code; nothing for an empty text."""
    return f"`{text}`" if str(text) else ""


# ---------------------------------------------------------------- settings

_WORDS: Mapping[object, str] = {
    str: "text", int: "integer", float: "number", bool: "true or false",
    Path: "file path", SecretStr: "secret",
}  # fmt: skip
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}

_SETTINGS_TEXT = """
# Settings

Where a value comes from, lowest first: the default below, the YAML file, an environment
variable, a command-line flag. An unknown key, or an unknown variable with our prefix, is an
error (exit code 2).

The YAML file is named with `--config` or `KONDUKTOR_HEALTH_CONFIG`. It nests as the keys do:

```yaml
loki:
  url: http://localhost:3100
policy:
  budget_percent: 5
watched_namespaces: [default, training]
```

In the environment `loki.url` is `KONDUKTOR_HEALTH_LOKI__URL` (two underscores between group and
name). Lists and mappings are JSON there; `watched_namespaces` also takes `default,training`.

These variables are honoured as Konduktor's controller does. They rank above the YAML file and
below our own variables.

"""
_KONDUKTOR_VARIABLES = (
    ("LOG_ENDPOINT", "`loki.url`"),
    ("WATCHED_NAMESPACES", "`watched_namespaces`"),
    ("KONDUKTOR_DEBUG", "`1` is `debug: true`"),
)


def settings_page() -> str:
    """Every setting with its variable, type, default and meaning."""
    parts = [_SETTINGS_TEXT.lstrip(), table(("variable", "setting"), _KONDUKTOR_VARIABLES)]
    plain: list[tuple[str, FieldInfo]] = []
    groups: list[tuple[str, type[BaseModel], str]] = []
    for name, info in settings.Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            groups.append((f"{name}.", info.annotation, ""))
        else:
            plain.append((name, info))
            for item in get_args(info.annotation):
                if isinstance(item, type) and issubclass(item, BaseModel):
                    groups.append((f"{name}[].", item, "One entry of the list. "))
    parts.append("\n## Top level\n\n" + _setting_rows("", plain))
    for prefix, model, note in groups:
        rows = _setting_rows(prefix, list(model.model_fields.items()))
        title = code(prefix.rstrip("."))
        parts.append(f"\n## {title}\n\n{note}{inspect.getdoc(model)}\n\n{rows}")
    return "".join(parts)


def _setting_rows(prefix: str, fields: list[tuple[str, FieldInfo]]) -> str:
    rows = []
    for name, info in fields:
        in_list = "[]" in prefix
        variable = settings.ENV_PREFIX + (prefix.replace(".", "__") + name).upper()
        rows.append(
            (
                code(prefix + name),
                "" if in_list else code(variable),
                _kind(info.annotation, info.metadata),
                _default(info),
                info.description or "",
            )
        )
    return table(("key", "variable", "type", "default", "meaning"), rows)


def _kind(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(code(value) for value in args)
    if origin in (Union, types.UnionType):
        return _kind(next(each for each in args if each is not type(None)))
    if origin is tuple:
        return f"list of {_kind(args[0])}"
    if origin is dict:
        return f"mapping of {_kind(args[0])} to {_kind(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(code(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "entries (below)"
    bounds = [
        f"{word} {getattr(each, name):g}"
        for each in metadata
        for name, word in _BOUNDS.items()
        if hasattr(each, name)
    ]
    return ", ".join([_WORDS[annotation], *bounds])


def _default(info: FieldInfo) -> str:
    value = info.default
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple):
        shown = [
            each.model_dump(exclude_unset=True) if isinstance(each, BaseModel) else each
            for each in value
        ]
        return code(shown).replace("'", '"').replace("True", "true") if shown else ""
    if value is None or value == {} or isinstance(value, SecretStr):
        return ""
    return code(str(value).lower() if isinstance(value, bool) else value)


# ---------------------------------------------------------------- metrics

_METRICS_TEXT = f"""
# Metrics

The controller answers `/metrics` on its own port ([HTTP](http.md)). All names begin with
`{NAMESPACE}_`. Label values are bounded: text from logs, probes or Kubernetes is never one.

"""
_LABELS = {
    "fault_id": f"a [fault id](faults.md); after {MAX_FAULT_IDS} different ones `other`",
    "severity": ", ".join(code(each.value) for each in Severity),
    "source": "name of a log source in the settings",
    "kind": ", ".join(code(each.value) for each in EditKind)
    + " (`reset` is done by the command, so it is never counted by the controller)",
    "reason": "a [hold reason](hold-reasons.md): "
    + ", ".join(code(each.value) for each in HoldReason),
    "outcome": "`ok`, `failed`",
}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def metrics_page() -> str:
    """Every metric, and what its labels may be."""
    rows, used = [], set()
    for collector in vars(Metrics()).values():
        if not hasattr(collector, "_labelnames"):
            continue  # the registry itself
        labels = list(collector._labelnames)
        used |= set(labels)
        for metric in collector.describe():
            names = [metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",))]
            shown = ", ".join(code(name) for name in names)
            rows.append((shown, metric.type, ", ".join(map(code, labels)), metric.documentation))
    meanings = [(code(name), _LABELS[name]) for name in sorted(used)]
    return (
        _METRICS_TEXT.lstrip()
        + table(("metric", "type", "labels", "meaning"), rows)
        + "\n## Labels\n\n"
        + table(("label", "values"), meanings)
    )


# ---------------------------------------------------------------- faults

_FAULTS_TEXT = """
# Faults

Which codes the catalog knows, how bad each is, and what would repair it.
[Severity](../concepts/severity.md) says what the words mean and where they come from. Only
`fatal` asks for the taint; everything else is recorded and shown.

A code that is not in these tables gives a fault of severity `unknown`: visible, never acting.
The driver's own word in a line outranks the table (next section).

## Where the line decides

"""
_DECISIVE = (
    ("xid", "154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x3 (Drain P2P)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX Domain)"),
    ("xid", "154, GPU recovery action changed from 0x0 (None) to 0x9 (Something new)"),
    ("xid", "74, NVLink: fatal error detected on link 14"),
    ("xid", "74, NVLink: non-fatal error detected on link 14"),
    ("xid", "149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01"),
    ("xid", "149, NETIR_LINK_EVT  Nonfatal   XC0 i0 Link 01"),
    ("xid", "160, row remapping pending, GPU reset required"),
    ("xid", "160, row remapping pending, node reboot required"),
    ("sxid", "20034, Fatal, Link 30 LTSSM Fault Up"),
    ("sxid", "20034, Non-fatal, Link 30 LTSSM Fault Up"),
    ("sxid", "20034, Correctable, Link 30 LTSSM Fault Up"),
)
_OTHER_TEXT = """
Xid 144 to 150 are read as 149 is. Of an SXid, `Fatal` is always fatal, with remedy `reboot`
where the table says so and else `reset_gpu`; `Non-fatal` goes by the column `non-fatal`.

## Faults without a code

"""
_OTHER = (
    (
        "kernel/gpu-lost",
        "A GPU has fallen off the bus, told without an Xid: in one line, or in three records. "
        "Within 30 s of an Xid 79 of the same GPU it is that event and told once. The end of "
        "the three records alone is `unknown` and has no device.",
        "fatal",
        "reboot",
    ),
    (
        "kernel/peermem-invalid-context",
        "nvidia-peermem was told to free memory of a process that is gone; harmless by itself.",
        "info",
        "none",
    ),
)


def faults_page() -> str:
    """The catalog, one row a code, and the rules that outrank it."""
    decisive = [(code(f"{kind}: {line}"), *_decoded(kind, line)) for kind, line in _DECISIVE]
    other = [(code(name), text, how_bad, remedy) for name, text, how_bad, remedy in _OTHER]
    other += [
        (code(rule.fault_id), f"A pod's log says `{rule.literal}`.", "application", "none")
        for rule in POD_RULES
    ]
    head = ("code", "mnemonic", "meaning", "severity", "remedy")
    return (
        _FAULTS_TEXT.lstrip()
        + table(("after the address", "severity", "remedy"), decisive)
        + _OTHER_TEXT
        + table(("fault id", "when", "severity", "remedy"), other)
        + "\n## Xid\n\nFault id `xid/CODE`.\n\n"
        + table(head, (_row(entry) for entry in catalog.xids().values()))
        + "\n## SXid\n\nFault id `sxid/CODE`. Column `non-fatal`: the severity where the line"
        + " prints Non-fatal.\n\n"
        + table((*head, "non-fatal"), (_switch_row(each) for each in catalog.sxids().values()))
    )


def _decoded(kind: str, line: str) -> tuple[str, str]:
    if kind == "xid":
        fault = xid.parse(f"NVRM: Xid (PCI:0000:3b:00): {line}", catalog.xids())
    else:
        head = "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0)"
        switch = sxid.parse(f"{head}: {line}", catalog.sxids())
        fault = switch.fault if switch else None
    if fault is None:
        raise ValueError(f"no fault in {line!r}")
    return fault.severity.value, fault.remedy.value


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry.code),
        entry.mnemonic,
        entry.meaning,
        entry.severity.value,
        entry.remedy.value,
    )


def _switch_row(entry: Entry) -> tuple[str, ...]:
    return (*_row(entry), entry.nonfatal.value)


# ---------------------------------------------------------------- command line

_CLI_TEXT = """
# Command line

`python -m konduktor_health` is the same program as `konduktor-health`. Results are on stdout,
the log is on stderr. [Exit codes](exit-codes.md). Flags outrank [settings](settings.md) from
files and the environment.
"""
_PROBE_TEXT = """
## `konduktor-probe {name}`

{help}. [Form of its lines](kmsg-format.md).

Environment: `NODE_NAME` is the node's name; `LOKI_PUSH_URL`, else `LOG_ENDPOINT`, is where to
push.

"""


def cli_page() -> str:
    """Every command of both programs with its options."""
    parts = [_CLI_TEXT.lstrip()]
    for command in app.registered_commands:
        if command.callback is None or command.name is None:
            raise ValueError("a command without name or function")
        text = inspect.getdoc(command.callback) or ""
        rows = table(("option", "value", "default", "meaning"), _options(command.callback))
        parts.append(f"\n## `konduktor-health {command.name}`\n\n{text}\n\n{rows}")
    parts.append("\n`konduktor-health --version` prints the version; `--help` works everywhere.\n")
    parser = probe_cli._parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                parts.append(_PROBE_TEXT.format(name=choice.dest, help=_sentence(choice.help)))
                rows = _probe_options(action.choices[choice.dest])
                parts.append(table(("option", "value", "default", "meaning"), rows))
    return "".join(parts)


def _options(callback: Callable[..., Any]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        hint = hints[name]
        if get_origin(hint) is not Annotated:
            raise ValueError(f"{callback}: {name} is not documented")
        kind, info = get_args(hint)[:2]
        value = "" if kind is bool else _kind_of_flag(kind)
        default = "" if parameter.default in (None, False) else code(_plain(parameter.default))
        if isinstance(info, ArgumentInfo):
            shown = name.upper() + ("..." if "list" in str(kind) else "")
        elif isinstance(info, OptionInfo):
            shown = ", ".join(info.param_decls or (f"--{name.replace('_', '-')}",))
        else:
            raise TypeError(f"{callback}: {name} is neither option nor argument")
        yield code(shown), value, default, info.help or ""


def _kind_of_flag(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return "names" if get_origin(kind) is list else _kind(kind)


def _plain(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value)


def _probe_options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    for action in parser._actions:
        if action.dest == "help":
            continue
        takes = action.nargs != 0
        value = str(action.metavar or action.dest.upper()) if takes else ""
        default = code(action.default) if takes and action.default not in ("", [], None) else ""
        help_text = (action.help or "").replace("(%(default)s)", "").replace("(%(default)g)", "")
        yield code(", ".join(action.option_strings)), value, default, _sentence(help_text)


def _sentence(text: str | None) -> str:
    stripped = (text or "").strip()
    return stripped[:1].upper() + stripped[1:]


# ---------------------------------------------------------------- exit codes

_EXIT_TEXT = """
# Exit codes

Every error is one line on stderr (`error: ...`), most with a second one (`hint: ...`).

## `konduktor-health`

"""
_EXIT_MEANINGS = {
    0: "Done. `run` and `demo`: ended by SIGTERM or Ctrl-C.",
    1: "Not all of it could be done. `reset`: a named node does not exist or could not be reset; "
    "the others were.",
    2: "Wrong usage, settings, selector or kubeconfig: mend it and try again.",
    3: "Loki or the API server is not available, or (`run --once`) a log source was not read. "
    "Trying again may help.",
    4: "Refused: credentials, RBAC, namespace or query. Trying again does not help.",
    5: "Another replica leads: this one has lost the Lease and did nothing since.",
}


def exit_codes_page() -> str:
    """The codes and the errors that end with them."""
    by_code: dict[int, list[str]] = {0: []}
    for error in _error_classes(errors.HealthError):
        if error.__module__ == errors.__name__:
            by_code.setdefault(error.exit_code, []).append(error.__name__)
    rows = [
        (str(number), _EXIT_MEANINGS[number], ", ".join(map(code, sorted(names))))
        for number, names in sorted(by_code.items())
    ]
    hung = f"Ended hard: the program was still busy {DEADLINE_S:g} s after SIGTERM or Ctrl-C."
    rows += [
        (str(HUNG_EXIT_CODE), hung, ""),
        ("130", "Ended by Ctrl-C (commands that have nothing to put down).", ""),
    ]
    return (
        _EXIT_TEXT.lstrip()
        + table(("code", "meaning", "errors"), rows)
        + "\n`run` without `--once` does not end for an unavailable Loki or API server: it is"
        + " not ready ([HTTP](http.md)) and tries again.\n"
        + "`scan` exits 0 whether it finds faults or not.\n"
        + "\n## `konduktor-probe`\n\n"
        + table(
            ("code", "meaning"),
            (
                ("0", "Done, or ended by SIGTERM or Ctrl-C."),
                ("1", "It cannot work; the message says why. With `--once`: not all was pushed."),
                ("2", "Wrong usage."),
            ),
        )
    )


def _error_classes(root: type[errors.HealthError]) -> Iterator[type[errors.HealthError]]:
    yield root
    for child in root.__subclasses__():
        yield from _error_classes(child)


# ---------------------------------------------------------------- writing

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "faults.md": faults_page,
    "cli.md": cli_page,
    "exit-codes.md": exit_codes_page,
}


def stale() -> list[str]:
    """Names of the pages that are not what the code says."""
    names = []
    for name, render in PAGES.items():
        page = REFERENCE / name
        if not page.is_file() or page.read_text(encoding="utf-8") != MARK + render():
            names.append(name)
    return names


def main() -> int:
    """Write the pages, or with --check say which are stale. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1: a page is stale")
    check = parser.parse_args().check
    names = stale()
    for name in names:
        if not check:
            (REFERENCE / name).write_text(MARK + PAGES[name](), encoding="utf-8")
        print(f"docs/reference/{name}: {'stale' if check else 'written'}")
    return 1 if check and names else 0


if __name__ == "__main__":
    sys.exit(main())
