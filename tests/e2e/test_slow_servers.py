"""Servers that answer late, or not for a minute: nothing is lost, nothing is done twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.e2e.conftest import Stage
from tests.support.controller import eventually, steadily
from tests.support.loglines import ago, otel
from tests.support.proxy import Proxy, Refusal

LATENCY_S = 2.0
OUTAGE_S = 60.0
DEFAULT_LEASE = {"duration_s": 15.0, "renew_deadline_s": 10.0, "retry_s": 2.0}


def test_an_api_server_that_takes_2_s_for_each_answer_is_written_and_led_on(stage: Stage) -> None:
    """With the time-outs and lease times that are the default."""
    names = [f"gpu-{n}" for n in range(10)]
    stage.nodes(*names)
    settings: dict[str, Any] = {
        "lease": DEFAULT_LEASE,
        "cluster": {"timeout_s": 5.0},
        "policy": {"budget_percent": 100},
    }
    leader = stage.replica(**settings)
    leader.process.leading()
    standby = stage.replica(**settings).standing_by()
    holder = stage.lease()["holderIdentity"]
    leader.proxy.delay_s = standby.proxy.delay_s = LATENCY_S
    steadily(leader.leads, "leads while each renewal takes 2 s", 17.0)
    stage.push(*(otel(name) for name in names[:3]))
    stage.until_tainted(*names[:3], timeout_s=30)
    eventually(
        lambda: all(stage.condition(name) for name in names[:3]), "all is written", timeout_s=30
    )
    for name in names[:3]:
        assert stage.records(name) == [("xid/79", 1)]
        assert len(stage.kube.events(name)) == 1
    lease = stage.lease()
    assert (lease["holderIdentity"], lease["leaseTransitions"]) == (holder, 0)
    assert leader.leads()
    assert not standby.leads()


@pytest.mark.timeout(240)  # the outage is a whole minute
def test_loki_refused_for_60_s_while_old_lines_arrive_loses_and_repeats_nothing(
    stage: Stage,
) -> None:
    nodes = [f"gpu-{n:02}" for n in range(40)]
    stage.nodes(*nodes)
    for name in nodes:  # a line that is older than its Node is another machine's
        stage.kube.predate_node(name, 2 * 3600)
    late = {f"gpu-{n:02}": 60.0 * n for n in range(1, 31)}  # seconds before they arrive
    with Proxy(stage.loki.url) as loki:
        controller = stage.controller(
            loki=loki.url,
            reading={"first_lookback_s": 3600.0},
            policy={"budget_enabled": False, "surge_enabled": False, "rate_per_minute": 0},
        ).leading()
        stage.push(otel("gpu-00"))
        stage.until_tainted("gpu-00")
        loki.refusal = Refusal(503, times=10**9)
        over = threading.Event()
        threading.Timer(OUTAGE_S, over.set).start()
        for name, seconds in late.items():
            stage.push(otel(name, ns=ago(seconds)))
            over.wait(OUTAGE_S / len(late))
        over.wait()
        assert stage.tainted() == ["gpu-00"]
        assert loki.refused > 3
        loki.refusal = None
        stage.until_tainted("gpu-00", *late, timeout_s=60)
        controller.ready()
        eventually(lambda: all(stage.condition(name) for name in late), "all is written")
        faults = "konduktor_health_faults_total{"
        steadily(lambda: controller.metric(faults) == 1 + len(late), "each is counted once", 3.0)
        for name in ("gpu-00", *late):
            assert stage.records(name) == [("xid/79", 1)]
            assert len(stage.kube.events(name)) == 1
        edits = controller.metric('konduktor_health_node_edits_total{kind="taint"}')
        assert edits == 1 + len(late)
        assert controller.metric("konduktor_health_conflicts_total") == 0
