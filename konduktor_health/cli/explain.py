"""``konduktor-health explain``: what the catalog knows of a fault, or what there is of a node.

A fault is ``xid 79``, ``sxid 12028``, or any fault id; any other single word is a Node's name
(``node_explained`` tells it). What is neither is one clear ConfigError.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from difflib import get_close_matches
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from konduktor_health.cli import options, probe_where
from konduktor_health.cli.check_told import check_json, check_rows
from konduktor_health.cli.node_explained import explain_node
from konduktor_health.cli.probe_where import Via
from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.known_checks import KnownCheck, check_of, names
from konduktor_health.treatment import PROBE_FAULT
from parsers import catalog
from parsers.catalog import Entry

if TYPE_CHECKING:
    from konduktor_health.adapters.rules_file import Judged

PIPE_WIDTH = 100  # columns, when there is no terminal to fit
CODED = ("xid", "sxid")
_HINT = "e.g. explain xid 79, explain sxid 12028, explain kernel/xfs-shutdown, explain NODE"


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"


def command(
    what: Annotated[
        str, typer.Argument(help="xid, sxid, a fault id like xid/79, or a node's name.")
    ],
    code: Annotated[str, typer.Argument(help="The code, after xid or sxid.")] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
    agent: Annotated[
        bool, typer.Option("--agent", help="Of a node: ask its agent what it has measured last.")
    ] = False,
    via: probe_where.Way = Via.AUTO,
    rules: options.Rules = None,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """Print what a fault means, how bad it is, what to do and where to look.

    Of a node: its verdict, taints and condition, each open fault with its evidence, what is held
    and why, and what is missing before the taint can go. It is read from the cluster alone; with
    --agent the node's agent is asked too. Of a check (probe/NAME): what it measures, and by which
    limits.
    """
    settings = options.load(config, kubeconfig=kubeconfig, context=context, namespace=namespace)
    site = options.rules(rules or settings.rules_file)
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    as_objects = output is Output.JSON
    if is_node(what, code):
        known = catalog.entry if site is None else site.entry
        way = via if agent else None
        explain_node(what.strip(), settings, known, console, as_objects=as_objects, agent=way)
        return
    if agent:
        raise ConfigError("--agent: a fault has no agent", hint="konduktor-health explain NODE")
    check = None if code else find_check(what)
    if check is not None:
        if as_objects:
            typer.echo(json.dumps(check_json(check), ensure_ascii=False, indent=2))
        else:
            _print(f"probe/{check.name}", list(check_rows(check)), console)
        return
    entry = find(what, code, site=site)
    if as_objects:
        typer.echo(json.dumps(as_json(entry), ensure_ascii=False, indent=2))
    else:
        render(entry, console)


def is_node(what: str, code: str = "") -> bool:
    """A single word is a Node's name: neither a kind nor a code nor a fault id."""
    word = what.strip()
    return bool(word) and not (code or "/" in word or word.lower() in CODED or word.isdigit())


def find_check(what: str) -> KnownCheck | None:
    """The check of a fault ``probe/NAME``; None for another fault. Raises ConfigError when there is
    none of that name."""
    fault_id = what.strip().lower()
    if not fault_id.startswith(PROBE_FAULT):
        return None
    check = check_of(fault_id)
    if check is None:
        near = get_close_matches(fault_id.removeprefix(PROBE_FAULT)[:80], names(), n=1)
        meant = f"did you mean probe/{near[0]}? " if near else ""
        raise ConfigError(
            f"no check of ours is behind {excerpt(fault_id)}",
            hint=f"{meant}checks of a site: konduktor-health probe list",
        )
    return check


def find(what: str, code: str = "", *, site: Judged | None = None) -> Entry:
    """The entry that ``what`` and ``code`` name, as the site has it. Raises ConfigError when there
    is none."""
    fault_id = _fault_id(what.strip().lower(), code.strip())
    entry = catalog.entry(fault_id) if site is None else site.entry(fault_id)
    if entry is None:
        raise ConfigError(f"the catalog has no {excerpt(fault_id)}", hint=_known(fault_id))
    return entry


def _fault_id(what: str, code: str) -> str:
    if what in CODED:
        if not (code.isascii() and code.isdigit() and len(code) <= 10):
            raise ConfigError(f"{what}: not a code: {excerpt(code)!r}", hint=_HINT)
        return f"{what}/{int(code)}"
    if "/" not in what or code:
        asked = f"{what} {code}".strip()
        raise ConfigError(f"not a fault: {excerpt(asked)!r}", hint=_HINT)
    return what


def _known(fault_id: str) -> str:
    kind, _, code = fault_id.partition("/")
    if kind not in CODED:
        near = catalog.nearest(fault_id)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        known = len(catalog.uncoded())
        return f"{meant}it has {known} faults without a code: docs/reference/faults.md lists them"
    other = f"{'sxid' if kind == 'xid' else 'xid'}/{code}"
    codes = sorted(catalog.xids() if kind == "xid" else catalog.sxids())
    also = f"; {other} is another fault" if catalog.entry(other) else ""
    return f"it has {len(codes)} {kind} codes between {codes[0]} and {codes[-1]}{also}"


def as_json(entry: Entry) -> dict[str, Any]:
    """The entry as one JSON object; what is not known is left out."""
    row: dict[str, Any] = {
        "fault_id": entry.fault_id,
        "mnemonic": entry.mnemonic,
        "alias": entry.alias,
        "meaning": entry.meaning,
        "severity": entry.severity.value,
        "remedy": entry.remedy.value,
        "class": entry.fault_class,
        "action": entry.action,
        "investigation": entry.investigation,
        "accuses": entry.accuses,
        "by_program": entry.by_program,
        "noise": entry.noise,
        "note": entry.note,
        "observe": entry.observe,
        "proves": entry.proves,
        "scope": entry.scope,
        "repeats_on": list(entry.repeats_on),
        "vendor": list(entry.vendor),
        "gpus": list(entry.gpus),
        "nonfatal": entry.nonfatal.value if entry.fault_id.startswith("sxid/") else "",
        "guide": entry.guide,
        "prints": list(entry.prints),
        "relations": [asdict(each) for each in catalog.relations(entry.fault_id)],
        "values": [{"value": value, "asks": asks} for value, asks in values(entry)],
        "sources": list(entry.sources),
        "examples": list(entry.examples),
        "counter_examples": list(entry.counter_examples),
    }
    return {name: value for name, value in row.items() if value not in ("", [], False)}


def values(entry: Entry) -> Iterator[tuple[str, str]]:
    """What values inside a line of this fault ask for, where the line decides."""
    if entry.fault_id == "xid/154":
        for order in catalog.directives().values():
            told = f"{order.severity.value}, {order.remedy.value}: {order.meaning}"
            yield f"{order.value} ({order.text})", told
    elif entry.fault_id == "xid/74":
        bits = (bit for register in catalog.registers().values() for bit in register)
        for bit in sorted(bits, key=attrgetter("register", "bit")):
            yield f"register {bit.register} bit {bit.bit}", bit.asks
    elif entry.fault_id.startswith("xid/"):
        for unit in catalog.nvlink_rules():
            for rule in unit.rules if unit.xid == entry.code else ():
                promoted = rule.promoted
                also = f"; with the promoting bit: {promoted.meaning}" if promoted else ""
                asks = f"{rule.action.meaning}{also}; {rule.look}"
                yield " ".join((unit.title, *_matched(unit.by, rule.match))), asks


def _matched(by: str, match: int | None) -> tuple[str, ...]:
    if match is None:
        return ()
    return ("sub-reason", f"{match:06b}") if by == "reason" else (_BY[by], f"{match:#x}")


_BY = {"bits": "status bit", "value": "status"}


def render(entry: Entry, console: Console) -> None:
    """Print the entry: a heading, then what is known; log lines are never broken."""
    _print(f"{entry.fault_id}  {entry.mnemonic}", list(rows(entry)), console)


def _print(heading: str, told: list[tuple[str, str]], console: Console) -> None:
    column = max(len(name) for name, _ in told) + 2
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for name, text in told:
        whole = name in ("example", "not it")
        lines = [text] if whole else textwrap.wrap(text, max(40, console.width - column))
        for number, line in enumerate(lines):
            shown = Text(("" if number else name).ljust(column), style="bold")
            console.print(shown.append(line, style="not bold"), soft_wrap=True, highlight=False)


def rows(entry: Entry) -> Iterator[tuple[str, str]]:
    """Name and text of each line behind the heading."""
    yield "meaning", entry.meaning
    yield "severity", entry.severity.value
    yield "remedy", entry.remedy.value
    if entry.action:
        yield "first", f"{entry.action} (class {entry.fault_class})"
    yield "look at", entry.investigation
    if entry.scope:
        yield "concerns", entry.scope
    yield from _by_rule(entry)
    if entry.fault_id.startswith("sxid/"):
        yield "Non-fatal", f"{entry.nonfatal.value} where the line prints Non-fatal"
        yield "driver", _PRINTS.get(entry.prints) or _unworded(entry)
    if entry.guide:
        yield "guide", entry.guide.replace("_", "-")
    if entry.alias:
        yield "also", entry.alias
    if entry.vendor:
        yield "NVIDIA", ", then ".join(dict.fromkeys(entry.vendor))
    if entry.gpus:
        yield "only on", ", ".join(entry.gpus)
    if entry.repeats_on:
        yield "a repeat", f"same {', '.join(entry.repeats_on)}"
    yield from _related(entry)
    for number, (value, asks) in enumerate(values(entry)):
        yield "" if number else "values", f"{value}: {asks}"
    for name, texts in (
        ("source", entry.sources),
        ("example", entry.examples),
        ("not it", entry.counter_examples),
    ):
        for text in texts:
            yield name, text


def _by_rule(entry: Entry) -> Iterator[tuple[str, str]]:
    """What only a rule says."""
    if entry.accuses:
        yield "accuses", _ACCUSES[entry.accuses]
    if entry.by_program:
        yield "printed by", "a program: it never acts and proves nothing"
    if entry.noise:
        yield "noise", f"{entry.noise}: gives no fault"
    if entry.observe:
        yield "doubt", f"{entry.observe}: in observation, unless policy.observe says otherwise"
    if entry.proves:
        yield "proves", entry.proves
    if entry.note:
        yield "note", entry.note


_ACCUSES = {
    "node": "the node that printed it",
    "peer": "the peer that the line names, not the node that printed it",
    "nobody": "nobody",
}
_PRINTS = {
    ("fatal",): "prints Fatal",
    ("non_fatal",): "prints Non-fatal",
    ("fatal", "non_fatal"): "prints Fatal or Non-fatal",
    ("fatal_if_contained", "non_fatal"): "prints Fatal when the error is contained, else Non-fatal",
}


def _unworded(entry: Entry) -> str:
    return "prints no such word" if entry.examples else "does not print this code (595.45.04)"


def _related(entry: Entry) -> Iterator[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for each in catalog.relations(entry.fault_id):
        found.setdefault(each.kind.replace("_", " "), []).append(each.fault_id)
    for kind, others in found.items():
        yield kind, ", ".join(others)
