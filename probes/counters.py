"""How much did counters grow since the last run? With resets seen, within one boot.

Counts are kept by the check (``Context.keep``) with the time of the boot's own clock, which goes on
during suspend and is not set. A counter that is lower than before was reset in between (driver
loaded anew, GPU reset): then what it shows now has grown since.

Invariants: without counts of the same boot there is no growth, rather than a wrong one; what was
kept may be anything and is checked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from probes.check import Context

_KEY = "counters"
_RUNS_KEY = "runs"
LASTS_KEY = "lasts"


#: What was not looked at for so long, in seconds, need not have lasted.
UNSEEN_S = 7200.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What counters of one device grew by."""

    seconds: float  # since the last run, above 0
    by: Mapping[str, int]  # counter to increase; counters that were not there before are left out
    reset: frozenset[str] = frozenset()

    def per_second(self, name: str) -> float:
        """Rate of one counter; 0 for one that is not there."""
        return self.by.get(name, 0) / self.seconds


def boot_clock() -> float:
    """Seconds since boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def grown(context: Context, device: str, counts: Mapping[str, int], now_s: float) -> Growth | None:
    """Compare with the last run, and keep these counts for the next. None: nothing to compare."""
    kept = context.keep.setdefault(_KEY, {})
    if isinstance(kept, dict):
        kept[device] = {"boot": context.boot_id, "at_s": now_s, "counts": dict(counts)}
    last = _mapping(_mapping(context.before.get(_KEY)).get(device))
    at_s = last.get("at_s")
    if last.get("boot") != context.boot_id or not isinstance(at_s, int | float):
        return None
    if not now_s > at_s:
        return None
    before = _mapping(last.get("counts"))
    by: dict[str, int] = {}
    reset = set()
    for name, count in counts.items():
        earlier = before.get(name)
        if isinstance(earlier, bool) or not isinstance(earlier, int):
            continue
        if count < earlier:
            reset.add(name)
            earlier = 0
        by[name] = count - earlier
    return Growth(now_s - at_s, by, frozenset(reset))


def recent(context: Context, name: str, bad: bool, most: int) -> tuple[int, int]:
    """Note whether this run was bad, and count: (bad ones, all) of the newest ``most`` runs of this
    boot, this one included."""
    last = _mapping(_mapping(context.before.get(_RUNS_KEY)).get(name))
    marks = last.get("marks") if last.get("boot") == context.boot_id else ""
    marks = (marks if isinstance(marks, str) else "") + ("1" if bad else "0")
    marks = marks[-most:]
    kept = context.keep.setdefault(_RUNS_KEY, {})
    if isinstance(kept, dict):
        kept[name] = {"boot": context.boot_id, "marks": marks}
    return marks.count("1"), len(marks)


def lasts(context: Context, name: str, now_s: float) -> float:
    """For how many seconds of this boot something has been so in each run, up to this one. Called
    in each run in which it is so, and in no other. ``now_s`` is since boot. It begins anew when
    nobody looked for ``UNSEEN_S``: what was in between is not known."""
    last = _mapping(_mapping(context.before.get(LASTS_KEY)).get(name))
    at_s, seen_s = last.get("at_s"), last.get("seen_s")
    since = now_s
    if (
        last.get("boot") == context.boot_id
        and isinstance(at_s, int | float)
        and isinstance(seen_s, int | float)
        and 0 <= now_s - seen_s <= UNSEEN_S
    ):
        since = min(float(at_s), now_s)
    kept = context.keep.setdefault(LASTS_KEY, {})
    if isinstance(kept, dict):
        kept[name] = {"boot": context.boot_id, "at_s": since, "seen_s": now_s}
    return now_s - since


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
