"""A follower is attached to its root, and a wrong relation hides nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.fold import SightingKey, add
from konduktor_health.core.ledger import open_record
from konduktor_health.core.roots import (
    EVENT_NS,
    acting_roots,
    add_related,
    attach_earlier,
    attached,
    may_follow,
    root_of,
    speaks_for,
)
from konduktor_health.model import Fault, Remedy, Severity, Sighting
from tests.support.builders import BOOT, NOW, fault, sighting

ROOT = fault("xid/48", remedy=Remedy.RESET_GPU)
FOLLOWER = fault("xid/172", remedy=Remedy.RESET_GPU)


def only(sightings: dict[SightingKey, Sighting]) -> Sighting:
    (found,) = sightings.values()
    return found


def test_the_root_is_named_by_its_record() -> None:
    assert root_of(attached(FOLLOWER, ROOT)) == ROOT.key
    assert root_of(FOLLOWER) is None


def test_a_cause_that_a_line_names_is_no_record_of_the_node() -> None:
    assert root_of(fault("xid/45", detail={"root": "xid/94"})) is None


@pytest.mark.parametrize(
    "root",
    [
        replace(ROOT, device="0000:5e:00"),
        replace(ROOT, device=""),
        replace(ROOT, severity=Severity.DEGRADED),
        replace(ROOT, remedy=Remedy.NONE),
        replace(ROOT, injected=True),
        FOLLOWER,
    ],
    ids=["another GPU", "the node", "less bad", "a weaker remedy", "a program's", "itself"],
)
def test_what_is_no_reason_for_a_follower_to_be_quiet(root: Fault) -> None:
    assert not may_follow(FOLLOWER, root)


def test_only_a_root_that_acts_speaks_for_its_followers() -> None:
    child = attached(FOLLOWER, ROOT)
    acting = open_record(sighting(ROOT), BOOT, True, "")
    shown = open_record(sighting(ROOT), BOOT, False, "ObservedByPolicy")
    assert speaks_for(child, acting_roots([acting], []))
    assert speaks_for(child, acting_roots([], [ROOT, child]))
    assert not speaks_for(child, acting_roots([shown], []))
    assert not speaks_for(child, acting_roots([], [child]))
    assert not speaks_for(FOLLOWER, acting_roots([acting], []))


def test_two_faults_that_follow_each_other_both_act() -> None:
    one, other = attached(FOLLOWER, ROOT), attached(ROOT, FOLLOWER)
    roots = acting_roots([], [one, other])
    assert not speaks_for(one, roots)
    assert not speaks_for(other, roots)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_sighting_follows_only_if_all_of_its_lines_do(follows: list[bool]) -> None:
    sightings: dict[SightingKey, Sighting] = {}
    for n, each in enumerate(follows):
        line = replace(FOLLOWER, event_ns=NOW + n, identity=str(n))
        add_related(sightings, attached(line, ROOT) if each else line, True)
    seen = only(sightings)
    assert seen.count == len(follows)
    assert (root_of(seen.fault) == ROOT.key) == all(follows)


@pytest.mark.parametrize(("ago_ns", "attaches"), [(EVENT_NS, True), (EVENT_NS + 1, False)])
def test_a_root_that_comes_later_takes_what_is_near(ago_ns: int, attaches: bool) -> None:
    sightings: dict[SightingKey, Sighting] = {}
    add(sightings, replace(FOLLOWER, event_ns=NOW - ago_ns), True)
    add(sightings, replace(FOLLOWER, event_ns=NOW, identity="2"), True)
    assert bool(attach_earlier(sightings, FOLLOWER, ROOT)) is attaches
    assert (root_of(only(sightings).fault) is not None) is attaches


def test_a_root_that_comes_later_leaves_other_faults_alone() -> None:
    sightings: dict[SightingKey, Sighting] = {}
    add(sightings, fault("xid/79"), True)
    before = dict(sightings)
    assert attach_earlier(sightings, FOLLOWER, ROOT) == []
    assert sightings == before
