"""Which policy does this file make? Read, check, compile; every problem at once.

``Reader.judge`` never raises for what a file contains: it tells the problems. ``read_policy`` is
for those who cannot go on with a wrong file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from konduktor_health.adapters import marked_yaml
from konduktor_health.adapters.marked_yaml import (
    Complaints,
    Malformed,
    Problem,
    most,
    read_marked,
)
from konduktor_health.adapters.policy_file.cel import Conditions, Failed
from konduktor_health.adapters.policy_file.form import Form, read_form
from konduktor_health.errors import ConfigError
from konduktor_health.model import Policy
from konduktor_health.policy import PolicyDocument, compile_policy, unasked
from konduktor_health.policy.document import CasePart, CasesDocument
from konduktor_health.policy.known import Known
from konduktor_health.policy.samples import samples
from konduktor_health.settings import Settings
from parsers.tables import Tables

_HINT = "konduktor-health policy check FILE tells every problem with line and column"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a policy file. With problems ``policy`` is the one that it began with."""

    policy: Policy
    problems: tuple[Problem, ...] = ()
    unsaid: int = 0  # problems beyond those told
    document: PolicyDocument | None = None  # None where it has not the form of one
    warnings: tuple[Problem, ...] = ()  # what is right, and will not do what it says here


def _nobody(_text: str, _why: str) -> None:
    """Where no condition runs later, nobody has to be told."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes policies of files. ``base``: the policy of the settings; ``given``: the fields of it
    that somebody has set; ``read``: the fault tables in use, default the shipped ones; ``failed``
    is told of a condition that fails at run time; ``runs_invasive``: somebody runs that tier."""

    base: Policy = Policy()  # noqa: RUF009 - frozen
    given: Collection[str] = ()
    read: Tables | None = None
    failed: Failed = _nobody
    runs_invasive: bool = True

    def judge(self, content: bytes) -> Judged:
        """What a policy file of this content makes. Raises nothing of its own."""
        complaints, document = _form(PolicyDocument, content)
        policy = self.base
        if document is not None:
            known = Known(self.read)
            policy, findings = compile_policy(
                document,
                self.base,
                known=known,
                condition=Conditions(partial(samples, known), self.failed),
                given=self.given,
            )
            for each in findings:
                complaints.inside(each.path, each.offset, each.message, each.hint)
        if complaints.problems:
            return Judged(self.base, *most(complaints.problems), document)
        warnings = self._warnings(complaints.marked, document)
        return Judged(policy, warnings=warnings, document=document)

    def _warnings(
        self, marked: marked_yaml.Marked, document: PolicyDocument | None
    ) -> tuple[Problem, ...]:
        if document is None or self.runs_invasive:
            return ()
        told = Complaints(marked)
        for path, what in unasked.in_rules(document.rules):
            told.add(path, f"{what}: {unasked.NOBODY}", unasked.HINT)
        return most(told.problems)[0]

    def using(self, base: Policy, read: Tables) -> Reader:
        """The same with another policy of the settings and other tables."""
        return replace(self, base=base, read=read)


def _form(form: type[Form], content: bytes) -> tuple[Complaints, Form | None]:
    try:
        marked = read_marked(content, times_are_texts=True)
    except Malformed as error:
        complaints = Complaints(marked_yaml.Marked(None, {}, {}, frozenset()))
        complaints.problems.append(error.problem)
        return complaints, None
    complaints = Complaints(marked)
    complaints.problems += marked.problems
    return complaints, read_form(form, complaints)


def judge_cases(content: bytes) -> tuple[tuple[CasePart, ...], tuple[Problem, ...], int]:
    """The cases of a file for ``policy test``, its problems, and how many more it has."""
    complaints, document = _form(CasesDocument, content)
    problems, unsaid = most(complaints.problems)
    return (document.tests if document and not problems else ()), problems, unsaid


def reader_for(settings: Settings, read: Tables | None = None) -> Reader:
    """A reader that begins with these settings. Raises ConfigError as ``core_policy`` does."""
    runs = settings.probes.run_invasive
    given = settings.policy.model_fields_set
    return Reader(settings.core_policy(read), given, read, runs_invasive=runs)


def read_content(path: Path) -> bytes:
    """The bytes of a policy file, one more than are taken at most. Raises ConfigError."""
    return marked_yaml.read_content(path, what="policy file", hint="is the path right?")


def read_policy(path: Path, reader: Reader) -> Judged:
    """A policy file without problems. Raises ConfigError for any other, and for none."""
    judged = reader.judge(read_content(path))
    if judged.problems:
        raise ConfigError(summary(path, judged), hint=_HINT)
    return judged


def summary(path: Path, judged: Judged) -> str:
    """The first problems of a file, in one line."""
    return marked_yaml.summary(f"policy file {path}", judged.problems, judged.unsaid)
