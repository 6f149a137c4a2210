"""How many nodes may be tested at once, and when is a healthy one due by the site's schedule? Pure.

The schedule needs no memory: time is cut into intervals, for each node at another point (by hash of
its UID), and a node is due once in each. Who starts anew waits for the next one, so that a restart
tests nobody twice; a test that fell into the time without a controller is left out.
"""

from __future__ import annotations

import hashlib
import math

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.reset import our_taints
from konduktor_health.model import Keys, NodeView
from konduktor_health.timestamps import NS


def most_at_once(managed: int, percent: float, most: int) -> int:
    """Rounded up, so that one node may always be tested."""
    return min(most, max(1, math.ceil(managed * percent / 100.0)))


def interval_of(uid: str, now_ns: int, interval_s: float) -> int:
    """The number of the node's interval that this time is in."""
    share = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") / 2**32
    return math.floor(now_ns / NS / interval_s + share)


def is_well(view: NodeView, keys: Keys) -> bool:
    """Nothing is open on the node: a test of it is by the schedule alone."""
    if our_taints(view, keys) or view.health_label is not None:
        return False
    ledger, corrupt = read_ledger(view)
    return not corrupt and not ledger.records
