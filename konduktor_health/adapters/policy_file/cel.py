"""Does a condition in CEL hold for a fault? Compiled and tried at load; never raises at run time.

CEL has no loops but over lists and maps, and the engine ends those that take too long, so that a
condition cannot stall the controller. The engine is loaded with the first condition: most policies
have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.policy.conditions import (
    LENGTH_LIMIT,
    VARIABLES,
    ConditionError,
    WrittenCondition,
    values_of,
)
from konduktor_health.treatment import FaultFacts
from parsers.printable import printable

#: Whom to tell of a condition that failed at run time: its text, and why.
Failed = Callable[[str, str], None]

_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")
_NAMES = ", ".join(name for name, _, _ in VARIABLES)
_MESSAGE_LIMIT = 200
_CONTAINER = " (in container '')"  # says nothing to whoever writes a condition


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. Two of one text are equal."""

    text: str
    program: Any = field(compare=False, repr=False)
    failed: Failed = field(compare=False, repr=False)

    def __call__(self, facts: FaultFacts, /) -> bool:
        """Whether it holds; False, and told, where it cannot be said."""
        try:
            return self.tried(facts)
        except Exception as error:  # whatever the engine says: a fault must still find its rule
            self.failed(self.text, _shown(error))
            return False

    def tried(self, facts: FaultFacts) -> bool:
        """Whether it holds. Raises what the engine raises, and ValueError for no answer."""
        value = self.program.eval(data=values_of(facts)).value()
        if not isinstance(value, bool):
            raise ValueError(_shown(value))  # noqa: TRY004 - the engine gives errors as values
        return value


class Conditions:
    """Compiles conditions. ``samples``: faults that each one is tried on."""

    def __init__(self, samples: Callable[[], Iterable[FaultFacts]], failed: Failed) -> None:
        self._samples = samples
        self._failed = failed
        self._environment: Any = None

    def __call__(self, text: str) -> WrittenCondition:
        """A condition that gives an answer for every sample. Raises ConditionError."""
        if len(text) > LENGTH_LIMIT:
            raise ConditionError(f"has {len(text)} characters", hint=f"at most {LENGTH_LIMIT}")
        condition = Condition(text, self._compiled(text), self._failed)
        for facts in self._samples():
            try:
                condition.tried(facts)
            except Exception as error:
                what = f"fails for {facts.fault_id} on a node {_labelled(facts)}: {_shown(error)}"
                raise ConditionError(what, hint=_MISSING) from error
        return condition

    def _compiled(self, text: str) -> Any:
        if self._environment is None:
            self._environment = _environment()
        try:
            program = self._environment.compile(text)
            kind = program.return_type().name()
        except Exception as error:  # the engine has one error for all: RuntimeError
            raise _misread(text, str(error)) from error
        if kind != "BOOL":
            what = f"gives {_shown(kind)}, not true or false"
            raise ConditionError(what, hint='such as fault == "xid/79" && labels["zone"] == "a"')
        return program


_MISSING = 'a label may be missing: "KEY" in labels && labels["KEY"] == "VALUE"'


def _environment() -> Any:
    try:
        from cel_expr_python import cel  # 14 MiB of machine code
    except ImportError as error:
        what = f"conditions cannot be read here: {_shown(error)}"
        raise ConditionError(what, hint="install cel-expr-python") from error
    types = {
        "string": cel.Type.STRING,
        "int": cel.Type.INT,
        "bool": cel.Type.BOOL,
        "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    }
    return cel.NewEnv(variables={name: types[kind] for name, kind, _ in VARIABLES})


def _misread(text: str, said: str) -> ConditionError:
    """The engine's first complaint, with its place in the text."""
    match = _PLACE.search(said)
    if match is None:
        return ConditionError(f"cannot be read: {_shown(said)}", hint=f"it may use {_NAMES}")
    line, column = int(match[1]), int(match[2])
    before = text.split("\n")[: line - 1]
    offset = sum(len(each) + 1 for each in before) + column - 1
    what = _shown(match[3].removesuffix(" [INVALID_ARGUMENT]").removesuffix(_CONTAINER))
    if "\n" in text:  # the file may have it otherwise: folded, indented
        what += f" (line {line}, column {column} of the condition)"
    return ConditionError(what, offset=offset, hint=f"it may use {_NAMES}")


def _labelled(facts: FaultFacts) -> str:
    return f"with label {next(iter(facts.labels))}" if facts.labels else "without labels"


def _shown(said: object) -> str:
    return printable(" ".join(str(said).split()), _MESSAGE_LIMIT)
