"""Which labels say how a node is? Ours, and, where the policy asks for it, Autopilot's.

``autopilot.ibm.com/gpuhealth`` is read by schedulers and operators made for IBM's Autopilot
(AppWrapper: WARN is to be avoided, TESTING keeps new pods out, EVICT ends those that run). With
``policy.autopilot_labels`` it is kept beside our own label, in the same patch.

Invariants: a node that never had a record gets no label; a node that is not observed keeps what
it has: no data neither heals nor accuses. One writer: not to be used beside Autopilot itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from konduktor_health.core.invasive_note import is_testing
from konduktor_health.model import NodeView, Policy, Verdict
from konduktor_health.treatment import Effect

#: Autopilot's label, a name of theirs; it does not follow our prefix.
AUTOPILOT = "autopilot.ibm.com/gpuhealth"
PASS, WARN, EVICT, TESTING = "PASS", "WARN", "EVICT", "TESTING"
_AS_IT_IS = ""  # leave the label alone
_KEEPS_PODS_OUT = frozenset({Effect.NO_SCHEDULE, Effect.NO_EXECUTE})


def labels_for(
    verdict: Verdict | None, effect: Effect | None, policy: Policy, *, testing: bool = False
) -> Mapping[str, str | None]:
    """Labels of a node that has, or had, a record; None as a value removes the label.

    ``effect``: of our taint that is on the node, or is put there by the same patch. ``verdict``
    None: nothing of ours is to be left on the node. ``testing``: an invasive test may be running.
    """
    told = None if verdict is None or verdict is Verdict.HEALTHY else verdict.value
    labels: dict[str, str | None] = {policy.keys.health: told}
    if not policy.autopilot_labels:
        return labels
    value = _autopilot(verdict, effect)
    if testing and value in (PASS, WARN, _AS_IT_IS):  # EVICT is the worse one
        value = TESTING
    if value != _AS_IT_IS:
        labels[AUTOPILOT] = value
    return labels


def labels_due(view: NodeView, wanted: Mapping[str, str | None], policy: Policy) -> bool:
    """Whether the Node does not carry these labels yet."""
    health = policy.keys.health
    return any(
        (view.health_label if key == health else view.label(key)) != value
        for key, value in wanted.items()
    )


def labels_after_reset(view: NodeView, policy: Policy) -> Mapping[str, str | None]:
    """What is to say on a node without a ledger: that it is tested, or is no longer; or that an
    operator has vouched for it.

    ``reset`` does not know the policy: the controller takes back what it had told Autopilot's
    readers. Empty: nothing."""
    if not policy.autopilot_labels:
        return {}
    if is_testing(view.testing):
        return {AUTOPILOT: TESTING}
    vouched = view.reset_at is not None and view.ledger is None
    told = (WARN, EVICT, TESTING) if vouched else (TESTING,)
    return {AUTOPILOT: PASS} if view.label(AUTOPILOT) in told else {}


def _autopilot(verdict: Verdict | None, effect: Effect | None) -> str | None:
    if verdict is None:
        return None
    if verdict is Verdict.RECOVERING:
        return TESTING
    if effect in _KEEPS_PODS_OUT:
        return EVICT
    if verdict is Verdict.UNOBSERVED:
        return _AS_IT_IS
    return PASS if verdict is Verdict.HEALTHY and effect is None else WARN
