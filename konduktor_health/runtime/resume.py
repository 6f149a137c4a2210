"""How is a surge let act? The operator's request, written with compare-and-swap.

The running leader reads it within a few seconds (``runtime.surges``). Nothing here needs one to
run: who leads next reads it too, as long as the surge is not over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from konduktor_health.core.resumed import name_of, parse_request, parse_surges, render_request
from konduktor_health.errors import Conflict
from konduktor_health.model import Surge
from konduktor_health.ports import Cluster, Request
from konduktor_health.runtime.surges import STATE_KEY

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What was (or would be) asked for, and what is held besides."""

    surges: tuple[Surge, ...]
    others: tuple[Surge, ...] = ()


def resume(cluster: Cluster, wanted: Callable[[Surge], bool], *, dry_run: bool) -> Asked:
    """Ask the controller to let these surges act. Raises errors of the cluster port; Conflict
    only when the state changes again and again."""
    for attempt in range(ATTEMPTS):
        request = cluster.read_request()  # first: a state that changes after it is a Conflict
        held = _held(cluster)
        chosen = tuple(surge for surge in held if wanted(surge))
        others = tuple(surge for surge in held if not wanted(surge))
        if request is None or not chosen or dry_run:
            return Asked(chosen, others)
        still_held = {name_of(surge) for surge in held}
        before = parse_request(request.text) & still_held  # another operator's, not read yet
        named = before | {name_of(surge) for surge in chosen}
        if named == before:
            return Asked(chosen, others)
        try:
            cluster.write_request(Request(render_request(named), request.resource_version))
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        return Asked(chosen, others)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _held(cluster: Cluster) -> tuple[Surge, ...]:
    stored = (cluster.read_state() or {}).get(STATE_KEY)
    return tuple(surge for surge in parse_surges(stored) if not surge.released_ns)
