"""Do two electors agree through a real Lease?"""

from __future__ import annotations

import threading
import time

from konduktor_health.adapters.kube.leases import KubeLease
from konduktor_health.adapters.lease import LeaseElector, LeaseTimes
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ClusterForbidden
from tests.component.kube.conftest import Side, eventually

LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/test-lease"
FAST = LeaseTimes(duration=2, renew_deadline=1.2, retry=0.1, call=0.8)


def elector(side: Side, identity: str, user: str = "") -> tuple[LeaseElector, threading.Event]:
    http, _ = side.adapter(user)
    made = LeaseElector(KubeLease(http, "default", "test-lease"), identity, FAST, SystemClock())
    stop = threading.Event()
    side.cleanups.insert(0, stop.set)
    made.start(stop)
    return made, stop


def test_one_leads_and_the_other_follows_on_release_and_on_death(side: Side) -> None:
    side.rest.call("DELETE", LEASE)
    a, a_stop = elector(side, "a")
    assert a.wait_leader(5)
    b, b_stop = elector(side, "b")
    eventually(lambda: b.holder() == "a")
    assert not b.wait_leader(0.3)
    spec = side.rest.ok("GET", LEASE)["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("a", 2)
    assert spec["leaseTransitions"] == 0

    a_stop.set()
    released = time.monotonic()
    a.release()
    assert b.wait_leader(5)
    assert time.monotonic() - released < 1
    assert not a.is_leader()
    assert side.rest.ok("GET", LEASE)["spec"]["leaseTransitions"] == 1

    b_stop.set()  # dies without releasing
    died = time.monotonic()
    c, _ = elector(side, "c")
    assert c.wait_leader(10)
    assert time.monotonic() - died >= 1
    assert not b.is_leader()
    assert side.rest.ok("GET", LEASE)["spec"]["holderIdentity"] == "c"


def test_missing_rights_are_shown(side: Side) -> None:
    a, _ = elector(side, "a", "nobody")
    eventually(lambda: a.last_error() is not None)
    assert isinstance(a.last_error(), ClusterForbidden)
    assert "leases test-lease in namespace default" in str(a.last_error())
    assert not a.is_leader()
