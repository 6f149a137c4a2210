"""What does an uninstallation take off a Node, and what does it leave?"""

from __future__ import annotations

from konduktor_health.core.uninstall import opted, other_prefixes, plan_removal
from konduktor_health.model import Condition, Keys, NodeEdit, Taint
from tests.support.builders import FOREIGN_TAINT, KEYS, OUR_TAINT, node

ADOPTED = Taint(KEYS.taint, "xid-79", "NoExecute")
OTHERS = Taint("example.com/faulty", "true", "NoSchedule")


def test_everything_of_ours_goes_adopted_taints_too() -> None:
    view = node(
        taints=(FOREIGN_TAINT, OUR_TAINT, ADOPTED, OTHERS),
        ledger="{",
        ledger_corrupt=True,
        reset_at="",
        hold="2999-01-02T03:04:05Z",
        maintenance="",
        health_label="faulty",
        managed_label="false",
        condition=Condition("False", "FatalFault", "m"),
    )
    removal = plan_removal(view, KEYS)
    assert removal is not None
    assert removal.edit == NodeEdit(
        remove_taints=(OUR_TAINT, ADOPTED),
        annotations=dict.fromkeys(
            (KEYS.ledger, KEYS.ledger_corrupt, KEYS.reset_at, KEYS.hold, KEYS.maintenance)
        ),
        labels={KEYS.health: None},
    )
    assert removal.condition
    assert removal.names == (
        "taint trainy.konduktor.ai/faulty=true:NoSchedule",
        "taint trainy.konduktor.ai/faulty=xid-79:NoExecute",
        "annotation trainy.konduktor.ai/ledger",
        "annotation trainy.konduktor.ai/ledger-corrupt",
        "annotation trainy.konduktor.ai/reset-at",
        "annotation trainy.konduktor.ai/hold",
        "annotation trainy.konduktor.ai/maintenance",
        "label trainy.konduktor.ai/health=faulty",
        "condition KonduktorHealthy",
    )


def test_each_trace_alone_is_found() -> None:
    traces = [
        node(taints=(ADOPTED,)),
        node(ledger=""),
        node(ledger_corrupt=True),
        node(reset_at=""),
        node(hold=""),
        node(maintenance="{"),
        node(health_label=""),
    ]
    for view in traces:
        removal = plan_removal(view, KEYS)
        assert removal is not None, view
        assert removal.edit is not None, view
        edit = removal.edit
        changes = len(edit.remove_taints) + len(edit.annotations) + len(edit.labels)
        assert (changes, len(removal.names), removal.condition) == (1, 1, False), view


def test_a_condition_alone_needs_no_edit_of_the_node() -> None:
    removal = plan_removal(node(condition=Condition("True", "NoActingFault", "")), KEYS)
    assert removal is not None
    assert removal.edit is None
    assert removal.condition


def test_what_others_or_the_user_set_is_nothing_to_take() -> None:
    view = node(taints=(FOREIGN_TAINT, OTHERS), managed_label="false")
    assert plan_removal(view, KEYS) is None
    assert opted([view, node("gpu-2")]) == ("gpu-1",)


def test_a_custom_prefix_owns_its_keys_and_no_others() -> None:
    keys = Keys(prefix="example.com")
    removal = plan_removal(node(taints=(OUR_TAINT, OTHERS)), keys)
    assert removal is not None
    assert removal.edit == NodeEdit(remove_taints=(OTHERS,))


def test_taints_that_look_like_ours_name_their_domain() -> None:
    views = [node(taints=(OUR_TAINT, OTHERS)), node("gpu-2", taints=(FOREIGN_TAINT, OTHERS))]
    assert other_prefixes(views, KEYS) == ("example.com",)
    assert other_prefixes(views, Keys(prefix="example.com")) == ("trainy.konduktor.ai",)


def test_autopilots_label_goes_only_where_it_is_said_to_be_ours() -> None:
    view = node(labels=(("autopilot.ibm.com/gpuhealth", "EVICT"), ("zone", "a")))
    assert plan_removal(view, KEYS) is None
    removal = plan_removal(view, KEYS, autopilot=True)
    assert removal is not None
    assert removal.edit is not None
    assert removal.edit.labels == {"autopilot.ibm.com/gpuhealth": None}
    assert removal.names == ("label autopilot.ibm.com/gpuhealth=EVICT",)


def test_what_dcgm_found_goes_with_it_and_others_keys_of_that_domain_stay() -> None:
    level, output = "autopilot.ibm.com/dcgm.level.3", "autopilot.ibm.com/dcgm.level.3.output"
    view = node(
        labels=(
            (level, "ERR_2027-01-15_08.00.00UTC"),
            ("autopilot.ibm.com/dcgm.level.9", "x"),
            ("autopilot.ibm.com/other", "x"),
        ),
        diagnosed=((output, "pcie.3"),),
    )
    assert plan_removal(view, KEYS) is None
    removal = plan_removal(view, KEYS, autopilot=True)
    assert removal is not None
    assert removal.edit == NodeEdit(annotations={output: None}, labels={level: None})
