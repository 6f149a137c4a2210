"""Which NodeView does a Node object give, however odd it is?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.kube.nodes import NodeDecoder, walk_list
from konduktor_health.errors import ConfigError
from konduktor_health.model import Condition, Keys, NodeView, Taint

KEYS = Keys()
SELECTOR = "nvidia.com/gpu.present=true"


def decoder(selector: str = SELECTOR) -> NodeDecoder:
    return NodeDecoder(KEYS, selector, "nvidia.com/gpu")


def node(**changes: Any) -> dict[str, Any]:
    return {"metadata": {"name": "n", "uid": "u", "resourceVersion": "7"}, **changes}


def view(raw: object, selector: str = SELECTOR) -> NodeView:
    found = decoder(selector).view(raw)
    assert found is not None
    return found


def test_everything_that_we_use_is_picked() -> None:
    raw = {
        "metadata": {
            "name": "gpu-1",
            "uid": "u-1",
            "resourceVersion": "42",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"nvidia.com/gpu.present": "true", KEYS.managed: "yes", KEYS.health: "f"},
            "annotations": {
                KEYS.ledger: "{}",
                KEYS.reset_at: "x",
                KEYS.hold: "h",
                KEYS.maintenance: "m",
            },
        },
        "spec": {
            "taints": [
                {"key": "a", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
                {"key": KEYS.taint, "value": "true", "effect": "NoSchedule"},
            ],
            "unschedulable": True,
            "providerID": "aws:///us-1/i-0abc",
        },
        "status": {
            "nodeInfo": {"bootID": "0A1B-2c3d", "systemUUID": "EC2-9"},
            "capacity": {"nvidia.com/gpu": "8"},
            "addresses": [
                {"type": "Hostname", "address": "gpu-1"},
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalDNS", "address": "gpu-1.internal"},
                {"type": "Other", "address": "unused"},
            ],
            "conditions": [
                {"type": "Ready", "status": "Unknown"},
                {"type": KEYS.condition, "status": "False", "reason": "R", "message": "a\x1bb"},
            ],
        },
    }
    assert view(raw) == NodeView(
        name="gpu-1",
        uid="u-1",
        resource_version="42",
        created_ns=1_767_323_045_000_000_000,
        taints=(Taint("a", "", "NoExecute"), Taint(KEYS.taint, "true", "NoSchedule")),
        unschedulable=True,
        boot_id="0a1b2c3d",
        system_uuid="ec2-9",
        aliases=("10.0.0.1", "gpu-1.internal", "i-0abc"),
        gpu_capacity=8,
        selected=True,
        managed_label="yes",
        health_label="f",
        ledger="{}",
        reset_at="x",
        condition=Condition("False", "R", "a b"),
        labels=(("nvidia.com/gpu.present", "true"), (KEYS.health, "f"), (KEYS.managed, "yes")),
        hold="h",
        maintenance="m",
        ready=False,
    )


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [("8", 8), (4, 4), ("0", 0), ("8k", 0), ("-1", 0), ("²", 0), (True, 0), (None, 0), ([], 0)],
)
def test_gpu_capacity_is_a_whole_number_or_none(capacity: object, expected: int) -> None:
    assert view(node(status={"capacity": {"nvidia.com/gpu": capacity}})).gpu_capacity == expected


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a=b,c!=d", {"a": "b"}, True),
        ("a=b, c!=d", {"a": "b", "c": "d"}, False),
        ("example.com/pool", {"example.com/pool": ""}, True),
        ("!a", {"a": "b"}, False),
        ("a=", {"a": ""}, True),
        ("", {"a": "b"}, False),
    ],
)
def test_selector_terms(selector: str, labels: dict[str, str], selected: bool) -> None:
    metadata = {"name": "n", "labels": labels}
    assert view({"metadata": metadata}, selector).selected is selected


@pytest.mark.parametrize("selector", ["a in (b,c)", "a=b c", "!a=b", "=b"])
def test_a_selector_that_cannot_be_evaluated_here_is_refused(selector: str) -> None:
    with pytest.raises(ConfigError, match="equality term"):
        decoder(selector)


def test_an_address_of_a_type_that_is_no_text_is_passed_over() -> None:
    odd = [{"type": {}, "address": "10.0.0.9"}, {"type": "InternalIP", "address": "10.0.0.1"}]
    assert view(node(status={"addresses": odd})).aliases[:1] == ("10.0.0.1",)


def test_a_node_without_a_usable_name_is_counted() -> None:
    ours = decoder()
    odd: list[object] = [None, 3, [], {}, {"metadata": None}, {"metadata": {"name": "a\nb"}}]
    assert [ours.view(raw) for raw in odd] == [None] * len(odd)
    assert ours.undecodable == len(odd)


WORDS = (
    "name uid labels annotations taints key value effect type addresses address conditions "
    f"nodeInfo bootID capacity status nvidia.com/gpu providerID {KEYS.ledger} {KEYS.managed} "
    "creationTimestamp"
).split()
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["true", "8", "2026-01-02T03:04:05Z", "a/b", "10.0.0.1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_no_json_object_is_too_odd(metadata: Any, spec: Any, status: Any) -> None:
    named = {"name": "n", **metadata} if isinstance(metadata, dict) else metadata
    for raw in (metadata, {"metadata": named, "spec": spec, "status": status}):
        found = decoder().view(raw)
        assert found is None or found.name


@given(st.lists(JSON_VALUES, max_size=5), JSON_VALUES, st.sampled_from([None, 1]))
def test_walking_a_list_equals_decoding_it(items: Any, metadata: Any, indent: int | None) -> None:
    whole = {"kind": "NodeList", "metadata": metadata, "items": items, "apiVersion": "v1"}
    found: list[Any] = []
    rest = walk_list(json.dumps(whole, indent=indent).encode(), found.append)
    assert found == items
    assert rest == {"kind": "NodeList", "metadata": metadata, "apiVersion": "v1"}


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'{"items":[1', b'{"items":[1 2]}', b"x"])
def test_an_answer_that_is_no_list_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own wording
        walk_list(payload, lambda _: None)


def test_items_may_be_null_or_missing() -> None:
    assert walk_list(b'{"items": null}', lambda _: None) == {"items": None}
    assert walk_list(b"{}", lambda _: None) == {}


def test_what_stands_beside_autopilots_labels_is_picked_and_bounded() -> None:
    at = "autopilot.ibm.com/dcgm.level."
    raw = node()
    raw["metadata"]["annotations"] = {
        f"{at}3.output": "pcie.3",
        f"{at}1.output": "",
        f"{at}4.output": "x" * 5000,
        f"{at}9.output": "no such level",
        f"{at}3": "a label's name",
        f"{at}2.output": 7,
        "autopilot.ibm.com/other.output": "x",
    }
    found = dict(view(raw).diagnosed)
    assert list(found) == [f"{at}1.output", f"{at}3.output", f"{at}4.output"]
    assert found[f"{at}3.output"] == "pcie.3"
    assert len(found[f"{at}4.output"]) == 1024
