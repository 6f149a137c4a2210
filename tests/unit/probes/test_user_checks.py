from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.backends.base import GpuBackend
from probes.check import Context, NodeFacts, Outcome, Tier, ToolOutput
from probes.errors import CheckError
from probes.tools.run import ProgramTool
from probes.userchecks.answer import findings
from probes.userchecks.check import UserProgram
from probes.userchecks.definition import UserCheck, UserCheckError, load
from tests.support.probe_checks import TwoGpus

GOOD = {"outcome": "pass", "message": "fine"}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "check.sh"
    path.write_text("#!/bin/sh\necho '{}'\n")
    path.chmod(0o755)
    return path


def define(folder: Path, *checks: Any, name: str = "site.json") -> str:
    path = folder / name
    path.write_text(json.dumps({"checks": checks}))
    return str(path)


# ---------------------------------------------------------------- definitions


def test_a_definition_needs_a_name_and_a_program_and_the_rest_has_defaults(
    tmp_path: Path, program: Path
) -> None:
    path = define(tmp_path, {"name": "site-nvme", "program": "check.sh"})

    assert load(path, ()) == (UserCheck("site-nvme", "site-nvme", str(program)),)
    [spec] = [UserProgram(each).spec for each in load(path, ())]
    assert (spec.tier.value, spec.cadence.value, spec.deadline_s) == ("light", "light", 30.0)
    assert not spec.needs_idle_gpus


def test_everything_can_be_said(tmp_path: Path, program: Path) -> None:
    entry = {
        "name": "site-stress",
        "title": "Does it hold?",
        "program": str(program),
        "arguments": ["--minutes", "5"],
        "tier": "invasive",
        "cadence": "never",
        "deadline_s": 900,
        "needs_idle_gpus": False,
    }
    [check] = load(define(tmp_path, entry), ())

    assert check == UserCheck(**{**entry, "arguments": ("--minutes", "5")})  # type: ignore[arg-type]
    assert UserProgram(check).spec.tier is Tier.INVASIVE


def test_an_invasive_check_needs_idle_gpus_unless_it_says_otherwise(
    tmp_path: Path, program: Path
) -> None:
    path = define(tmp_path, {"name": "a", "program": "check.sh", "tier": "invasive"})

    [check] = load(path, ())
    assert check.needs_idle_gpus


def test_a_folder_is_all_its_json_files_in_order(tmp_path: Path, program: Path) -> None:
    define(tmp_path, {"name": "b", "program": "check.sh"}, name="2.json")
    define(tmp_path, {"name": "a", "program": "check.sh"}, name="1.json")
    (tmp_path / "notes.txt").write_text("no check")

    assert [check.name for check in load(str(tmp_path), ())] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Site"}, 'checks[0].name: "Site". Hint: lower-case'),
        ({"name": None}, "checks[0].name: null. Hint: lower-case"),
        ({"name": "gpu-count"}, 'checks[0].name: "gpu-count". Hint: a shipped check'),
        ({"name": "light"}, 'checks[0].name: "light". Hint: a rule means something else'),
        ({"name": "unresponsive"}, 'checks[0].name: "unresponsive". Hint: a rule means'),
        ({"title": "two\nlines"}, "checks[0].title"),
        ({"tittle": "x"}, 'checks[0].tittle: "x". Hint: known are arguments, cadence'),
        ({"program": ""}, "checks[0].program"),
        ({"program": "none.sh"}, "No such file or directory"),
        ({"program": "."}, "is no program that can be run"),
        ({"program": "site.json"}, "is no program that can be run: chmod +x"),
        ({"arguments": "--fast"}, 'checks[0].arguments: "--fast". Hint: a list of texts'),
        ({"arguments": [1]}, "checks[0].arguments: [1]"),
        ({"tier": "heavy"}, 'checks[0].tier: "heavy". Hint: one of boot, light, invasive'),
        ({"cadence": 60}, "checks[0].cadence: 60. Hint: one of boot, light, hourly"),
        ({"deadline_s": 0}, "checks[0].deadline_s: 0. Hint: seconds above 0"),
        ({"deadline_s": "30"}, 'checks[0].deadline_s: "30"'),
        ({"deadline_s": True}, "checks[0].deadline_s: true"),
        ({"deadline_s": 1e9}, "at most 86400"),
        ({"needs_idle_gpus": "no"}, "true or false"),
    ],
)
def test_a_slip_is_told_with_its_place_its_value_and_a_hint(
    tmp_path: Path, program: Path, change: dict[str, object], said: str
) -> None:
    path = define(tmp_path, {"name": "site-a", "program": "check.sh", **change})

    with pytest.raises(UserCheckError) as refused:
        load(path, {"gpu-count"})
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "an object with one member"),
        ('{"check": []}', "an object with one member"),
        ('{"checks": {}}', "a list is expected"),
        ('{"checks": [7]}', "checks[0]: 7. Hint: an object is expected"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "site.json"
    path.write_text(content)

    with pytest.raises(UserCheckError) as refused:
        load(str(path), ())
    assert said in str(refused.value)


def test_a_name_is_used_once(tmp_path: Path, program: Path) -> None:
    define(tmp_path, {"name": "a", "program": "check.sh"}, name="1.json")
    define(tmp_path, {"name": "a", "program": "check.sh"}, name="2.json")

    with pytest.raises(UserCheckError, match=r"2\.json: .*1\.json has it too"):
        load(str(tmp_path), ())


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserCheckError, match="No such file"):
        load(str(tmp_path / "none.json"), ())
    with pytest.raises(UserCheckError, match=r"no \*\.json"):
        load(str(tmp_path), ())


def test_a_program_that_anybody_may_change_is_refused(tmp_path: Path, program: Path) -> None:
    program.chmod(0o757)

    with pytest.raises(UserCheckError, match="anybody may change"):
        load(define(tmp_path, {"name": "a", "program": "check.sh"}), ())


# ---------------------------------------------------------------- answers


def said(answer: object, returncode: int = 0, stderr: str = "") -> ToolOutput:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return ToolOutput(returncode, text, stderr)


def test_an_answer_says_all_that_a_finding_has() -> None:
    [finding] = findings(
        said(
            {
                "outcome": "fail",
                "message": "slow",
                "device": "0000:3b:00",
                "severity": "fatal",
                "remedy": "reset_gpu",
                "busy": True,
                "detail": {"slot": "3"},
                "measurements": [
                    {
                        "name": "write",
                        "value": 1.5,
                        "unit": "GB/s",
                        "threshold": {"value": 2, "bound": "at_least", "source": "contract"},
                    },
                    {"name": "errors", "value": 0, "unit": "count"},
                ],
            }
        )
    )

    assert (finding.outcome, finding.device, finding.severity, finding.remedy) == (
        Outcome.FAIL,
        "0000:3b:00",
        "fatal",
        "reset_gpu",
    )
    write, errors = finding.measurements
    assert write.threshold is not None
    assert (write.value, write.threshold.value, write.threshold.source) == (1.5, 2.0, "contract")
    assert errors.threshold is None
    assert (finding.busy, finding.detail) == (True, {"slot": "3"})


def test_a_list_is_a_finding_each() -> None:
    found = findings(said([GOOD, {"outcome": "skip", "message": "none here", "device": "mlx5_0"}]))

    assert [(each.outcome, each.device) for each in found] == [
        (Outcome.PASS, ""),
        (Outcome.SKIP, "mlx5_0"),
    ]


@pytest.mark.parametrize(
    ("outcome", "returncode", "expected"),
    [
        ("pass", 0, "pass"),
        ("pass", 1, "error"),
        ("pass", -11, "error"),
        ("fail", 0, "fail"),
        ("fail", 1, "fail"),
        ("warn", 2, "warn"),
        ("skip", 3, "skip"),
        ("error", 3, "error"),
    ],
)
def test_the_answer_counts_whatever_the_exit_code_but_a_pass_needs_zero(
    outcome: str, returncode: int, expected: str
) -> None:
    [finding] = findings(said({"outcome": outcome, "message": "x"}, returncode))

    assert finding.outcome.value == expected


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (said("", 1, "cannot open /dev/x"), "it exited with 1; no output; it said: cannot open"),
        (said("", 0), "it exited with 0; no output"),
        (said("all good", 0), "its output is no JSON"),
        (said("PASS", -9), "it was ended by signal 9"),
        (said(json.dumps(GOOD) + "\n" + json.dumps(GOOD)), "its output is no JSON"),
        (said("[" * 100_000), "its output is no JSON"),
        (said([]), "0 results"),
        (said([GOOD] * 129), "129 results"),
        (said(7), "expected: an object"),
        (said([GOOD, "pass"]), "[1] of its output: 'pass'"),
        (said({"outcome": "pass"}), "message"),
        (said({"outcome": "pass", "message": " "}), "say what was found"),
        (said({"outcome": "PASS", "message": "x"}), "outcome of its output: 'PASS'"),
        (said({"outcome": "timeout", "message": "x"}), "one of pass, fail, warn, skip, error"),
        (said({"outcome": ["pass"], "message": "x"}), "outcome"),
        (said({**GOOD, "mesage": "x"}), "mesage"),
        (said({**GOOD, "device": "gpu 0"}), "device"),
        (said({**GOOD, "severity": "info"}), "one of fatal, degraded"),
        (said({**GOOD, "remedy": "pray"}), "one of none, restart_app"),
        (said({**GOOD, "busy": 1}), "busy"),
        (said({**GOOD, "detail": {"a": 1}}), "detail.a"),
        (said({**GOOD, "measurements": {}}), "measurements"),
        (said({**GOOD, "measurements": [{"name": "x", "value": 1}]}), "measurements[0].unit"),
        (said({**GOOD, "measurements": [{"value": 1, "unit": "s"}]}), "measurements[0].name"),
        (
            said({**GOOD, "measurements": [{"name": "x", "value": "1", "unit": "s"}]}),
            "a finite number",
        ),
        (
            said({**GOOD, "measurements": [{"name": "x", "value": True, "unit": "s"}]}),
            "a finite number",
        ),
        (
            said('{"outcome": "pass", "message": "x", "measurements": '
                 '[{"name": "x", "value": NaN, "unit": "s"}]}'),
            "NaN is no number",
        ),
        (
            said('{"outcome": "pass", "message": "x", "measurements": '
                 '[{"name": "x", "value": 1e999, "unit": "s"}]}'),
            "a finite number",
        ),
        (
            said({**GOOD, "measurements": [{"name": "x", "value": 1, "unit": "s",
                  "threshold": {"value": 2, "bound": "min", "source": "y"}}]}),
            "one of at_least, at_most, equal",
        ),
        (
            said({**GOOD, "measurements": [{"name": "x", "value": 1, "unit": "s",
                  "threshold": {"value": 2, "bound": "at_least", "source": "y"}}]}),
            "x is beyond its threshold",
        ),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_that_says_why(output: ToolOutput, text: str) -> None:
    with pytest.raises(CheckError) as refused:
        findings(output)
    assert text in str(refused.value)


@given(st.text(max_size=300) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")))
def test_garbage_is_never_a_pass(text: str) -> None:
    with pytest.raises(CheckError):
        findings(said(text))


ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "outcome": st.sampled_from(["pass", "fail", "PASS", "timeout", None, 1]),
        "message": st.text(max_size=9) | st.none(),
        "device": st.text(max_size=5) | st.integers(),
        "busy": st.booleans() | st.integers() | st.none(),
        "measurements": st.lists(
            st.fixed_dictionaries(
                {"name": st.text(max_size=3)},
                optional={"value": st.integers() | st.floats(), "unit": st.text(max_size=3)},
            ),
            max_size=2,
        ),
    },
)


@given(ANSWER | st.lists(ANSWER, max_size=3), st.sampled_from([0, 1, -9]))
def test_any_answer_is_findings_or_an_error(answer: object, returncode: int) -> None:
    try:
        found = findings(said(json.dumps(answer), returncode))
    except CheckError:
        return
    if returncode != 0:
        assert Outcome.PASS not in [each.outcome for each in found]


# ---------------------------------------------------------------- the program


def test_the_program_gets_its_arguments_and_what_is_known_of_the_node(
    tmp_path: Path, program: Path
) -> None:
    got = tmp_path / "got.json"
    program.write_text(
        "#!/bin/sh\n"
        f"cat > {got}\n"
        'echo "{\\"outcome\\": \\"pass\\", \\"message\\": \\"$1 $LC_ALL\\"}"\n'
    )
    check = UserProgram(UserCheck("site-a", "A?", str(program), ("--fast",)))
    context = Context(
        backend=cast("GpuBackend", TwoGpus(0)),
        tool=ProgramTool(os.environ),
        root="/host",
        node=NodeFacts("gpu-node-3", {"zone": "b"}, 8),
        options={"speed": "9"},
        boot_id="a" * 32,
    )

    [finding] = check.run(context)
    assert (finding.outcome, finding.message) == (Outcome.PASS, "--fast C")
    assert json.loads(got.read_text()) == {
        "check": "site-a",
        "node": "gpu-node-3",
        "labels": {"zone": "b"},
        "expected_gpus": 8,
        "boot_id": "a" * 32,
        "root": "/host",
        "options": {"speed": "9"},
    }
