"""Requests are signed by a key that agents hold, also while it is being replaced."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.kube.config import load
from konduktor_health.adapters.probes.keys import (
    DATA,
    SETTLE_S,
    DamagedKeysError,
    Key,
    as_secret,
    from_secret,
    published,
    rotated,
    signer_of,
)
from konduktor_health.adapters.signing import CONFIG_MAP, SECRET, Signing
from konduktor_health.errors import AgentUnavailable, ClusterRejected, LeadershipLost
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.timestamps import NS
from probes.report import key_id, signed_bytes
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock

DAY_S = 86_400.0
NAMESPACE = "konduktor-health"


def test_a_key_is_replaced_when_its_time_is_over_and_agents_hold_both_meanwhile() -> None:
    (first,) = keys = rotated((), NOW, rotate_s=30 * DAY_S)
    assert rotated(keys, NOW + 29 * int(DAY_S) * NS, rotate_s=30 * DAY_S) == keys
    at_ns = NOW + 30 * int(DAY_S) * NS
    both = rotated(keys, at_ns, rotate_s=30 * DAY_S)
    assert both[0] == first
    assert set(published(both)) == {f"{key.name}.pem" for key in both}
    assert signer_of(both, at_ns) == first, "agents have not read the new one yet"
    settled_ns = at_ns + int(SETTLE_S) * NS
    assert signer_of(both, settled_ns) == both[1]
    assert rotated(both, settled_ns, rotate_s=30 * DAY_S) == both
    assert rotated(both, settled_ns + int(SETTLE_S) * NS, rotate_s=30 * DAY_S) == both[1:]


def test_a_key_that_is_never_replaced_stays() -> None:
    keys = rotated((), NOW, rotate_s=0)
    assert rotated(keys, NOW + 10**5 * int(DAY_S) * NS, rotate_s=0) == keys


@given(st.lists(st.integers(0, 40 * 86_400), max_size=30), st.booleans())
def test_whatever_the_clock_does_what_signs_is_published(steps: list[int], backwards: bool) -> None:
    keys: tuple[Key, ...] = ()
    now_ns = NOW
    for number, step in enumerate(steps):
        now_ns += (-step if backwards and number % 3 == 2 else step) * NS
        known = keys
        keys = rotated(keys, now_ns, rotate_s=30 * DAY_S)
        assert 1 <= len(keys) <= 2
        assert f"{signer_of(keys, now_ns).name}.pem" in published(keys)
        if known:
            assert set(known) & set(keys), "an agent that has not looked lately still takes one"


def test_what_a_key_signs_its_public_half_verifies() -> None:
    (key,) = rotated((), NOW, rotate_s=0)
    name, _, signature = key.signature(signed_bytes("/v1/run", b"{}")).partition(":")
    public = load_pem_public_key(published((key,))[f"{name}.pem"].encode())
    assert name == key_id(public.public_bytes_raw())  # type: ignore[union-attr]
    public.verify(base64.b64decode(signature), signed_bytes("/v1/run", b"{}"))  # type: ignore[union-attr,call-arg]


def test_keys_come_back_from_their_secret() -> None:
    keys = rotated(rotated((), NOW, rotate_s=1), NOW + 2 * NS, rotate_s=1)
    again = from_secret(dict(as_secret(keys)))
    assert [(key.name, key.created_ns) for key in again] == [(k.name, k.created_ns) for k in keys]


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {DATA: "!"},
        {DATA: base64.b64encode(b"[]").decode()},
        {DATA: base64.b64encode(b'{"version": 2, "keys": []}').decode()},
        {DATA: base64.b64encode(b'{"version": 1, "keys": []}').decode()},
        {
            DATA: base64.b64encode(
                b'{"version": 1, "keys": [{"seed": "c2hvcnQ=", "created_ns": 1}]}'
            ).decode()
        },
    ],
)
def test_a_damaged_secret_is_told_without_its_content(data: Any) -> None:
    with pytest.raises(DamagedKeysError) as error:
        from_secret(data)
    assert "c2hvcnQ" not in str(error.value)
    assert error.value.__cause__ is None


def test_no_private_key_in_what_is_printed() -> None:
    (key,) = rotated((), NOW, rotate_s=0)
    seed = base64.b64encode(key.private.private_bytes_raw()).decode()
    assert seed not in repr(key)
    assert "private" not in repr(key)


# ---------------------------------------------------------------- in the cluster


@contextmanager
def cluster(tmp_path: Any) -> Iterator[tuple[KubeApi, KubeHttp, FakeClock]]:
    clock, api = FakeClock(NOW), KubeApi()
    api.start()
    api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
    config = tmp_path / "kubeconfig"
    config.write_text(api.kubeconfig(), encoding="utf-8")
    try:
        yield api, KubeHttp(load(config, "", clock), clock, timeout_s=5), clock
    finally:
        api.stop()


def signing(http: KubeHttp, clock: FakeClock, **more: Any) -> Signing:
    return Signing(http, clock, namespace=NAMESPACE, rotate_s=30 * DAY_S, **more)


def held(http: KubeHttp) -> set[str]:
    raw = http.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG_MAP}")
    return {name.removesuffix(".pem") for name in raw["data"]}


def test_the_first_controller_makes_a_key_and_the_next_one_takes_it(tmp_path: Any) -> None:
    with cluster(tmp_path) as (_, http, clock):
        first, second = signing(http, clock), signing(http, clock)
        with pytest.raises(AgentUnavailable, match="no signing key yet"):
            first.sign("/v1/run", b"")
        first.keep()
        second.keep()
        names = {each.sign("/v1/run", b"").partition(":")[0] for each in (first, second)}
        assert names == held(http)


def test_a_rotation_is_carried_on_by_whoever_leads(tmp_path: Any) -> None:
    with cluster(tmp_path) as (_, http, clock):
        one, other = signing(http, clock), signing(http, clock)
        one.keep()
        old = held(http)
        clock.advance(30 * DAY_S)
        other.keep()
        assert old < held(http)
        assert {other.sign("/v1/run", b"").partition(":")[0]} == old
        clock.advance(SETTLE_S)
        one.keep()
        assert {one.sign("/v1/run", b"").partition(":")[0]} == held(http) - old
        clock.advance(SETTLE_S)
        one.keep()
        assert not old & held(http)


def test_public_keys_that_somebody_changed_are_published_again(tmp_path: Any) -> None:
    with cluster(tmp_path) as (_, http, clock):
        own = signing(http, clock)
        own.keep()
        before = held(http)
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG_MAP}"
        raw = http.get(path)
        raw["data"] = {"attacker.pem": "x"}
        http.request("PUT", path, body=raw)
        clock.advance(601)
        own.keep()
        assert held(http) == before


def test_a_secret_that_cannot_be_read_is_left_alone(tmp_path: Any) -> None:
    with cluster(tmp_path) as (_, http, clock):
        body = {
            "metadata": {"name": SECRET},
            "data": {DATA: base64.b64encode(json.dumps({"version": 9}).encode()).decode()},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        http.request("POST", path, body=body)
        with pytest.raises(ClusterRejected) as error:
            signing(http, clock).keep()
        assert "delete it" in error.value.hint
        assert http.get(f"{path}/{SECRET}")["data"] == body["data"]


def test_nothing_is_made_by_a_replica_that_does_not_lead(tmp_path: Any) -> None:
    def lost() -> None:
        raise LeadershipLost("another one leads")

    with cluster(tmp_path) as (_, http, clock):
        with pytest.raises(LeadershipLost):
            signing(http, clock, assert_leader=lost).keep()
        assert http.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"] == []


def test_a_quiet_controller_reads_its_keys_every_ten_minutes(tmp_path: Any) -> None:
    with cluster(tmp_path) as (api, http, clock):
        own = signing(http, clock)
        own.keep()
        api.stop()  # the next read would fail
        clock.advance(599)
        own.keep()


def test_where_there_are_no_agents_no_key_is_made(tmp_path: Any) -> None:
    agents: list[str] = []
    with cluster(tmp_path) as (_, http, clock):
        own = signing(http, clock, wanted=lambda: bool(agents))
        own.keep()
        assert http.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"] == []
        agents.append("gpu-1")
        own.keep()
        assert len(held(http)) == 1
