"""What does a replay come to? The sums of each policy, how two differ, and what nobody could know.

All of it as plain values, in a fixed order, for JSON and for the table alike. Hours are node-hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from konduktor_health.cli.times import when
from konduktor_health.runtime.replay.heard import Told
from konduktor_health.runtime.replay.player import Player
from konduktor_health.runtime.replay.totals import NodeTotals, Totals
from konduktor_health.timestamps import NS

_HOUR_NS = 3600 * NS


@dataclass(frozen=True, slots=True)
class Played:
    """A policy that was played to the end."""

    name: str
    player: Player

    @property
    def totals(self) -> Totals:
        """Its sums."""
        return self.player.timeline.totals


def hours(duration_ns: int) -> float:
    """Nanoseconds as hours, to the hundredth."""
    return round(duration_ns / _HOUR_NS, 2)


def lines_of(told: Told) -> dict[str, Any]:
    """What was heard."""
    return {
        "heard": told.lines,
        "first": when(told.first_ns),
        "last": when(told.last_ns),
        "copies": told.copies,
        "late": told.late,
        "outside_range": told.outside,
        "without_time": told.without_time,
        "without_node": told.without_node,
    }


def sums(played: Played) -> dict[str, Any]:
    """One policy's sums."""
    totals = played.totals
    return {
        "policy": played.name,
        "managed_nodes": totals.managed,
        "tainted_nodes": len(totals.tainted),
        "taints": sum(node.taints for node in totals.nodes.values()),
        "clears": sum(node.clears for node in totals.nodes.values()),
        "hours_out_of_scheduling": hours(totals.out_ns),
        "hours_discouraged": hours(totals.discouraged_ns),
        "hours_wanted_and_held": hours(sum(each.held.total_ns for each in totals.nodes.values())),
        "holds": dict(sorted(totals.holds.items())),
        "surges": dict(sorted(totals.surges.items())),
        "writes": {
            "nodes": dict(sorted(totals.edits.items())),
            "conditions": totals.conditions,
            "events": totals.events,
        },
        "rules": {
            name: {
                "taints": rule.taints,
                "nodes": len(rule.nodes),
                "faults": dict(sorted(rule.faults.items())),
            }
            for name, rule in sorted(totals.rules.items())
        },
        "pools": {
            name: {
                "limit": pool.limit,
                "most_tainted": pool.peak,
                "most_tainted_at": when(pool.peak_ns),
                "hours_exhausted": hours(pool.full.total_ns),
            }
            for name, pool in sorted(totals.pools.items())
        },
        "nodes": {
            name: _node(node)
            for name, node in sorted(totals.nodes.items())
            if node.taints or node.holds
        },
    }


def _node(node: NodeTotals) -> dict[str, Any]:
    return {
        "taints": node.taints,
        "clears": node.clears,
        "boots": node.boots,
        "first_tainted": when(node.first_taint_ns),
        "effect_at_end": node.effect or None,
        "hours_out_of_scheduling": hours(node.out.total_ns),
        "hours_discouraged": hours(node.discouraged.total_ns),
        "hours_wanted_and_held": hours(node.held.total_ns),
        "rules": sorted(node.rules),
        "faults": sorted(node.faults),
        "holds": dict(sorted(node.holds.items())),
    }


def difference(one: Played, other: Played) -> dict[str, Any]:
    """Where two policies part."""
    ours, theirs = set(one.totals.tainted), set(other.totals.tainted)
    return {
        "tainted_only_by": {
            one.name: sorted(ours - theirs),
            other.name: sorted(theirs - ours),
        },
        "tainted_by_both": len(ours & theirs),
        "hours_out_of_scheduling": {each.name: hours(each.totals.out_ns) for each in (one, other)},
        "hours_by_node": {
            name: [_out(one, name), _out(other, name)]
            for name in sorted(ours | theirs)
            if _out(one, name) != _out(other, name)
        },
    }


def _out(played: Played, name: str) -> float:
    node = played.totals.nodes.get(name)
    return hours(node.out.total_ns) if node else 0.0


def not_known(told: Told, played: Sequence[Played], *, listed: bool, sized: bool) -> list[str]:
    """What the history does not hold, and how it was taken instead."""
    player = played[0].player
    said = [
        "probes: none has run; rules that ask for one clear nothing",
        "people: no reset, hold, cordon or drain is in the lines"
        + (
            "; a reset is assumed as asked"
            if player.assumed.reset_after_ns is not None
            else "; what is not cleared stays tainted to the end (--reset-after assumes resets)"
        ),
        "reading: the log counts as read without a gap from the first line to the end",
        f"boots: {player.boots.count} were seen in lines; one that no line shows is missed",
    ]
    if listed:
        said.append("Nodes: as listed now, without taints, cordons and conditions of that time")
        if player.unknown_lines:
            said.append(f"Nodes: {player.unknown_lines} lines came from names that are not listed")
    elif not sized:
        said.append(
            "capacity: a node counts from its first line on, so that budgets are smaller than they"
            " were; --nodes or --fleet-size says how many there are"
        )
    if told.without_time:
        said.append(
            f"{told.without_time} lines tell no time (a dmesg stamp is none, nor is one without a"
            " year) and were left out"
        )
    if told.without_node:
        said.append(f"{told.without_node} lines name no node and were left out")
    if told.late:
        said.append(f"{told.late} lines came after newer ones, and were heard when they came")
    return said
