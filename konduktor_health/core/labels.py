"""Which labels say how a node is? Ours, and, where the policy asks for it, Autopilot's.

``autopilot.ibm.com/gpuhealth`` is read by schedulers and operators made for IBM's Autopilot
(AppWrapper: WARN is to be avoided, TESTING keeps new pods out, EVICT ends those that run). With
``policy.autopilot_labels`` it is kept beside our own label, in the same patch; and what DCGM's
levels came to is told as Autopilot does (``diagnosed``).

Invariants: a node that never had a record, and that DCGM has not measured, gets no label; a node
that is not observed keeps what it has: no data neither heals nor accuses. What a record asks for is
never overwritten by a diagnosis. A label is written when what it says has changed, not when it was
found again. One writer: not to be used beside Autopilot itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from konduktor_health.core.invasive_note import is_testing
from konduktor_health.model import (
    Diagnosis,
    EditKind,
    EditNode,
    NodeEdit,
    NodeView,
    Policy,
    Verdict,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect

#: Autopilot's label, a name of theirs; it does not follow our prefix.
AUTOPILOT = "autopilot.ibm.com/gpuhealth"
#: Beginning of the labels of each level of DCGM, and end of the annotation that belongs to one.
DCGM_LEVEL = "autopilot.ibm.com/dcgm.level."
DCGM_OUTPUT = ".output"
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


@dataclass(frozen=True, slots=True)
class Marks:
    """What is to be written of DCGM's diagnoses. Empty: the Node says it already."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.labels)


def diagnosed(view: NodeView, diagnoses: Iterable[Diagnosis], policy: Policy) -> Marks:
    """Autopilot's labels ``dcgm.level.N`` and their annotations, as far as the Node says something
    else. The time in a label is that of the run from which on it was so.

    ``gpuhealth`` becomes PASS on a node that has none of it and of which nothing else is told.
    """
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    known = tuple(diagnoses) if policy.autopilot_labels else ()
    told = dict(view.diagnosed)
    for each in known:
        key = f"{DCGM_LEVEL}{each.level}"
        begins = "PASS_" if each.passed else "ERR_"
        said = (view.label(key) or "").startswith(begins)
        output = told.get(key + DCGM_OUTPUT)
        # What failed may be forgotten by now: then what stands there is not overwritten.
        if not said or (output != each.failed and (each.passed or each.failed)):
            at = datetime.fromtimestamp(each.time_ns // NS, UTC)
            labels[key] = f"{begins}{at:%Y-%m-%d_%H.%M.%SUTC}"
            annotations[key + DCGM_OUTPUT] = each.failed
    untold = view.label(AUTOPILOT) is None and view.ledger is None
    if known and untold and all(each.passed for each in known):
        labels[AUTOPILOT] = PASS
    return Marks(labels, annotations)


def edit_for(view: NodeView, marks: Marks) -> EditNode:
    """The patch that writes them, and nothing else."""
    levels = [key.removeprefix(DCGM_LEVEL) for key in marks.labels if key.startswith(DCGM_LEVEL)]
    return EditNode(
        node=view.name,
        basis=view,
        edit=NodeEdit(annotations=marks.annotations, labels=marks.labels),
        kind=EditKind.DIAGNOSIS,
        message=f"label what DCGM found at level {', '.join(levels)}" if levels else "label PASS",
        evidence=tuple(f"{key}={value}" for key, value in sorted(marks.labels.items())),
    )


def is_diagnosis(key: str) -> bool:
    """Whether a label or annotation is one of those that ``diagnosed`` writes."""
    level = key.removesuffix(DCGM_OUTPUT).removeprefix(DCGM_LEVEL)
    return key.startswith(DCGM_LEVEL) and level in ("1", "2", "3", "4")


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
