"""Which probes are to be run on a node now? What its rules verify by, and proof that is missing.

Pure. The light tier runs by itself every minute and is asked for only where a rule verifies by it;
the invasive tier needs the GPUs of the node and is no request's to start: Jobs run it
(``core.invasive``), or agents by themselves. What is left are checks
that run by themselves once an hour or once in a boot: proof would take that long.
"""

from __future__ import annotations

from konduktor_health.core.clearing import LOAD
from konduktor_health.core.facts import LabelsOf, facts_of
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.wording import PROBE
from konduktor_health.model import NodeView, Policy
from konduktor_health.treatment import FOUND_BY, INVASIVE, PROBE_FAULT, choose

_BY_ITSELF = frozenset({"light", INVASIVE})


def wanted_probes(
    view: NodeView, ledger: Ledger, policy: Policy, left_to_jobs: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Names of tiers and checks that are to be run. A node that a person has in hand is left.
    ``left_to_jobs``: checks that Jobs run on reserved GPUs (``core.invasive``)."""
    if view.hold is not None or view.maintenance is not None:
        return frozenset()
    found = set(verified_by(view, ledger, policy) - left_to_jobs)
    for record in ledger.records:
        if record.asks:
            missing = {
                each.what.removeprefix(PROBE).removesuffix(LOAD)
                for each in record.missing
                if each.what.startswith(PROBE)
            }
            found |= missing - _BY_ITSELF - left_to_jobs
    return frozenset(found - {INVASIVE, FOUND_BY})


def verified_by(view: NodeView, ledger: Ledger, policy: Policy) -> frozenset[str]:
    """Tiers and checks by which rules verify what is open on the node."""
    labels = LabelsOf(view)
    found: set[str] = set()
    for record in ledger.records:
        treatment = choose(policy.rules, facts_of(record, labels)).treatment
        check = record.fault_id.removeprefix(PROBE_FAULT)
        own = check if record.fault_id.startswith(PROBE_FAULT) else ""
        found |= {own if name == FOUND_BY else name for name in treatment.verify}
    return frozenset(found - {""})
