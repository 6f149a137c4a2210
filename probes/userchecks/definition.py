"""What checks has a site defined? Read from JSON files, refused with what is wrong where.

Invariants: a name is nobody else's, so that a fault of ``probe/<name>`` says which check it is of;
a program that anybody may change is not run.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from parsers.printable import printable
from probes.check import Cadence, Tier
from probes.errors import ProbeError

#: Most checks of a site. One run has at most 2048 results.
MOST_CHECKS = 32
LONGEST_DEADLINE_S = 86400.0
DEFAULT_DEADLINE_S = 30.0

_MOST_BYTES = 1024 * 1024
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # as ``probes.report.Name``
#: What the controller means by these is no check: tiers and ``found-by`` in its rules, and its own
#: faults ``probe/unresponsive`` and ``probe/allocatable-gpus``.
RESERVED = frozenset(
    ("boot", "light", "hourly", "invasive", "found-by", "unresponsive", "allocatable-gpus")
)
_MEMBERS = frozenset(
    ("name", "title", "program", "arguments", "tier", "cadence", "deadline_s", "needs_idle_gpus")
)
#: How often a check of a tier runs, when its definition does not say.
_CADENCES = {Tier.BOOT: Cadence.BOOT, Tier.LIGHT: Cadence.LIGHT, Tier.INVASIVE: Cadence.INVASIVE}


class UserCheckError(ProbeError):
    """A definition that cannot be used: file, member, value, and a hint."""


@dataclass(frozen=True, slots=True)
class UserCheck:
    """A check of the site, as its file defines it."""

    name: str
    title: str
    program: str  # absolute path
    arguments: tuple[str, ...] = ()
    tier: str = Tier.LIGHT.value
    cadence: str = Cadence.LIGHT.value
    deadline_s: float = DEFAULT_DEADLINE_S
    needs_idle_gpus: bool = False


def load(path: str, taken: Collection[str]) -> tuple[UserCheck, ...]:
    """The checks of a file, or of all ``*.json`` of a folder, by name of file.

    ``taken``: names of shipped checks. Raises UserCheckError.
    """
    files = [path]
    if os.path.isdir(path):
        files = sorted(glob.glob(os.path.join(glob.escape(path), "*.json")))
        if not files:
            raise UserCheckError(f"{path}: no *.json in this folder. Hint: name the file itself")
    found: dict[str, str] = {}
    checks: list[UserCheck] = []
    for file in files:
        for where, entry in _entries(file):
            check = _check(file, where, entry)
            if check.name in RESERVED:
                _refuse(file, f"{where}.name", check.name, "a rule means something else by it")
            if check.name in taken:
                _refuse(file, f"{where}.name", check.name, "a shipped check has this name")
            if check.name in found:
                _refuse(file, f"{where}.name", check.name, f"{found[check.name]} has it too")
            found[check.name] = file
            checks.append(check)
    if len(checks) > MOST_CHECKS:
        raise UserCheckError(f"{path}: {len(checks)} checks, more than {MOST_CHECKS}")
    return tuple(checks)


def _entries(file: str) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        with open(file, encoding="utf-8") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserCheckError(f"{file}: cannot be read: {why}") from error
    if len(content) > _MOST_BYTES:
        raise UserCheckError(f"{file}: larger than {_MOST_BYTES} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserCheckError(f"{file}: no JSON: {printable(str(error), 120)}") from error
    if not isinstance(value, dict) or set(value) != {"checks"}:
        raise UserCheckError(f'{file}: an object with one member is expected: {{"checks": [...]}}')
    if not isinstance(value["checks"], list):
        _refuse(file, "checks", value["checks"], "a list is expected")
    entries: list[tuple[str, Mapping[str, Any]]] = []
    for number, entry in enumerate(value["checks"]):
        where = f"checks[{number}]"
        if not isinstance(entry, dict):
            _refuse(file, where, entry, "an object is expected")
        entries.append((where, entry))
    return entries


def _check(file: str, where: str, entry: Mapping[str, Any]) -> UserCheck:
    for member in entry:
        if member not in _MEMBERS:
            known = ", ".join(sorted(_MEMBERS))
            _refuse(file, f"{where}.{printable(member, 40)}", entry[member], f"known are {known}")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "lower-case letters, digits and '-', at most 63, as in site-nvme"
        _refuse(file, f"{where}.name", name, hint)
    title = entry.get("title", name)
    if not isinstance(title, str) or not 0 < len(title) <= 200 or not title.isprintable():
        _refuse(file, f"{where}.title", title, "one line of at most 200 characters")
    arguments = entry.get("arguments", [])
    if not isinstance(arguments, list) or not all(_is_argument(each) for each in arguments):
        _refuse(file, f"{where}.arguments", arguments, 'a list of texts, as in ["--fast"]')
    tier = Tier(_one_of(file, f"{where}.tier", entry.get("tier", "light"), [*Tier]))
    cadence = entry.get("cadence", _CADENCES[tier].value)
    idle = entry.get("needs_idle_gpus", tier is Tier.INVASIVE)
    if not isinstance(idle, bool):
        _refuse(file, f"{where}.needs_idle_gpus", idle, "true or false")
    return UserCheck(
        name=name,
        title=title,
        program=_program(file, f"{where}.program", entry.get("program")),
        arguments=tuple(arguments),
        tier=tier.value,
        cadence=_one_of(file, f"{where}.cadence", cadence, [*Cadence]),
        deadline_s=_seconds(file, f"{where}.deadline_s", entry.get("deadline_s")),
        needs_idle_gpus=idle,
    )


def _is_argument(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _one_of(file: str, where: str, value: object, choices: list[Any]) -> str:
    names = [each.value for each in choices]
    if value not in names:
        _refuse(file, where, value, f"one of {', '.join(names)}")
    return str(value)


def _seconds(file: str, where: str, value: object) -> float:
    if value is None:
        return DEFAULT_DEADLINE_S
    number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    if not 0 < number <= LONGEST_DEADLINE_S:
        _refuse(file, where, value, f"seconds above 0, at most {LONGEST_DEADLINE_S:g}")
    return number


def _program(file: str, where: str, value: object) -> str:
    """Its absolute path; a relative one is beside the file."""
    if not isinstance(value, str) or not value or "\0" in value:
        _refuse(file, where, value, "the path of a program; a relative one is beside this file")
    path = os.path.join(os.path.dirname(os.path.abspath(file)), value)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        _refuse(file, where, value, f"{path}: {error.strerror}")
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        _refuse(file, where, value, f"{path} is no program that can be run: chmod +x")
    if mode & stat.S_IWOTH:
        _refuse(file, where, value, f"anybody may change {path}: chmod o-w")
    return path


def _refuse(file: str, where: str, value: object, hint: str) -> NoReturn:
    try:
        shown = json.dumps(value)
    except (TypeError, ValueError):
        shown = repr(value)
    raise UserCheckError(f"{file}: {where}: {printable(shown, 80)}. Hint: {hint}")
