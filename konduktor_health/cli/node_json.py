"""What does a node's story look like as JSON? Described in docs/reference/node-json.md.

Every field is always there: what is not known is null. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any

from konduktor_health.cli.agent_told import AgentTold
from konduktor_health.cli.invasive_told import note_as_json
from konduktor_health.cli.node_course import Course, Proof, Wait
from konduktor_health.cli.node_missing import missing, stays_because
from konduktor_health.cli.node_story import Declaration, OurTaint, Story
from konduktor_health.cli.times import when
from konduktor_health.core.ledger import Ledger, Past
from konduktor_health.core.operators_record import is_operators
from konduktor_health.core.reasons import MEANINGS, named
from konduktor_health.core.states import MEANING
from konduktor_health.model import Taint


def as_json(story: Story) -> dict[str, Any]:
    """One node as one JSON object."""
    condition, ledger = story.condition, story.ledger
    return {
        "node": story.node,
        "managed": not story.unmanaged,
        "unmanaged_because": story.unmanaged or None,
        "opted_out": story.opted_out,
        "verdict": story.verdict.value,
        "taints": [_ours(each) for each in story.ours],
        "other_taints": [_taint(each) for each in story.foreign],
        "unschedulable": story.unschedulable,
        "condition": None
        if condition is None
        else {
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
        },
        "held": _reason(story.held.value if story.held else ""),
        "hold": _declared(story.hold),
        "maintenance": _declared(story.maintenance),
        "ledger": {
            "state": story.ledger_state,
            "damage": story.damage or None,
            "damaged_kept": story.damaged_kept,
            "written": when(ledger.written_ns),
            "since": when(ledger.since_ns),
            "tainted": when(ledger.tainted_ns),
            "removed": when(ledger.removed_ns),
            "dropped": ledger.dropped,
        },
        "test": note_as_json(story.test),
        "boot_id": story.boot_id or None,
        "reboot": _reboot(ledger),
        "reset_at": when(story.reset_ns or 0),
        "records": [record_as_json(each) for each in story.courses],
        "history": [_past(each) for each in ledger.history],
        "missing": list(missing(story)),
        "clears_itself": not any(stays_because(story)) if story.clearable else None,
        "stays_because": list(stays_because(story)),
        "agent": _agent(story.agent),
    }


def _agent(told: AgentTold | None) -> dict[str, Any] | None:
    """The agent on the node, where something is wrong with it."""
    if told is None:
        return None
    return {
        "state": told.state.value,
        "since": when(told.since_ns),
        "message": told.message or None,
        "unmeasured": [{"check": check, "times": times} for check, times in told.unmeasured],
    }


def record_as_json(course: Course) -> dict[str, Any]:
    """One open record."""
    record = course.record
    return {
        "fault_id": record.fault_id,
        "device": record.device or None,
        "severity": record.severity.value,
        "remedy": record.remedy.value,
        "first_seen": when(record.first_ns),
        "last_seen": when(record.last_ns),
        "count": record.count,
        "acting": record.acting,
        "not_acting_because": _reason(record.why),
        "state": course.state.value,
        "state_meaning": MEANING[course.state],
        "rule": record.rule or None,
        "rule_known": course.known,
        "asks": record.asks,
        "effect": record.effect or None,
        "awaits": [_wait(each) for each in course.waits],
        "repairs": [
            {"repair": repair.value, "time": when(time_ns)} for repair, time_ns in course.repairs
        ],
        "probes": [_proof(each) for each in course.proofs],
        "attempts": record.attempts,
        "step": course.step.value if course.step else None,
        "next_step": course.next_step.value if course.next_step else None,
        "flaps": record.flaps,
        "episodes": len(record.episodes),
        "fades_after_s": course.fades_s,
        "follows": _root(record.root),
        "injected": record.injected,
        "trust": record.trust.value,
        "source": record.source or None,
        "operator": is_operators(record),
        "boot_id": record.boot_id or None,
        "text": record.text,
    }


def _wait(wait: Wait) -> dict[str, Any]:
    return {
        "what": wait.what,
        "since": when(wait.since_ns),
        "text": wait.text,
        "not_before": when(wait.not_before_ns),
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "probe": proof.probe,
        "passed": proof.passed,
        "needed": proof.needed,
        "newest": when(proof.newest_ns),
    }


def _root(root: str) -> dict[str, Any] | None:
    fault_id, _, device = root.partition("|")
    return {"fault_id": fault_id, "device": device or None} if root else None


def _past(past: Past) -> dict[str, Any]:
    return {
        "fault_id": past.fault_id,
        "device": past.device or None,
        "cleared": when(past.cleared_ns),
        "faded": not past.times,
        "times": past.times,
        "last_seen": when(past.last_ns),
        "repaired": when(past.repaired_ns),
        "attempts": past.attempts,
        "count": past.count,
    }


def _reason(name: str) -> dict[str, Any] | None:
    if not name:
        return None
    known = named(name)
    if known is None:
        return {"reason": name, "meaning": None, "ends": None}
    return {"reason": name, "meaning": MEANINGS[known].text, "ends": MEANINGS[known].ends}


def _reboot(ledger: Ledger) -> dict[str, Any] | None:
    if not ledger.noticed_ns:
        return None
    return {"after": when(ledger.rebooted_ns), "before": when(ledger.noticed_ns)}


def _declared(declaration: Declaration | None) -> dict[str, Any] | None:
    if declaration is None:
        return None
    declared = declaration.declared
    return {
        "in_force": declaration.in_force,
        "since": when(declared.since_ns),
        "until": when(declared.until_ns or 0),
        "reason": declared.reason or None,
    }


def _ours(ours: OurTaint) -> dict[str, Any]:
    return {**_taint(ours.taint), "adopted": ours.adopted}


def _taint(taint: Taint) -> dict[str, Any]:
    return {"key": taint.key, "value": taint.value, "effect": taint.effect}
