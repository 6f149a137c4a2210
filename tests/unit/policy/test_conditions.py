"""Conditions in CEL: tried when they are loaded, and never a reason to stop."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.policy_file import Reader
from konduktor_health.policy.conditions import VARIABLES, code_of, values_of
from konduktor_health.treatment import FaultFacts, choose
from parsers.fault import Remedy, Severity, Trust

FACTS = FaultFacts(
    "xid/79", Severity.FATAL, Remedy.REBOOT, "0000:3b:00", Trust.KERNEL, False, {"zone": "a"}
)


def policy_text(when: str) -> str:
    shown = when.replace("'", "''")
    return f"version: 1\nrules:\n  - name: x\n    match: {{when: '{shown}'}}\n    mode: observe\n"


def holds(when: str, facts: FaultFacts = FACTS) -> bool:
    found = Reader().judge(policy_text(when).encode())
    assert [str(each) for each in found.problems] == []
    return choose(found.policy.rules, facts).name == "x"


def mistake(when: str) -> tuple[str, str]:
    (problem,) = Reader().judge(policy_text(when).encode()).problems
    return str(problem), problem.hint


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ('fault == "xid/79"', True),
        ("code == 79 && code in [74, 79]", True),
        ("code == 0", False),
        ('severity == "fatal" && remedy == "reboot" && trust == "kernel"', True),
        ('device.startsWith("0000:3b") && !injected', True),
        ('"zone" in labels && labels["zone"] == "a"', True),
        ('"zone" in labels && labels.zone == "b"', False),
        ('labels.exists(key, key.startsWith("zo"))', True),
        ('fault.matches("^xid/7[0-9]$")', True),
    ],
)
def test_a_condition_looks_at_the_fault_and_its_node(when: str, met: bool) -> None:
    assert holds(when) is met


def test_every_variable_is_there_with_its_type() -> None:
    values = values_of(FACTS)
    assert list(values) == [name for name, _, _ in VARIABLES]
    for name, kind, _ in VARIABLES:
        assert holds(f"type({name}) == type({name})"), (name, kind)


@pytest.mark.parametrize(
    ("when", "said", "hint"),
    [
        ("code ==", "4:27: rules[0].match.when: Syntax error", "it may use fault, code"),
        ("code == foo", "4:28: rules[0].match.when: undeclared reference to 'foo'", "fault"),
        ('code == "79"', "4:25: rules[0].match.when: found no matching overload", ""),
        ("code", "4:20: rules[0].match.when: gives INT, not true or false", "such as fault =="),
        ('labels["a"] == "b"', "fails for operator/taint on a node without labels", '"KEY" in'),
        ('fault == "xid/79" && 1 / code == 1 / 0', "fails for xid/79 on a node", ""),
        ('fault.matches("(")', "invalid regular expression", ""),
        ("(" * 300 + "true" + ")" * 300, "recursion limit", ""),
        ("labels.all(a, " * 6 + "true" + ")" * 6, "", ""),
        ("true || " * 200 + "true", "has 1604 characters", "at most 1000"),
    ],
)
def test_a_wrong_condition_is_found_when_it_is_loaded(when: str, said: str, hint: str) -> None:
    if not said:  # as many loops as there are labels: it ends
        assert holds(when)
        return
    message, hinted = mistake(when)
    assert said in message
    assert hint in hinted


def test_a_condition_without_quotes_has_its_place_too() -> None:
    (problem,) = (
        Reader()
        .judge(b"version: 1\nrules:\n  - {name: x, match: {when: code = 1}, mode: act}\n")
        .problems
    )
    assert (problem.line, problem.column) == (3, 34)


def test_a_condition_over_several_lines_tells_where_it_is_wrong() -> None:
    text = (
        "version: 1\nrules:\n  - name: x\n    match:\n      when: |\n        code == 79\n"
        "        && foo\n    mode: observe\n"
    )
    (problem,) = Reader().judge(text.encode()).problems
    assert "undeclared reference to 'foo' (line 2, column 4 of the condition)" in str(problem)


def test_a_condition_that_fails_at_run_time_is_not_met_and_is_told() -> None:
    """No sample has this label, so that nothing is found at load."""
    told: list[tuple[str, str]] = []
    when = '"odd" in labels && labels["odd"].size() / (labels.size() - 2) > 0'
    found = Reader(failed=lambda text, why: told.append((text, why))).judge(
        policy_text(when).encode()
    )
    assert found.problems == ()
    facts = FaultFacts(
        "xid/79", Severity.FATAL, Remedy.REBOOT, "", Trust.KERNEL, False, {"odd": "1", "b": "2"}
    )
    assert choose(found.policy.rules, facts).name == "fatal"
    ((text, why),) = told
    assert text == when
    assert "divide by zero" in why


@given(
    fault_id=st.text(max_size=20), device=st.text(max_size=20),
    labels=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    trust=st.sampled_from(Trust), injected=st.booleans(),
)  # fmt: skip
def test_a_condition_never_raises(
    fault_id: str, device: str, labels: dict[str, str], trust: Trust, injected: bool
) -> None:
    facts = FaultFacts(
        fault_id, Severity.FATAL, Remedy.REBOOT, device, trust, injected, labels
    )  # fmt: skip
    assert choose(LOOPING.policy.rules, facts).name in ("x", "operator", "fatal", "pods-never-act")


LOOPING = Reader().judge(
    policy_text("fault != device || labels.exists(k, labels[k] == fault) || code > 1").encode()
)


@pytest.mark.parametrize(
    ("fault_id", "code"),
    [("xid/79", 79), ("sxid/12028", 12028), ("kernel/oops", 0), ("xid/x", 0), ("xid/", 0),
     ("xid/" + "9" * 30, 0), ("xid/٣", 0)],
)  # fmt: skip
def test_the_code_of_a_fault(fault_id: str, code: int) -> None:
    assert code_of(fault_id) == code


def test_without_the_engine_a_condition_is_a_problem_and_other_files_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    message, hint = mistake("code == 79")
    assert "4:20: rules[0].match.when: conditions cannot be read here" in message
    assert hint == "install cel-expr-python"
    assert Reader().judge(b"version: 1\npreset: strict\n").problems == ()


def test_the_engine_is_loaded_only_for_a_condition() -> None:
    script = (
        "import sys\n"
        "from konduktor_health.adapters.policy_file import Reader\n"
        "assert not Reader().judge(b'version: 1\\npreset: strict\\n').problems\n"
        "assert 'cel_expr_python' not in sys.modules\n"
        f"assert not Reader().judge({policy_text('code == 79').encode()!r}).problems\n"
        "assert 'cel_expr_python.cel' in sys.modules\n"
        "assert not [name for name in sys.modules if name.startswith('cel_expr_python.ext')], (\n"
        "    'images are built without them')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
