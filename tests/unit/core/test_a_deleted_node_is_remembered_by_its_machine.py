"""A machine does not get well by being deleted; nobody is blamed for a UUID that says nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.reset import ResetAt, render_reset_at
from konduktor_health.core.tombstones import (
    KEPT_NS,
    MAX_BYTES,
    MOST,
    MOST_FAULTS,
    Grave,
    from_json,
    grave_of,
    is_settled,
    kept,
    machine_of,
    to_json,
)
from konduktor_health.model import HoldReason, Severity, Tombstone, Trust
from konduktor_health.timestamps import NS
from tests.support.builders import NOW, node
from tests.support.ledgers import record, sick

MACHINE = "4C4C4544-0051-3510-8052-B4C04F4D3132"
DIGITS = "4c4c4544005135108052b4c04f4d3132"


def grave(rank: int = 0, deleted_ns: int = NOW, **fields: Any) -> Grave:
    stone = {"node": "gpu-1", "uid": "uid-1", "faults": ("xid/79|0000:3b:00",)} | fields
    return Grave(Tombstone(deleted_ns=deleted_ns, **stone), rank)


def test_open_records_are_remembered_worst_first() -> None:
    view = sick(record(), record("xid/63", severity=Severity.DEGRADED), system_uuid=MACHINE)
    found = grave_of(view, NOW)
    assert found is not None
    assert found.rank == Severity.FATAL.rank
    assert found.stone.faults == ("xid/79|0000:3b:00", "xid/63|0000:3b:00")
    assert (found.stone.node, found.stone.uid, found.stone.deleted_ns) == (
        "gpu-1",
        "uid-gpu-1",
        NOW,
    )


def test_what_is_not_the_machines_is_forgotten() -> None:
    assert grave_of(node(system_uuid=MACHINE), NOW) is None
    assert grave_of(sick(system_uuid=MACHINE), NOW) is None  # a ledger without records
    program = record(severity=Severity.APPLICATION)
    pods = record("workload/nccl", trust=Trust.POD)
    assert grave_of(sick(program, pods, system_uuid=MACHINE), NOW) is None
    assert grave_of(sick(record(), system_uuid=MACHINE, ledger="{"), NOW) is None
    assert grave_of(sick(record(), system_uuid=MACHINE, uid="another"), NOW) is None


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "Not Settable",
        "Not Present",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE",
        "03000200-0400-0500-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        MACHINE[:-1],
        MACHINE + "\n0",
    ],
)
def test_a_uuid_that_tells_nothing_apart_is_no_name(uuid: str) -> None:
    assert machine_of(uuid) == ""
    assert grave_of(sick(record(), system_uuid=uuid), NOW) is None


def test_a_uuid_is_read_in_any_spelling() -> None:
    assert machine_of(MACHINE) == machine_of(DIGITS) == machine_of(f" {MACHINE.lower()} ") == DIGITS


def test_a_tombstone_stands_until_the_new_node_shows_it() -> None:
    stone = grave().stone
    back = node(uid="uid-2")
    assert not is_settled(stone, back)
    other = Ledger(uid="uid-2", records=(record("xid/48"),))
    assert not is_settled(stone, replace(back, ledger=render(other)))
    assert not is_settled(stone, replace(back, ledger="{"))
    shown = Ledger(uid="uid-2", records=(record(),))
    assert is_settled(stone, replace(back, ledger=render(shown)))
    named = record("node/returned", device="", acting=False, why=HoldReason.RETURNED.value)
    assert is_settled(stone, replace(back, ledger=render(Ledger(uid="uid-2", records=(named,)))))


def test_a_reset_after_the_deletion_ends_it() -> None:
    back = node(uid="uid-2")
    early, late = ResetAt(NOW - NS), ResetAt(NOW + NS)
    assert not is_settled(grave().stone, replace(back, reset_at=render_reset_at(early)))
    assert is_settled(grave().stone, replace(back, reset_at=render_reset_at(late)))


def test_the_same_node_again_was_never_deleted() -> None:
    assert is_settled(grave().stone, node(uid="uid-1"))


def test_thirty_days_and_a_thousand_are_kept_the_worst_first() -> None:
    graves = {f"{n:032x}": grave(rank=n % 3, deleted_ns=NOW - n * NS) for n in range(MOST + 500)}
    graves["old"] = grave(deleted_ns=NOW - KEPT_NS)
    left = kept(graves, NOW)
    assert len(left) == MOST
    assert "old" not in left
    assert {each.rank for each in left.values()} == {0, 1}


def test_long_names_cost_others_their_place_and_never_the_state_its_size() -> None:
    long: dict[str, Any] = {
        "node": "n" * 253,
        "uid": "u" * 253,
        "faults": ("\x00" * 100,) * MOST_FAULTS,
    }
    left = kept({f"{n:032x}": grave(**long) for n in range(MOST)}, NOW)
    assert 10 < len(left) < MOST
    assert len(json.dumps(to_json(left))) <= MAX_BYTES


def test_it_is_small_and_comes_back_from_json() -> None:
    view = sick(*(record(f"xid/{n}") for n in range(40)), system_uuid=MACHINE)
    found = grave_of(view, NOW)
    assert found is not None
    assert len(found.stone.faults) == MOST_FAULTS
    text = json.dumps(to_json({DIGITS: found}))
    assert len(text) < 400
    assert from_json(json.loads(text)) == {DIGITS: found}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(DIGITS),
        lambda inner: (
            st.lists(inner, max_size=6)
            | st.dictionaries(st.just(DIGITS) | st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_damaged_state_costs_itself_alone(data: Any) -> None:
    good = to_json({DIGITS: grave()})
    assert from_json(good | data if isinstance(data, dict) else data) is not None
    mixed = {"x" * 32: data, **good}
    assert from_json(mixed) == {DIGITS: grave()}
