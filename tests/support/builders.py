"""Small builders of the vocabulary for tests of the core and the runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from konduktor_health.core.labels import DCGM_OUTPUT
from konduktor_health.model import (
    EditNode,
    Fault,
    FleetView,
    Keys,
    NodeView,
    Plan,
    Policy,
    Remedy,
    SetCondition,
    Severity,
    Sighting,
    Snapshot,
    Taint,
    Trust,
)
from konduktor_health.timestamps import NS

KEYS = Keys()
NOW = 1_800_000_000 * NS
BOOT = "a" * 32
OTHER_BOOT = "b" * 32
OUR_TAINT = Taint(KEYS.taint, "true", "NoSchedule")
FOREIGN_TAINT = Taint("node.kubernetes.io/not-ready", "", "NoSchedule")


def node(name: str = "gpu-1", **fields: Any) -> NodeView:
    """A managed GPU node."""
    defaults: dict[str, Any] = {
        "uid": f"uid-{name}",
        "resource_version": "1",
        "boot_id": BOOT,
        "gpu_capacity": 8,
        "selected": True,
    }
    return NodeView(name=name, **(defaults | fields))


def fault(fault_id: str = "xid/79", **fields: Any) -> Fault:
    """A fatal kernel fault seen now."""
    defaults: dict[str, Any] = {
        "severity": Severity.FATAL,
        "remedy": Remedy.REBOOT,
        "device": "0000:3b:00",
        "node": "gpu-1",
        "time_ns": NOW,
        "event_ns": NOW,
        "uptime_us": 1_000_000_000,
        "identity": f"{fault_id}-1",
        "source": "kmsg",
        "trust": Trust.KERNEL,
        "text": "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
    }
    return Fault(fault_id=fault_id, **(defaults | fields))


def sighting(seen: Fault | None = None, *, acting: bool = True, **fields: Any) -> Sighting:
    """One fault, folded."""
    seen = seen or fault(**fields)
    return Sighting(seen, seen.event_ns, seen.event_ns, seen.count, acting)


def snapshot(
    nodes: Iterable[NodeView],
    sightings: Mapping[str, Iterable[Sighting]] | None = None,
    *,
    managed: int = 100,
    tainted: int = 0,
    **fields: Any,
) -> Snapshot:
    """A snapshot over a fleet of a hundred nodes unless said otherwise."""
    fleet = FleetView(
        managed=managed,
        tainted=tainted,
        taint_times_ns=fields.pop("taint_times_ns", ()),
        fatal_sightings=fields.pop("fatal_sightings", {}),
    )
    return Snapshot(
        nodes={view.name: view for view in nodes},
        sightings={name: tuple(seen) for name, seen in (sightings or {}).items()},
        fleet=fleet,
        **fields,
    )


def after(view: NodeView, plan: Plan) -> NodeView:
    """The node once the Plan's actions for it have been applied."""
    for action in plan.actions:
        if action.node != view.name:
            continue
        if isinstance(action, EditNode):
            view = edited(view, action)
        elif isinstance(action, SetCondition):
            view = replace(view, condition=action.condition)
    return view


def edited(view: NodeView, action: EditNode) -> NodeView:
    """The node once one edit has been applied."""
    edit = action.edit
    gone = {(taint.key, taint.effect) for taint in edit.remove_taints}
    taints = tuple(t for t in view.taints if (t.key, t.effect) not in gone) + edit.add_taints
    annotations = dict(edit.annotations)
    labels = {**dict(view.labels), **{k: v for k, v in edit.labels.items() if k != KEYS.health}}
    outputs = {
        key: value for key, value in annotations.items() if key.endswith(DCGM_OUTPUT)
    }  # the rest has fields of its own
    diagnosed = {**dict(view.diagnosed), **outputs}
    return replace(
        view,
        taints=taints,
        ledger=annotations.get(KEYS.ledger, view.ledger),
        ledger_corrupt=view.ledger_corrupt
        if KEYS.ledger_corrupt not in annotations
        else annotations[KEYS.ledger_corrupt] is not None,
        reset_at=annotations.get(KEYS.reset_at, view.reset_at),
        hold=annotations.get(KEYS.hold, view.hold),
        maintenance=annotations.get(KEYS.maintenance, view.maintenance),
        testing=annotations.get(KEYS.testing, view.testing),
        health_label=dict(edit.labels).get(KEYS.health, view.health_label),
        labels=_there(labels),
        diagnosed=_there(diagnosed),
    )


def _there(pairs: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in pairs.items() if value is not None))


def edits(plan: Plan) -> list[EditNode]:
    """The Plan's edits."""
    return [action for action in plan.actions if isinstance(action, EditNode)]


def policy(**fields: Any) -> Policy:
    """The default policy with changes."""
    return replace(Policy(), **fields)
