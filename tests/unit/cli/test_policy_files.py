"""Policy files on the command line: ``policy check``, ``show``, ``diff``, ``test``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.controller import cli

POLICY = """\
version: 1
rules:
  - name: app-xids
    match: {faults: [xid/13, xid/31]}
    mode: act
    effect: PreferNoSchedule
budget: {max_nodes: 3}
tests:
  - {fault: xid/13, rule: app-xids, mode: act, effect: PreferNoSchedule}
  - {fault: xid/79, rule: fatal}
"""
RULES = "version: 1\nentries:\n  xid/43: {severity: fatal, remedy: reset_gpu}\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_check_tells_what_a_policy_comes_to(policy: Path) -> None:
    done = cli("policy", "check", str(policy))
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        f"{policy}: right",
        "1 rules before those of the preset default; 13 in all",
        "2 known faults are treated otherwise than by the preset default",
        "rule app-xids acts on 2 application faults, by log lines alone",
    ):
        assert text in done.stdout


def test_check_knows_a_policy_from_a_rules_file(policy: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    done = cli("policy", "check", str(policy), str(rules), "-o", "json")
    assert done.returncode == 0, done.stderr
    one, other = json.loads(done.stdout)["files"]
    assert (one["kind"], one["ok"], one["faults_changed"]) == ("policy", True, 2)
    assert (other["kind"], other["ok"]) == ("rules", True)
    forced = cli("policy", "check", "--kind", "policy", str(rules))
    assert forced.returncode == 2
    assert f"{rules}:2:1: entries: no such field" in forced.stderr


def test_check_tells_every_problem_with_its_place(policy: Path) -> None:
    policy.write_text(
        POLICY.replace("mode: act\n", "mode: acts\n").replace("_nodes: 3", "_nods: 3")
    )
    done = cli("policy", "check", str(policy))
    assert (done.returncode, done.stdout) == (2, "")
    for line in (
        f"{policy}:5:11: rules[0].mode: not known (got 'acts')\n  hint: did you mean act?\n",
        f"{policy}:7:10: budget.max_nods: no such field\n  hint: did you mean max_nodes?\n",
        f"error: 2 problems in {policy}\n",
    ):
        assert line in done.stderr


def test_show_prints_a_file_that_makes_the_same_policy(policy: Path, tmp_path: Path) -> None:
    shown = cli("policy", "show", str(policy))
    assert shown.returncode == 0, shown.stderr
    again = tmp_path / "again.yaml"
    again.write_text(shown.stdout)
    assert cli("policy", "diff", str(policy), str(again)).returncode == 0
    as_json = cli("policy", "show", str(policy), "-o", "json")
    assert json.loads(as_json.stdout) == yaml.safe_load(shown.stdout)
    table = cli("policy", "show", str(policy), "-o", "table", environ={"COLUMNS": "200"})
    assert "PreferNoSchedule" in table.stdout
    assert "xid/13, xid/31" in table.stdout


def test_show_tells_what_the_settings_make(policy: Path) -> None:
    alone = cli("policy", "show", "-o", "json")
    assert json.loads(alone.stdout)["budget"]["max_nodes"] == 20
    environ = {"KONDUKTOR_HEALTH_POLICY_FILE": str(policy)}
    with_file = json.loads(cli("policy", "show", "-o", "json", environ=environ).stdout)
    assert with_file["budget"]["max_nodes"] == 3
    environ = {"KONDUKTOR_HEALTH_POLICY__BUDGET_PERCENT": "33"}
    preset = cli("policy", "show", "--preset", "conservative", "-o", "json", environ=environ)
    assert json.loads(preset.stdout)["budget"] == {
        "enabled": True, "percent": 33.0, "max_nodes": 5, "rate_per_minute": 10,
    }  # fmt: skip


def test_diff_says_what_is_done_differently_and_ends_as_diff_does(policy: Path) -> None:
    done = cli("policy", "diff", "default", str(policy))
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "xid/13 (application)", "xid/31 (application)", "budget.max_nodes",
    ]  # fmt: skip
    assert "observe" in lines[0]
    assert "-> act PreferNoSchedule" in lines[0]
    assert lines[2] == "budget.max_nodes: 20 -> 3"
    as_json = json.loads(cli("policy", "diff", "default", str(policy), "-o", "json").stdout)
    assert as_json["faults"][0]["after"]["effect"] == "PreferNoSchedule"
    assert as_json["limits"] == [{"key": "budget.max_nodes", "before": 20, "after": 3}]
    same = cli("policy", "diff", "default", "default")
    assert (same.returncode, same.stdout) == (0, "")


def test_diff_does_not_hide_what_shows_only_on_some_nodes(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\nrules: [{name: x, match: {nodes: spot=true}, mode: observe}]\n"
    )  # fmt: skip
    done = cli("policy", "diff", "default", str(path))
    assert done.returncode == 1
    assert "the rules differ for some devices, labels" in done.stdout


def test_a_word_that_is_neither_preset_nor_file_is_an_error(tmp_path: Path) -> None:
    done = cli("policy", "diff", "default", "strickt")
    assert done.returncode == 2
    assert "error: strickt: no such file and no preset\n" in done.stderr
    assert "hint: presets are default, conservative" in done.stderr
    done = cli("policy", "show", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_cases_of_the_file_and_of_others_are_played(policy: Path, tmp_path: Path) -> None:
    done = cli("policy", "test", str(policy))
    assert (done.returncode, done.stdout) == (0, "2 cases, 0 failed\n")
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "version: 1\ntests:\n"
        "  - {fault: xid/13, trust: pod, labels: {zone: a}, mode: observe}\n"
        "  - {fault: acme/thing, mode: observe}\n"
        "  - {fault: acme/thing, severity: degraded, rule: degraded}\n"
    )
    done = cli("policy", "test", str(policy), "--cases", str(cases))
    assert done.returncode == 1
    assert (
        f"{cases} case 1: xid/13 application pod zone=a: rule app-xids, mode act,"
        " effect PreferNoSchedule\n  mode: expected observe, got act\n"
    ) in done.stdout
    assert "fault: expected one of the fault tables, or a severity, got acme/thing" in done.stdout
    assert "5 cases, 2 failed" in done.stdout
    assert "error: 2 of 5 cases failed" in done.stderr


def test_no_cases_or_wrong_ones_are_an_error(tmp_path: Path) -> None:
    assert cli("policy", "test", "strict").returncode == 2
    cases = tmp_path / "cases.yaml"
    cases.write_text("version: 1\ntests: [{fault: xid/79, rul: x}]\n")
    done = cli("policy", "test", "strict", "--cases", str(cases))
    assert done.returncode == 2
    assert f"{cases}:2:25: tests[0].rul: no such field" in done.stderr


ASKS = """\
version: 1
rules:
  - name: look
    match: {faults: [xid/63]}
    mode: observe
    verify: [light, invasive]
  - name: prove
    match: {faults: [xid/64]}
    mode: act
    clear: {probes: [{name: light}, {name: invasive}]}
  - name: usual
    match: {faults: [xid/79]}
    mode: act
  - name: checks
    match: {faults: [xid/95]}
    mode: act
    verify: [gpu-memory]
    clear: {probes: [{name: gpu-memory}]}
"""
NOBODY = {"probes": {"invasive_interval_s": 0}}


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        (None, False),
        ({}, False),
        (NOBODY, True),
        ({"probes": {"enabled": False}}, True),
        ({"probes": {"invasive_interval_s": 0, "jobs": {"enabled": True, "image": "i"}}}, False),
    ],
)
def test_check_warns_of_a_tier_that_nobody_runs(
    tmp_path: Path, settings: dict[str, Any] | None, warned: bool
) -> None:
    path, config = tmp_path / "policy.yaml", tmp_path / "settings.yaml"
    path.write_text(ASKS)
    config.write_text(yaml.safe_dump(settings))
    more = () if settings is None else ("--config", str(config))
    done = cli("policy", "check", str(path), *more)
    assert done.returncode == 0
    lines = [each for each in done.stderr.splitlines() if each.endswith("(warning)")]
    assert bool(lines) is warned
    if warned:
        implicit = "without clear the rule asks for it, and never clears by itself"
        nobody = "nobody runs the tier invasive: neither Jobs (probes.jobs.enabled) nor the agents"
        assert [each.partition(f": {nobody}")[0] for each in lines] == [
            f"{path}:6:21: rules[0].verify[1]: it is never measured",
            f"{path}:10:44: rules[1].clear.probes[1].name: the rule never clears by itself",
            f"{path}:11:5: rules[2]: {implicit}",
        ]
        assert "hint: switch one of them on, or name checks of it" in done.stderr
    told = json.loads(cli("policy", "check", str(path), *more, "-o", "json").stdout)["files"][0]
    assert (told["ok"], len(told["warnings"])) == (True, 3 if warned else 0)
