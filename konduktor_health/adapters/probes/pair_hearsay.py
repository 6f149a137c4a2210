"""Which pairs do the agents' own pings speak against? (``probes/checks/ping.py``)

Each agent pings a few peers by itself, as its settings name them, and tells each in its report.
What it says accuses nobody: it is a reason to measure that pair now, asked for by us.

Invariants: a peer counts at the address that its agent's pod has now, and had before the run began,
so that a DaemonSet that is being rolled speaks against nobody; what is older than ``NEW_S`` is
history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from konduktor_health.adapters.pair_results import told_peers
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.reading import PAIR
from konduktor_health.core.pair_tests import PairKey
from konduktor_health.timestamps import NS
from probes.report import Run

NEW_S = 900.0
#: So long before a run a pod has to be there, for others to be told of it.
_SETTLED_NS = 60 * NS


def suspected(
    name: str,
    runs: Iterable[Run],
    agent_of: Callable[[str], AgentPod | None],
    now_ns: int,
    *,
    accept_fake: bool = False,
) -> Iterator[PairKey]:
    """(client, server, interface) of what this node's own pings say is bad."""
    for run in runs:
        if run.run_id.startswith(PAIR) or run.ended_ns < now_ns - NEW_S * NS:
            continue
        for result in run.results:
            if result.check != "ping" or (result.fake and not accept_fake):
                continue
            for peer, address, outcome in told_peers(result):
                pod = agent_of(peer)
                if outcome.bad and pod is not None and peer != name:
                    known = dict(pod.interfaces).get(result.device, ())
                    if address in known and pod.created_ns + _SETTLED_NS < run.began_ns:
                        yield name, peer, result.device
