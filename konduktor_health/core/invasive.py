"""Which invasive probes does clearing a node wait for, and may it be tested now? Pure.

An invasive probe takes the GPUs away from everybody else, so it comes last: once the repair was
seen and all other probes have passed, on every device of the node. Quiet may go on beside it. A GPU
that awaits its repair would only be seen to fail again.
"""

from __future__ import annotations

from konduktor_health.core.clearing import LOAD, QUIET
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.pauses import pause_of
from konduktor_health.core.wanted import verified_by
from konduktor_health.core.wording import PROBE
from konduktor_health.model import NodeView, Policy
from konduktor_health.treatment import INVASIVE, INVASIVE_CHECKS


def is_invasive(probe: str, own: frozenset[str] = frozenset()) -> bool:
    """Whether a probe that clearing waits for needs a Job. ``own``: checks of the site."""
    return probe == INVASIVE or probe in INVASIVE_CHECKS or probe in own


def wanted_tests(ledger: Ledger, own: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The invasive probes that are missing, sorted; none while more than quiet is missing beside
    them."""
    wanted: set[str] = set()
    for record in ledger.records:
        if not record.asks:
            continue
        for each in record.missing:
            probe = each.what.removeprefix(PROBE).removesuffix(LOAD)
            if each.what.startswith(PROBE) and is_invasive(probe, own):
                wanted.add(probe)
            elif each.what != QUIET:
                return ()
    return tuple(sorted(wanted))


def verifying_tests(
    view: NodeView, ledger: Ledger, policy: Policy, own: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """The invasive probes that rules verify the node's open records by, sorted. Unlike those that
    clearing waits for, they are asked for at once: the rule says so."""
    verified = verified_by(view, ledger, policy)
    return tuple(sorted(name for name in verified if is_invasive(name, own)))


def since_when(ledger: Ledger, own: frozenset[str] = frozenset()) -> int:
    """Since when the first of them is missing, Unix ns; 0: none is."""
    times = [
        each.since_ns
        for record in ledger.records
        for each in record.missing
        if each.what.startswith(PROBE)
        and is_invasive(each.what.removeprefix(PROBE).removesuffix(LOAD), own)
    ]
    return min(times, default=0)


def has_passed_since(ledger: Ledger, time_ns: int, own: frozenset[str] = frozenset()) -> bool:
    """A run of an invasive probe that ended after this time counts as a pass of some record."""
    return any(
        each.count > 0 and each.newest_ns >= time_ns
        for record in ledger.records
        for each in record.passes
        if is_invasive(each.name.removesuffix(LOAD), own)
    )


def still_asks(ledger: Ledger) -> bool:
    """Anything on the node asks for an effect: the test of before may still be of use."""
    return any(record.asks for record in ledger.records)


def why_left_alone(view: NodeView, policy: Policy, now_ns: int) -> str:
    """Why no test may begin on the node now; "" when one may."""
    if not view.ready:
        return "the node is not ready"
    if view.unschedulable:
        return "somebody has cordoned the node"
    pause = pause_of(view, policy, now_ns)
    return "" if pause is None else pause.message
