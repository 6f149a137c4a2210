"""A policy file: what it makes, and where its mistakes are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.policy_file import Judged, Reader, read_content, read_policy
from konduktor_health.adapters.rules_file import judge as judge_rules
from konduktor_health.errors import ConfigError
from konduktor_health.model import Pauses, Policy, Pool, Window
from konduktor_health.policy.document import PolicyDocument, PresetName
from konduktor_health.policy.presets import OPERATOR, PRESETS, REST
from konduktor_health.policy.ruling import PROOF
from konduktor_health.policy.writing import as_document
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import parse_rfc3339
from konduktor_health.treatment import (
    DEFAULT_RULES,
    Asked,
    ClearRule,
    Effect,
    Match,
    Mode,
    ProbeNeed,
    Repeat,
    Rule,
    Treatment,
)
from parsers.fault import Remedy, Severity, Trust

FULL = """\
version: 1
preset: strict
rules:
  - name: ecc-on-a100
    match:
      faults: [xid/094, xid/6?]
      severity: [fatal, degraded]
      remedy: [reset_gpu]
      device: ['0000:3b:*', '']
      trust: [kernel, attested]
      nodes: nvidia.com/gpu.product in (A100, A30), !spot
      when: 'code > 90 && !injected'
    mode: act
    effect: PreferNoSchedule
    repeat: {count: 3, within: 24h, other_owner: true}
    clear:
      repair: boot
      probes: [{name: light, times: 3}, {name: nvlink-bandwidth, under_load: true}]
      quiet: 1h30m
      log_only: true
    decay: 7d
    verify: [light]
    ladder: [reset_gpu, reboot]
  - {name: shown, match: {faults: [kernel/oops]}, mode: observe}
pools:
  - {name: h100, nodes: gpu=h100, percent: 5, max_nodes: 3, count_unready: true}
  - {name: zone, label: topology.kubernetes.io/zone, rate_per_minute: 0}
budget: {percent: 7.5, max_nodes: 9}
surge: {min_nodes: 8, window: 5m, quiet: 3600}
held_effect: PreferNoSchedule
pauses:
  start_up: 10m
  foreign_cordon: true
  windows:
    - {name: move, start: 2027-01-31T22:00:00Z, end: '2027-02-01T02:00:00+01:00', nodes: rack=7}
domains: [example.com/rack]
autopilot_labels: true
history: 60d
hold_down_max: 12h
unobserved: {after: 20m, percent: 2}
tests:
  - {fault: xid/94, rule: ecc-on-a100}
"""


def judged(text: str, **reader: Any) -> Judged:
    return Reader(**reader).judge(text.encode())


def right(text: str, **reader: Any) -> Policy:
    found = judged(text, **reader)
    assert [str(problem) for problem in found.problems] == []
    return found.policy


def problems(text: str) -> list[tuple[str, str]]:
    return [(str(each), each.hint) for each in judged(text).problems]


def only(text: str) -> tuple[str, str]:
    (found,) = problems(text)
    return found


# ---------------------------------------------------------------- what it makes


def test_a_file_that_says_nothing_is_the_preset_default() -> None:
    assert right("version: 1\n") == Policy()


def test_every_field_of_a_rule_is_compiled() -> None:
    rule, shown = right(FULL).rules[1:3]
    condition = rule.match.condition
    assert condition is not None
    assert rule == Rule(
        "ecc-on-a100",
        Match(
            ("xid/94", "xid/6?"),
            frozenset({Severity.FATAL, Severity.DEGRADED}),
            frozenset({Remedy.RESET_GPU}),
            ("0000:3b:*", ""),
            frozenset({Trust.KERNEL, Trust.ATTESTED}),
            parse_selector("nvidia.com/gpu.product in (A100, A30), !spot"),
            condition,
        ),
        Treatment(
            Mode.ACT,
            Effect.PREFER_NO_SCHEDULE,
            Repeat(3, 86_400.0, True),
            ClearRule(
                Asked.BOOT,
                (ProbeNeed("light", 3), ProbeNeed("nvlink-bandwidth", 1, True)),
                5400.0,
                log_only=True,
            ),
            604_800.0,
            ("light",),
            (Remedy.RESET_GPU, Remedy.REBOOT),
        ),
    )
    assert shown == Rule(
        "shown", Match(("kernel/oops",)), Treatment(Mode.OBSERVE, clear=PROOF, decay_s=86_400.0)
    )


def test_rules_of_the_file_come_between_operator_and_the_presets() -> None:
    names = [rule.name for rule in right(FULL).rules]
    assert names[:3] == ["operator", "ecc-on-a100", "shown"]
    assert names[3:] == [rule.name for rule in PRESETS[PresetName.STRICT].rules[1:]]


def test_every_limit_is_compiled() -> None:
    policy = right(FULL)
    assert policy.pools == (
        Pool("h100", parse_selector("gpu=h100"), "", 5.0, 3, 10, count_unready=True),
        Pool("zone", None, "topology.kubernetes.io/zone", 7.5, 9, 0),
    )
    assert (policy.budget_percent, policy.budget_max_nodes, policy.rate_per_minute) == (7.5, 9, 10)
    assert (policy.surge_min_nodes, policy.surge_window_s, policy.surge_quiet_s) == (8, 300, 3600)
    assert policy.held_effect is Effect.PREFER_NO_SCHEDULE
    start, end = (parse_rfc3339(f"2027-0{day}:00:00Z") for day in ("1-31T22", "2-01T01"))
    assert policy.pauses == Pauses(
        start_up_s=600.0,
        foreign_cordon=True,
        windows=(Window("move", start, end, parse_selector("rack=7")),),
    )
    assert (policy.domains, policy.autopilot_labels) == (("example.com/rack",), True)
    assert (policy.history_s, policy.hold_down_max_s) == (60 * 86_400, 43_200)
    assert (policy.unobserved_after_s, policy.unobserved_percent) == (1200, 2)


def test_the_file_outranks_settings_that_outrank_the_preset_that_outranks_defaults() -> None:
    base, given = Policy(budget_max_nodes=50, rate_per_minute=3), {"budget_max_nodes"}
    text = "version: 1\npreset: conservative\n"
    policy = right(text, base=base, given=given)
    assert (policy.budget_percent, policy.budget_max_nodes, policy.rate_per_minute) == (5, 50, 3)
    policy = right(text + "budget: {max_nodes: 2}\n", base=base, given=given)
    assert (policy.budget_percent, policy.budget_max_nodes) == (5, 2)


def test_what_only_settings_say_is_kept() -> None:
    base = Policy(observe={"xid/79": "why"}, repeat_write_interval_s=7.0)
    policy = right(FULL, base=base)
    assert (policy.observe, policy.repeat_write_interval_s) == (base.observe, 7.0)


def test_a_rule_for_everything_ends_the_list() -> None:
    policy = right("version: 1\nrules: [{name: all, mode: observe}]\n")
    assert [rule.name for rule in policy.rules] == ["operator", "all"]


def test_a_file_may_say_all_rules_itself() -> None:
    text = "version: 1\npreset: none\nrules: [{name: fatal, match: {severity: [fatal]}, mode: act}]"
    assert [rule.name for rule in right(text).rules] == ["operator", "fatal", "observe-rest"]
    assert right("version: 1\npreset: none\n").rules == (OPERATOR, REST)


def test_decay_never_and_the_default_of_each_mode() -> None:
    def decay(rule: str) -> float | None:
        return right(f"version: 1\nrules: [{{name: x, {rule}}}]").rules[1].treatment.decay_s

    assert decay("mode: observe") == 86_400.0
    assert decay("mode: observe, decay: never") is None
    assert decay("mode: act") is None
    assert decay("mode: act, decay: 90") == 90.0


def test_a_rule_may_name_a_fault_of_the_sites_rules_file() -> None:
    text = "version: 1\nrules: [{name: x, match: {faults: [kernel/acme-fan]}, mode: observe}]\n"
    own = judge_rules(
        b"version: 1\nkernel:\n  - fault_id: kernel/acme-fan\n    patterns:\n"
        b"      ['acme_fan [a-z0-9]+: fan [0-9]+ stopped']\n    severity: fatal\n"
        b"    remedy: reboot\n    meaning: A fan\n"
        b"    examples: [{text: 'acme_fan tray4: fan 2 stopped'}]\n"
    )
    assert own.problems == ()
    assert "no such fault" in only(text)[0]
    assert right(text, read=own.recorded).rules[1].match.faults == ("kernel/acme-fan",)


@pytest.mark.parametrize("name", list(PresetName))
def test_what_is_shown_of_a_preset_makes_the_same_policy(name: PresetName) -> None:
    policy = right(f"version: 1\npreset: {name.value}\n")
    again = right(yaml.safe_dump(as_document(policy), sort_keys=False))
    assert again == policy


def test_what_is_shown_of_a_file_makes_the_same_policy_whatever_the_settings_are() -> None:
    policy = right(FULL)
    text = yaml.safe_dump(as_document(policy), sort_keys=False, default_flow_style=None)
    other = Policy(budget_percent=99.0, budget_enabled=False, surge_percent=50.0)
    assert right(text, base=other, given={"budget_percent"}) == policy


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "1:1: the file is empty", "version: 1"),
        ("[]", "1:1: a list, not a mapping", "version: 1"),
        ("preset: strict", "1:1: version: missing", "one of 1"),
        ("version: 2", "1:10: version: not known (got 2)", "one of 1"),
        ("version: 1\nprest: strict", "2:1: prest: no such field", "did you mean preset?"),
        ("version: 1\npreset: strickt", "2:9: preset: not known (got 'strickt')", "mean strict?"),
        ("version: 1\nrules: {}", "2:8: rules: not a list (got a mapping)", "such as [a, b]"),
        ("version: 1\nbudget: {percent: 0}", "2:19: budget.percent: must be above 0 (got 0)", ""),
        ("version: 1\nbudget: {percent: yes}", "not a number (got True)", ""),
        ("version: 1\nbudget: {max_nodes: 1.5}", "not a whole number (got 1.5)", ""),
        ("version: 1\nsurge: {window: soon}", "no duration (got 'soon')", "such as 90s"),
        ("version: 1\nsurge: {window: -5}", "not negative", ""),
        ("version: 1\nhistory: .nan", "not negative, and at most ten years", ""),
        ("version: 1\nheld_effect: NoExecute", "not known (got 'NoExecute')", "PreferNoSchedule"),
        ("version: 1\npools: [{name: a}]", "2:9: pools[0]: takes no node", "nodes: SELECTOR"),
        ("version: 1\npools: [{name: default, label: a}]", "every policy has one of this name", ""),
        ("version: 1\ndomains: ['no key']", "2:12: domains[0]: not a key of a label", ""),
        ("version: 1\nversion: 1", "key 'version' is there twice", ""),
        ("version: 1\na: *x", "alias *x: aliases are not taken", ""),
        ("version: 1\npauses: {windows: [{name: a, start: soon, end: late}]}", "not a time", "339"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place_and_a_hint(text: str, said: str, hint: str) -> None:
    found = problems(text)
    assert any(said in message and hint in hinted for message, hinted in found), found


@pytest.mark.parametrize(
    ("rule", "said", "hint"),
    [
        ("name: x", "3:5: rules[0].mode: missing", "one of observe, act"),
        ("name: X, mode: act", "3:12: rules[0].name: not a name (got 'X')", "a-z, 0-9"),
        ("name: operator, mode: act", "the preset has one of this name (got 'operator')", ""),
        ("name: fatal, mode: act", "the preset has one of this name (got 'fatal')", "another"),
        ("name: x, mode: act, efect: label", "3:26: rules[0].efect: no such field", "effect?"),
        ("name: x, mode: act, effect: Noschedule", "not known (got 'Noschedule')", "NoSchedule?"),
        ("name: x, mode: observe, effect: label", "mode observe never acts", "mode: act"),
        ("name: x, mode: act, match: {faults: []}", "too short (got a list)", "at least 1"),
        ("name: x, mode: act, match: {faults: [xid/178]}", "no such fault", "xid/500*"),
        ("name: x, mode: act, match: {faults: [kernel/gpu-lots]}", "no such", "kernel/gpu-lost or"),
        ("name: x, mode: act, match: {faults: ['kernal/*']}", "matches no fault", "KIND/NAME"),
        ("name: x, mode: act, match: {severity: [bad]}", "match.severity[0]: not known", "one of"),
        ("name: x, mode: act, match: {trust: [pod]}", "pod lines never act", "mode: observe"),
        ("name: x, mode: act, match: {nodes: 'a=='}", "not known", ""),
        ("name: x, mode: act, match: {nodes: 'a b'}", "not a label selector", "KEY=VALUE"),
        ("name: x, mode: act, repeat: {count: 1, within: 1h}", "must be at least 2", ""),
        ("name: x, mode: act, clear: {probes: [{name: a}, {name: a}]}", "is there twice", ""),
        ("name: x, mode: act, ladder: [reboot, pray]", "rules[0].ladder[1]: not known", "one of"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_rule_has_its_place_and_a_hint(rule: str, said: str, hint: str) -> None:
    if "a==" in rule:  # an empty value is a value
        assert problems(f"version: 1\nrules:\n  - {{{rule}}}\n") == []
        return
    found = problems(f"version: 1\nrules:\n  - {{{rule}}}\n")
    assert any(said in message and hint in hinted for message, hinted in found), found


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "version: 1\nrules:\n  - {name: A, mode: b}\n  - {name: c}\nhistory: x\n"
    found = [message for message, _ in problems(text)]
    assert [message.split(":")[0] for message in found] == ["3", "3", "4", "5"]


def test_a_rule_behind_one_for_everything_is_a_mistake() -> None:
    text = "version: 1\nrules:\n  - {name: all, mode: observe}\n  - {name: more, mode: act}\n"
    assert only(text)[0] == "4:5: rules[1]: comes after 'all', which matches everything"


def test_names_are_unique() -> None:
    rule = "{name: x, match: {severity: [fatal]}, mode: act}"
    assert only(f"version: 1\nrules:\n  - {rule}\n  - {rule}\n")[0] == (
        "4:12: rules[1].name: the file already has one of this name (got 'x')"
    )


def test_a_window_ends_after_it_begins() -> None:
    text = (
        "version: 1\npauses:\n  windows:\n"
        "    - {name: a, start: 2027-01-02T00:00:00Z, end: 2027-01-01T00:00:00Z}\n"
    )
    assert only(text)[0].startswith("4:51: pauses.windows[0].end: not after the start")


def test_a_wrong_file_leaves_the_policy_as_it_was() -> None:
    base = Policy(budget_percent=3.0)
    assert judged("version: 1\nbudget: {percent: 500}\n", base=base).policy == base


def test_reading_a_wrong_or_missing_file_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with pytest.raises(ConfigError, match=re.escape(f"policy file {path}: No such file")):
        read_policy(path, Reader())
    path.write_text("version: 1\nbudget: {percent: 500}\n")
    with pytest.raises(ConfigError, match=r"2:19: budget.percent: must be at most 100") as raised:
        read_policy(path, Reader())
    assert "policy check" in raised.value.hint
    with pytest.raises(ConfigError, match="not a file"):
        read_content(tmp_path)


# ---------------------------------------------------------------- any file


KEYS = [*PolicyDocument.model_fields, "name", "match", "mode", "faults", "when", "probes", "quiet",
        "windows", "start", "end", "nodes", "label", "percent", "clear", "repeat", "x"]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["act", "observe", "fatal", "xid/79", "xid/*", "10m", "never", "a=b", "pod",
                     "label", "remedy", "code == 79", "labels[", "2027-01-01T00:00:00Z", 1]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_document_makes_a_policy_or_problems_with_places(document: dict[str, Any]) -> None:
    content = yaml.safe_dump({"version": 1} | document).encode("utf-8", "surrogatepass")
    lines = content.decode("utf-8", "replace").split("\n")
    found = Reader().judge(content)
    for problem in found.problems:
        assert 1 <= problem.line <= len(lines)
        assert problem.column >= 1
        assert problem.message
        assert str(problem).isprintable(), str(problem)
    if not found.problems:
        assert found.policy.rules[0] == DEFAULT_RULES[0]
        again = yaml.safe_dump(as_document(found.policy), sort_keys=False)
        assert Reader().judge(again.encode()).policy == found.policy


@given(st.binary(max_size=200))
def test_any_bytes_make_a_policy_or_problems(content: bytes) -> None:
    found = Reader().judge(content)
    assert found.problems or found.document is not None


@given(st.data())
def test_a_damaged_file_makes_a_policy_or_problems(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(FULL) - 1))
    end = data.draw(st.integers(start, min(len(FULL), start + 12)))
    text = FULL[:start] + data.draw(st.text(max_size=6)) + FULL[end:]
    found = Reader().judge(text.encode("utf-8", "surrogatepass"))
    assert found.problems or found.document is not None


# ---------------------------------------------------------------- the check that found a fault


def test_a_rule_for_checks_may_ask_for_the_check_that_found_the_fault() -> None:
    rule = right(
        "version: 1\nrules:\n"
        "  - {name: own, match: {faults: ['probe/*', probe/ping]}, mode: act,\n"
        "     clear: {repair: nothing, probes: [{name: found-by, times: 5}]}, verify: [found-by]}\n"
    ).rules[1]
    assert rule.treatment.clear.probes == (ProbeNeed("found-by", 5),)
    assert rule.treatment.verify == ("found-by",)


@pytest.mark.parametrize("match", ["{}", "{severity: [fatal]}", "{faults: ['probe/*', xid/79]}"])
def test_no_check_has_found_a_line_of_the_log(match: str) -> None:
    text = (
        f"version: 1\nrules:\n  - {{name: own, match: {match}, mode: act,"
        " clear: {repair: nothing, probes: [{name: found-by}]}}\n"
    )
    message, hint = only(text)
    assert "rules[0].clear.probes[0].name: no check has found what this rule is about" in message
    assert "probe/*" in hint
    text = (
        f"version: 1\nrules:\n  - {{name: o, match: {match}, mode: observe, verify: [found-by]}}\n"
    )
    assert "rules[0].verify[0]" in only(text)[0]


READERS = {
    "rules[0].match.nodes": (
        "rules: [{name: r, mode: act, match: {nodes: autopilot.ibm.com/gpuhealth=WARN}}]"
    ),
    "rules[0].match.when": (
        "rules: [{name: r, mode: act, match: {when: '\"autopilot.ibm.com/gpuhealth\" in labels'}}]"
    ),
    "pools[0].label": "pools: [{name: p, label: autopilot.ibm.com/gpuhealth}]",
    "domains[0]": "domains: [autopilot.ibm.com/gpuhealth]",
    "pauses.driver_upgrade_label": "pauses: {driver_upgrade_label: autopilot.ibm.com/gpuhealth}",
    "pauses.windows[0].nodes": (
        "pauses: {windows: [{name: w, start: 2027-01-31T22:00:00Z, end: 2027-02-01T02:00:00Z,"
        " nodes: autopilot.ibm.com/gpuhealth=WARN}]}"
    ),
}


@pytest.mark.parametrize("where", READERS)
def test_labels_that_we_write_are_not_read(where: str) -> None:
    said, hint = only(f"version: 1\nautopilot_labels: true\n{READERS[where]}\n")
    assert where in said
    assert "which autopilot_labels has us write" in said
    assert "autopilot_labels" in hint
    right(f"version: 1\n{READERS[where]}\n")  # Autopilot itself writes them
