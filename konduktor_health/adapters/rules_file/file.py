"""Which tables does this rules file make? Read, check, merge; every problem at once.

``judge`` never raises for what a file contains: it tells the problems. ``read_rules`` is for those
who cannot go on with a wrong file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from konduktor_health.adapters import marked_yaml
from konduktor_health.adapters.marked_yaml import (
    Complaints,
    Malformed,
    Marked,
    Problem,
    most,
    read_marked,
)
from konduktor_health.adapters.rules_file.changes import Change, changes
from konduktor_health.adapters.rules_file.document import read_document
from konduktor_health.adapters.rules_file.engine import compile_pattern
from konduktor_health.errors import ConfigError
from parsers import catalog, tables
from parsers.catalog import Entry
from parsers.catalog.ruled import entry_of
from parsers.rules import RuleSet
from parsers.tables import Tables, concerns_node
from parsers.user_rules import UserRules, merged, overridden

#: Most texts that Loki is asked for, shipped ones included: its filter costs by their number.
LITERALS_LIMIT = 400
_HINT = "konduktor-health policy check FILE tells every problem with line and column"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a rules file. ``shown`` gives all that says something, ``recorded`` what may
    stand on a Node; with problems both are the shipped tables."""

    shown: Tables
    recorded: Tables
    problems: tuple[Problem, ...] = ()
    unsaid: int = 0  # problems beyond those told
    changes: tuple[Change, ...] = ()
    own: UserRules = UserRules()  # noqa: RUF009 - frozen

    def entry(self, fault_id: str) -> Entry | None:
        """The entry of a fault id as the file has it, or None."""
        rule = self.shown.kernel.rule(fault_id) or self.shown.pod.rule(fault_id)
        shipped, override = catalog.entry(fault_id), self.own.entries.get(fault_id)
        entry = entry_of(rule) if rule is not None else shipped
        if entry is None or shipped is None or override is None:
            return entry
        was = f"{shipped.severity.value}, {shipped.remedy.value}"
        said = f"The rules file of this site overrides it; shipped: {was}."
        whole = entry if rule is not None else overridden(entry, override)
        return replace(whole, note=f"{said} {entry.note}".strip())


def read_content(path: Path) -> bytes:
    """The bytes of a rules file, one more than are taken at most. Raises ConfigError."""
    return marked_yaml.read_content(path, what="rules file", hint="rules_file, --rules")


def judge(content: bytes) -> Judged:
    """What a rules file of this content makes of the shipped tables. Raises nothing of its own."""
    shipped = tables.shipped()
    try:
        marked = read_marked(content)
    except Malformed as error:
        return Judged(shipped, tables.recorded(), (error.problem,))
    complaints = Complaints(marked)
    own = read_document(shipped, complaints)
    whole = merged(shipped, own, compile_pattern)
    recorded = replace(whole, keep=concerns_node)
    if not complaints.problems:
        _examples(own, whole, complaints)
        _literals(recorded, whole, complaints)
    if complaints.problems:
        return Judged(shipped, tables.recorded(), *most(complaints.problems))
    return Judged(whole, recorded, changes=changes(own, shipped, whole), own=own)


def read_rules(path: Path) -> Judged:
    """A rules file without problems. Raises ConfigError for any other, and for none."""
    judged = judge(read_content(path))
    if judged.problems:
        raise ConfigError(summary(path, judged), hint=_HINT)
    return judged


def summary(path: Path, judged: Judged) -> str:
    """The first problems of a file, in one line."""
    return marked_yaml.summary(f"rules file {path}", judged.problems, judged.unsaid)


def _examples(own: UserRules, whole: Tables, complaints: Complaints) -> None:
    """Examples hold for the rule alone; do they with all other rules around?"""
    for source, rules, table in (("kernel", own.kernel, whole.kernel), ("pod", own.pod, whole.pod)):
        for rule in rules:
            for at, example in enumerate(rule.examples):
                fault = table.match(example.text)
                if fault is not None and fault.fault_id != rule.fault_id:
                    number = _number(complaints.marked, source, rule.fault_id)
                    what = f"is taken by {fault.fault_id}, which is tried before"
                    hint = "say more in that rule's pattern, or put this rule before it"
                    complaints.add((source, number, "examples", at), what, hint)


def _number(marked: Marked, source: str, fault_id: str) -> int:
    return next(n for n, row in enumerate(marked.value[source]) if row["fault_id"] == fault_id)


def _literals(recorded: Tables, whole: Tables, complaints: Complaints) -> None:
    for source, table in (("kernel", whole.kernel), ("pod", whole.pod)):
        asked: RuleSet = table.where(recorded.keep)
        if len(asked.literals) > LITERALS_LIMIT:
            what = f"Loki would be asked for {len(asked.literals)} texts"
            hint = f"at most {LITERALS_LIMIT}; rules may share a literal"
            complaints.add((source,), what, hint)
