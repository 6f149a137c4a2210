"""Faults on several nodes of one domain point at the domain; few of many, or one node, do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.domains import kind_of, suspects
from konduktor_health.model import NodeView
from tests.support.builders import NOW, node

CLIQUE = "nvidia.com/gpu.clique"
RACK = "topology.kubernetes.io/rack"
LABELS = (CLIQUE, RACK)


def nodes(count: int, *, label: str = CLIQUE, value: str = "a.1") -> list[NodeView]:
    return [node(f"{value}-{n}", labels=((label, value),)) for n in range(count)]


def seen(*names: str, kind: str = "NVLink") -> dict[str, dict[str, int]]:
    return {kind: {name: NOW + n for n, name in enumerate(names)}}


def test_the_message_names_how_many_of_how_many_and_what_to_suspect() -> None:
    names = [f"a.1-{n}" for n in range(5)]
    (found,) = suspects(seen(*names), nodes(18), LABELS)
    assert found.message == (
        "5 of 18 nodes of nvidia.com/gpu.clique=a.1 show NVLink faults: suspect the fabric"
    )
    assert (found.nodes, found.since_ns) == (tuple(names), NOW)


def test_a_long_list_of_nodes_is_cut_when_it_is_named() -> None:
    names = [f"a.1-{n}" for n in range(8)]
    (found,) = suspects(seen(*names), nodes(18), LABELS)
    assert found.named == "a.1-0, a.1-1, a.1-2, a.1-3, a.1-4 and 3 more"


def test_one_node_is_its_own_affair() -> None:
    assert suspects(seen("a.1-0"), nodes(18), LABELS) == ()


def test_two_nodes_of_two_domains_have_nothing_in_common() -> None:
    views = [*nodes(4), *nodes(4, value="b.1")]
    assert suspects(seen("a.1-0", "b.1-0"), views, LABELS) == ()


def test_two_kinds_of_fault_do_not_add_up() -> None:
    both = {**seen("a.1-0"), **seen("a.1-1", kind="network")}
    assert suspects(both, nodes(4), LABELS) == ()


@pytest.mark.parametrize(("size", "affected", "suspected"), [(20, 2, 1), (21, 2, 0), (500, 20, 0)])
def test_a_few_of_many_are_no_sign(size: int, affected: int, suspected: int) -> None:
    names = [f"a.1-{n}" for n in range(affected)]
    assert len(suspects(seen(*names), nodes(size), LABELS)) == suspected


def test_each_label_of_a_node_is_a_domain_of_its_own() -> None:
    views = [node(f"n{n}", labels=((CLIQUE, "c"), (RACK, "r"))) for n in range(4)]
    found = suspects(seen("n0", "n1"), views, LABELS)
    assert [each.label for each in found] == [CLIQUE, RACK]
    assert suspects(seen("n0", "n1"), views, ()) == ()


@pytest.mark.parametrize(
    ("fault_id", "kind"),
    [
        ("xid/74", "NVLink"),
        ("xid/149", "NVLink"),
        ("sxid/12028", "NVLink"),
        ("xid/79", "GPU"),
        ("kernel/mlx5-health-lost", "network"),
        ("probe/infiniband", "network"),  # all nodes behind a switch
        ("kernel/pcie-aer-fatal", "hardware"),
        ("kernel/oops", None),
        ("operator/taint", None),
    ],
)
def test_the_kind_of_a_fault(fault_id: str, kind: str | None) -> None:
    assert kind_of(fault_id) == kind


@given(
    st.dictionaries(st.integers(0, 30), st.sampled_from(["a", "b", ""]), max_size=30),
    st.sets(st.integers(0, 40), max_size=30),
)
def test_what_is_suspected_is_seen_and_of_the_domain(
    domains: dict[int, str], faulty: set[int]
) -> None:
    views = [
        node(f"n{n}", labels=((RACK, value),) if value else ()) for n, value in domains.items()
    ]
    for found in suspects(seen(*(f"n{n}" for n in faulty)), views, LABELS):
        assert len(found.nodes) >= 2
        assert found.size == sum(1 for value in domains.values() if value == found.value)
        assert all(domains[int(name[1:])] == found.value for name in found.nodes)
        assert all(int(name[1:]) in faulty for name in found.nodes)
