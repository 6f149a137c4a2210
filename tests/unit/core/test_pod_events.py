"""What pods are told when their node is tainted: the fault, the device, what was done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.pod_events import MESSAGE_LIMIT, news_for_pods
from konduktor_health.model import EditKind, EditNode, Fault, NodeEdit
from tests.support.builders import KEYS, NOW, edits, fault, node, policy, sighting, snapshot


def tainted(*faults: Fault) -> EditNode:
    seen = [sighting(each) for each in faults]
    (edit,) = edits(decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW))
    return edit


def test_the_message_names_fault_device_node_and_effect() -> None:
    news = news_for_pods(tainted(fault()), KEYS)
    assert news is not None
    for part in ("xid/79 on 0000:3b:00", "fatal", "node gpu-1 was tainted (NoSchedule)"):
        assert part in news.message
    assert news.message.endswith("GPU has fallen off the bus.")


def test_several_faults_are_counted() -> None:
    news = news_for_pods(tainted(fault(), fault("xid/48")), KEYS)
    assert news is not None
    assert "and 1 more" in news.message


def test_hostile_text_is_printable_and_bounded() -> None:
    news = news_for_pods(tainted(fault(text="\x1b[2J\n" + "x" * 5000)), KEYS)
    assert news is not None
    assert news.message.isprintable()
    assert len(news.message) <= MESSAGE_LIMIT


@pytest.mark.parametrize("fault_id", ["kernel/oops", "kernel/nvme-disabled", "operator/taint"])
def test_pods_hear_of_gpus_only(fault_id: str) -> None:
    assert news_for_pods(tainted(fault(fault_id, device="")), KEYS) is None


def test_only_an_edit_that_taints_is_news() -> None:
    action = tainted(fault())
    assert news_for_pods(replace(action, kind=EditKind.RECORD), KEYS) is None
    assert news_for_pods(replace(action, edit=replace(action.edit, add_taints=())), KEYS) is None
    assert news_for_pods(replace(action, edit=NodeEdit(action.edit.add_taints)), KEYS) is None
    broken = replace(action.edit, annotations={KEYS.ledger: "{half"})
    assert news_for_pods(replace(action, edit=broken), KEYS) is None


def test_the_same_taint_is_the_same_transition_and_a_later_one_another() -> None:
    one, again = news_for_pods(tainted(fault()), KEYS), news_for_pods(tainted(fault()), KEYS)
    assert one == again
    (edit,) = edits(decide(snapshot([node()], {"gpu-1": [sighting()]}), policy(), NOW + 1))
    later = news_for_pods(edit, KEYS)
    assert one is not None
    assert later is not None
    assert later.transition != one.transition
