"""What the rules say of a kernel or a pod line reaches the Node, and no more than that."""

from __future__ import annotations

import pytest

from konduktor_health.core.ledger import parse
from konduktor_health.model import Trust
from konduktor_health.settings import load
from parsers import tables
from parsers.fault import Severity
from parsers.record import unwrap
from parsers.rules import Rule
from tests.support.builders import KEYS
from tests.support.world import World
from tests.support.wrapped_lines import kmsg_json

KERNEL, PODS = tables.shipped().kernel.rules, tables.shipped().pod.rules
BY_DEFAULT = load(environ={}).core_policy().observe


def world() -> World:
    return World(nodes=20, observe=BY_DEFAULT)


def shown(each: World, name: str = "gpu-1") -> list[tuple[str, Severity, bool]]:
    ledger = each.cluster.nodes[name].ledger
    records = parse(ledger).records if ledger else ()
    return [(record.fault_id, record.severity, record.acting) for record in records]


def _id(rule: Rule) -> str:
    return rule.fault_id


@pytest.mark.parametrize("rule", KERNEL, ids=_id)
def test_a_kernel_rule_does_what_its_severity_says(rule: Rule) -> None:
    each = world()
    example = rule.examples[0]

    each.hear(each.line("gpu-1", example.text))

    recorded = rule.accuses == "node" and rule.severity is not Severity.INFO
    acting = rule.fault_id not in BY_DEFAULT
    expected = [(rule.fault_id, rule.severity, acting)] if recorded else []
    assert shown(each) == expected
    effects = {Severity.FATAL: "NoSchedule", Severity.DEGRADED: "PreferNoSchedule"}
    effect = effects.get(rule.severity) if recorded and acting else None
    node = each.cluster.nodes["gpu-1"]
    assert [taint.effect for taint in node.taints] == ([effect] if effect else [])
    label = "faulty" if effect == "NoSchedule" else "suspect" if recorded else None
    assert node.health_label == label


@pytest.mark.parametrize("rule", PODS, ids=_id)
def test_a_pods_line_never_acts_and_only_that_of_the_accused_node_is_recorded(rule: Rule) -> None:
    each = world()

    each.hear(each.line("gpu-1", rule.examples[0].text, trust=Trust.POD, pod=True))

    recorded = rule.accuses == "node" and rule.severity is not Severity.INFO
    assert shown(each) == ([(rule.fault_id, rule.severity, False)] if recorded else [])
    assert each.tainted() == []
    assert each.cluster.nodes["gpu-1"].health_label is None


def test_a_node_that_only_prints_what_is_not_recorded_carries_nothing_of_ours() -> None:
    each = world()
    before = each.cluster.nodes["gpu-1"]
    silent = [rule for rule in KERNEL if rule.fault_id in tables.recorded().silent]
    assert len(silent) > 40

    each.hear(*(each.line("gpu-1", e.text) for rule in silent for e in rule.examples))

    assert each.cluster.nodes["gpu-1"] == before


def test_a_kernel_line_in_a_pods_log_is_nothing() -> None:
    each = world()

    each.hear(
        *(
            each.line("gpu-1", example.text, trust=Trust.POD, pod=True)
            for rule in KERNEL
            for example in rule.examples
        )
    )

    assert shown(each) == []


def test_an_info_xid_is_recorded_as_before() -> None:
    each = world()

    each.hear(each.line("gpu-1", "NVRM: Xid (PCI:0000:3b:00): 92, High single-bit ECC error rate"))

    assert shown(each) == [("xid/92", Severity.INFO, True)]
    assert each.cluster.nodes["gpu-1"].health_label is None


def test_an_operator_may_let_a_doubted_rule_act() -> None:
    each = World(nodes=20)

    each.hear(each.line("gpu-1", "XFS (sda1): Log I/O Error Detected. Shutting down filesystem"))

    assert each.tainted() == ["gpu-1"]
    ledger = each.cluster.nodes["gpu-1"].ledger or ""
    assert '"device":"sda1"' in ledger
    assert KEYS.taint in [taint.key for taint in each.cluster.nodes["gpu-1"].taints]


def test_what_a_program_wrote_into_the_kernels_log_is_marked() -> None:
    each = world()
    text = "NVRM: RmInitAdapter failed! (0x26:0xffff:1227)"

    each.hear(each.line("gpu-1", record=unwrap(kmsg_json(text, facility=1, boot_id=None))))

    (record,) = parse(each.cluster.nodes["gpu-1"].ledger or "").records
    assert record.injected
