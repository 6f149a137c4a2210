"""Does a line cost bounded work, whatever it is? Counted in steps of a backtracking matcher.

``re`` does not tell its steps, so a small matcher of the same kind runs the parsed patterns and
counts. It takes no shortcuts, so that ``re`` needs fewer. What it finds has to be what ``re``
finds; otherwise it would count something else.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from parsers.rules import HEAD_LIMIT, POD_LIMIT, Rule, RuleSet, kernel_rules, pod_rules

# Of re's own, and typed nowhere.
op: Any = importlib.import_module("re._constants")
_parser: Any = importlib.import_module("re._parser")

#: Steps for one pattern on a kernel message, whatever its length; on a pod's line for each
#: character.
KERNEL_STEPS = 4_000
POD_STEPS_EACH = 15

_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdigit,
    op.CATEGORY_NOT_DIGIT: lambda c: not c.isdigit(),
    op.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
    op.CATEGORY_NOT_WORD: lambda c: not (c.isalnum() or c == "_"),
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
}
Program = list[tuple[Any, ...]]


def _in(items: Any, character: str) -> bool:
    negated = items[0][0] is op.NEGATE
    for kind, value in items[negated:]:
        if (
            (kind is op.LITERAL and ord(character) == value)
            or (kind is op.RANGE and value[0] <= ord(character) <= value[1])
            or (kind is op.CATEGORY and _CATEGORIES[value](character))
        ):
            return not negated
    return bool(negated)


def _assemble(tree: Any, program: Program) -> None:
    for kind, value in tree:
        if kind is op.LITERAL:
            program.append(("one", lambda c, value=value: ord(c) == value))
        elif kind is op.NOT_LITERAL:
            program.append(("one", lambda c, value=value: ord(c) != value))
        elif kind is op.ANY:
            program.append(("one", lambda c: c != "\n"))
        elif kind is op.IN:
            program.append(("one", lambda c, value=value: _in(value, c)))
        elif kind is op.SUBPATTERN:
            _assemble(value[3], program)
        elif kind is op.BRANCH:
            _branch(value[1], program)
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, inner = value
            for _ in range(low):
                _assemble(inner, program)
            _optional(inner, high - low, program, lazy=kind is op.MIN_REPEAT)
        elif kind is op.AT and value is op.AT_END:
            program.append(("end",))
        else:
            raise NotImplementedError(str(kind))


def _branch(branches: Any, program: Program) -> None:
    leave: list[int] = []
    for branch in branches[:-1]:
        at = len(program)
        program.append(())
        _assemble(branch, program)
        leave.append(len(program))
        program.append(())
        program[at] = ("split", at + 1, len(program))
    _assemble(branches[-1], program)
    for at in leave:
        program[at] = ("jump", len(program))


def _optional(inner: Any, times: int, program: Program, *, lazy: bool) -> None:
    splits: list[int] = []
    for _ in range(times):
        splits.append(len(program))
        program.append(())
        _assemble(inner, program)
    for at in splits:
        first, second = at + 1, len(program)
        program[at] = ("split", second, first) if lazy else ("split", first, second)


def _steps(program: Program, text: str, start: int) -> tuple[int, bool]:
    stack, steps = [(0, start)], 0
    while stack:
        at, position = stack.pop()
        while True:
            steps += 1
            if at == len(program):
                return steps, True
            step = program[at]
            if step[0] == "one":
                if position == len(text) or not step[1](text[position]):
                    break
                at, position = at + 1, position + 1
            elif step[0] == "end":
                if position != len(text):
                    break
                at += 1
            elif step[0] == "split":
                stack.append((step[2], position))
                at = step[1]
            else:
                at = step[1]
    return steps, False


def _hostile(rule: Rule, limit: int) -> list[str]:
    """Texts that go wrong late: cut examples, drawn out by a character that may repeat."""
    texts = {"a" * limit, "0" * limit, "[1" * limit, ": " * limit}
    for example in (each.text for each in rule.examples):
        for cut in range(1, len(example), max(1, len(example) // 12)):
            for filler in {example[cut - 1], "0", "a", " ", "x["}:
                texts.add(example[:cut] + filler * limit)
                texts.add(example[:cut] + filler * 48 + example[cut:])
        texts.add(example[:-1] * (limit // len(example) + 1))
    return [text[:limit] for text in sorted(texts)]


@pytest.mark.parametrize("rule", kernel_rules().rules, ids=lambda rule: rule.fault_id)
def test_a_kernel_message_costs_bounded_steps(rule: Rule) -> None:
    for pattern in rule.patterns:
        program: Program = []
        _assemble(_parser.parse(pattern), program)
        compiled = re.compile(pattern)
        for text in _hostile(rule, HEAD_LIMIT):
            steps, found = _steps(program, text, 0)
            assert steps <= KERNEL_STEPS, text[:120]
            assert found == (compiled.match(text) is not None)


@pytest.mark.parametrize("rule", pod_rules().rules, ids=lambda rule: rule.fault_id)
def test_a_pods_line_costs_steps_in_proportion_to_its_length(rule: Rule) -> None:
    for pattern in rule.patterns:
        program: Program = []
        _assemble(_parser.parse(pattern), program)
        compiled = re.compile(pattern)
        for text in _hostile(rule, POD_LIMIT // 8):
            total, found = 0, False
            for start in range(len(text)):
                steps, found = _steps(program, text, start)
                total += steps
                if found:
                    break
            assert total <= POD_STEPS_EACH * len(text), text[:120]
            assert found == (compiled.search(text) is not None)


@pytest.mark.parametrize("rules", [kernel_rules(), pod_rules()], ids=lambda rules: rules.source)
def test_a_line_of_64_kib_is_cut_before_any_pattern_sees_it(rules: RuleSet) -> None:
    limit = {"kernel": HEAD_LIMIT, "pod": POD_LIMIT}[rules.source]
    seen: list[int] = []

    class Measured:
        def __init__(self, pattern: str) -> None:
            self._pattern = re.compile(pattern)

        def match(self, text: str, /) -> re.Match[str] | None:
            seen.append(len(text))
            return self._pattern.match(text)

        def search(self, text: str, /) -> re.Match[str] | None:
            seen.append(len(text))
            return self._pattern.search(text)

    measured = RuleSet(rules.rules, source=rules.source, compile_pattern=Measured)
    for text in (_long(each.text) for rule in rules.rules for each in rule.examples):
        measured.match(text)
        measured.match_slowly(text)
    patterns = sum(len(rule.patterns) for rule in rules.rules)
    examples = sum(len(rule.examples) for rule in rules.rules)
    assert max(seen) == limit
    assert len(seen) <= 2 * patterns * examples


def _long(text: str) -> str:
    return (text[:-1] * (65_536 // len(text) + 1))[:65_536]
