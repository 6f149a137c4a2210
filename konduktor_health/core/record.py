"""What is a record, and what is a ledger? The state of one node, as values.

A record is an open fault on (node, device, fault_id). A ledger is a node's records, what we did
about them, and a compact history of what was cleared.

Invariants:
- The order of records does not depend on repeats: a fault that repeats changes counts and times.
- A record keeps its worst severity and never stops acting by itself.
- ``owned`` lists the taint effects that we put on the node. A taint with our key that is not
  listed is not ours to clear (docs/concepts/safety.md 5).
- Times are Unix nanoseconds of event time unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from konduktor_health.frozen import replace
from konduktor_health.model import Fault, Remedy, Severity, Sighting, Trust
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Repair

TEXT_LIMIT = 200
MAX_EPISODES = 16
#: Lines of one owner that are so close belong to one episode (NVSentinel: a burst of one job is
#: over after 3 minutes without the fault).
EPISODE_GAP_NS = 180 * NS
MAX_PLACES = 16
#: Stands for places that were too many to keep: it is never seen to end.
MORE_PLACES: Place = (("more", ""),)
#: The places of a record that is open on all of its device; written as ().
WHOLE: tuple[Place, ...] = ((),)
#: From a machine's first kernel lines to its Node object: slow firmware, drivers, joining.
REGISTRATION_NS = 900 * NS

#: (time of its newest line, owner, time of its oldest line); the owner is "" where no program is
#: named.
Episode = tuple[int, str, int]
#: Details that say where on its device a state is (``parsers.places.place_of``).
Place = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes of a probe in a row since the last occurrence. ``name`` ends with ``+load`` where
    only passes under load are counted."""

    name: str
    count: int  # at most as many as are asked for
    newest_ns: int  # end of the newest run that was counted; count 0: of a failure
    since_ns: int = 0  # when the row began; 0: there is none


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing for clearing, in one word, and since when."""

    what: str  # repair, probe:NAME, quiet, observation, operator
    since_ns: int


@dataclass(frozen=True, slots=True)
class Record:
    """An open fault on (node, device, fault_id)."""

    device: str
    fault_id: str
    severity: Severity
    remedy: Remedy
    first_ns: int
    last_ns: int
    count: int
    log_ns: int = 0  # log timestamp of the last counted line
    uptime_us: int | None = None  # highest kernel uptime counted in ``boot_id``
    boot_id: str = ""
    identity: str = ""  # of the last counted line
    acting: bool = True  # False: visible, never the reason of a taint
    why: str = ""  # the hold reason for which it does not act, or asks for nothing
    injected: bool = False
    trust: Trust = Trust.KERNEL
    source: str = ""
    text: str = ""
    rule: str = ""  # name of the policy's rule that decides about it
    # it was seen as often as the rule wants; stays so until cleared, or repaired with no taint set
    reached: bool = False
    effect: str = ""  # the taint effect that it was granted, if any
    episodes: tuple[Episode, ...] = ()  # newest MAX_EPISODES, oldest first
    places: tuple[Place, ...] = ()  # where on its device it is open; (): all of it
    repairs: tuple[tuple[Repair, int], ...] = ()  # seen since the last occurrence, and when
    passes: tuple[Passes, ...] = ()
    missing: tuple[Missing, ...] = ()  # what clearing still waits for
    attempts: int = 0  # repairs that did not hold
    flaps: int = 0  # how often it was cleared before, within the history
    root: str = ""  # "fault id|device" of the fault that it follows
    guessed: bool = False  # ``boot_id`` is the Node's: its last line, of a young boot, named none
    extra: tuple[tuple[str, str], ...] = ()  # fields of a later version, as JSON

    @property
    def key(self) -> tuple[str, str]:
        """(device, fault_id): unique within a ledger."""
        return (self.device, self.fault_id)

    @property
    def asks(self) -> bool:
        """It asks for an effect. One that no rule has been looked up for yet (an older version
        wrote it): if it is fatal."""
        asked = self.reached if self.rule else self.severity is Severity.FATAL
        return self.acting and asked


@dataclass(frozen=True, slots=True)
class Past:
    """A record that was cleared. It keeps what tells its lines when they are read again."""

    device: str
    fault_id: str
    last_ns: int
    cleared_ns: int
    log_ns: int = 0
    uptime_us: int | None = None
    boot_id: str = ""
    identity: str = ""
    repaired_ns: int = 0  # lines from before it are history; 0: no repair was seen
    times: int = 1  # how often it was cleared; 0: it only faded away
    attempts: int = 0
    count: int = 0
    shown: bool = False  # its evidence never acted: it speaks for no line that may

    @property
    def key(self) -> tuple[str, str]:
        """(device, fault_id): unique within a history."""
        return (self.device, self.fault_id)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A node's records and what we did about them."""

    uid: str = ""  # Node UID it was written for
    boot_id: str = ""  # the node's boot id when it was written
    written_ns: int = 0
    since_ns: int = 0  # last change of what is done about the node; names its Events
    owned: tuple[str, ...] = ()  # effects of our key that we put there
    tainted_ns: int = 0  # when we tainted; feeds the rate limit after a restart
    removed_ns: int = 0  # when we found that somebody had removed our taint
    records: tuple[Record, ...] = ()
    dropped: int = 0  # records left out for size
    rebooted_ns: int = 0  # the last reboot that we know of happened after this
    noticed_ns: int = 0  # and before this
    soft: bool = False  # our taint is what a held fatal node gets (``held_effect``)
    history: tuple[Past, ...] = ()  # newest first
    extra: tuple[tuple[str, str], ...] = ()  # fields of a later version, as JSON

    def record(self, key: tuple[str, str]) -> Record | None:
        """The record of (device, fault_id), if open."""
        device, fault_id = key  # a loop, as it is asked for each line that is heard
        for record in self.records:
            if record.fault_id == fault_id and record.device == device:
                return record
        return None

    def past(self, key: tuple[str, str]) -> Past | None:
        """What is remembered of (device, fault_id) from before it was cleared."""
        device, fault_id = key
        for past in self.history:
            if past.fault_id == fault_id and past.device == device:
                return past
        return None

    def with_record(self, record: Record) -> Ledger:
        """This ledger with the record added or replaced; order is worst first, then oldest."""
        if len(self.records) == 1 and self.records[0].key == record.key:
            return replace(self, records=(record,))
        others = [other for other in self.records if other.key != record.key]
        return replace(self, records=tuple(sorted([*others, record], key=worst_first)))

    def without(self, key: tuple[str, str]) -> Ledger:
        """This ledger with that record gone."""
        return replace(self, records=tuple(each for each in self.records if each.key != key))


def worst_first(record: Record) -> tuple[bool, int, int, str, str]:
    """Sort key of records: acting first, then the worst, then the oldest."""
    return (
        not record.acting,
        record.severity.rank,
        record.first_ns,
        record.device,
        record.fault_id,
    )


def altered(ledger: Ledger, **fields: Any) -> Ledger:
    """The ledger with these fields; itself where they are so already, as they mostly are."""
    for name, value in fields.items():
        if getattr(ledger, name) != value:
            return replace(ledger, **fields)
    return ledger


def open_record(sighting: Sighting, boot_id: str, acting: bool, why: str) -> Record:
    """A new record. ``boot_id`` is the node's, for lines that carry none."""
    fault = sighting.fault
    return Record(
        device=fault.device,
        fault_id=fault.fault_id,
        severity=fault.severity,
        remedy=fault.remedy,
        first_ns=sighting.first_ns,
        last_ns=sighting.last_ns,
        count=sighting.count,
        log_ns=fault.time_ns,
        uptime_us=fault.uptime_us,
        boot_id=fault.boot_id or boot_id,
        identity=fault.identity,
        acting=acting,
        why=why,
        injected=fault.injected,
        trust=fault.trust,
        source=fault.source,
        text=fault.text[:TEXT_LIMIT],
        episodes=sighting.episodes,
        places=() if sighting.places == WHOLE else sighting.places,
        guessed=_boot_is_guessed(fault),
        root=root if "|" in (root := fault.detail.get("root", "")[:TEXT_LIMIT]) else "",
    )


def _boot_is_guessed(fault: Fault) -> bool:
    """The Node may not report the boot of this line yet, and the line does not name it."""
    young = fault.uptime_us is not None and fault.uptime_us * 1000 < REGISTRATION_NS
    return young and not fault.boot_id


def merge(record: Record, newer: Record) -> Record:
    """A known record seen again. It keeps the worst severity and never stops acting by itself.

    What may not act adds nothing to a record that acts, neither severity nor time; and what
    acts replaces what was only visible. The text is that of the line that opened the record,
    or made it worse. An occurrence after a repair undoes it: the repair did not hold.
    """
    if record.acting is not newer.acting:
        if record.acting:
            return record
        return replace(newer, flaps=record.flaps, attempts=record.attempts)
    worst = min(record, newer, key=lambda each: each.severity.rank)
    newest = newer if newer.last_ns >= record.last_ns else record
    same_boot = record.boot_id == newer.boot_id
    uptimes = [each.uptime_us for each in (record, newer) if each.uptime_us is not None]
    last_ns = max(record.last_ns, newer.last_ns)
    repaired = any(time_ns < last_ns for _, time_ns in record.repairs)
    rebooted = newest is newer and bool(record.boot_id and newer.boot_id) and not same_boot
    undone = repaired or rebooted
    return replace(
        worst,
        first_ns=min(record.first_ns, newer.first_ns),
        last_ns=last_ns,
        log_ns=max(record.log_ns, newer.log_ns),
        count=record.count + newer.count,
        uptime_us=max(uptimes, default=None) if same_boot else newest.uptime_us,
        boot_id=newest.boot_id,
        identity=newest.identity,
        source=newest.source,
        injected=record.injected and newer.injected,
        rule=record.rule,
        reached=record.reached,
        effect=record.effect,
        episodes=joined(record.episodes, newer.episodes),
        places=_open_places(() if undone else record.places or WHOLE, newer.places or WHOLE),
        guessed=newest.guessed,
        repairs=() if undone else record.repairs,
        passes=record.passes if last_ns == record.last_ns else (),
        missing=record.missing,
        attempts=record.attempts + int(undone),
        flaps=record.flaps,
        root=newest.root,
        extra=record.extra,
    )


def worth_most(history: tuple[Past, ...], most: int) -> tuple[Past, ...]:
    """So many of a history, in its order: what only faded away goes first, then the oldest."""
    if len(history) <= most:
        return history
    by_worth = sorted(range(len(history)), key=lambda n: (not history[n].times, n))
    return tuple(history[n] for n in sorted(by_worth[:most]))


def joined(one: Iterable[Episode], other: Iterable[Episode]) -> tuple[Episode, ...]:
    """Episodes of both, oldest first; of one owner, those that are close to each other are one.
    Only the newest MAX_EPISODES are kept."""
    whole: list[Episode] = []
    last_of: dict[str, int] = {}  # owner -> place in ``whole``
    for newest_ns, owner, oldest_ns in sorted((*one, *other), key=_begun):
        place = last_of.get(owner)
        if place is not None and oldest_ns - whole[place][0] <= EPISODE_GAP_NS:
            whole[place] = (max(newest_ns, whole[place][0]), owner, whole[place][2])
            continue
        last_of[owner] = len(whole)
        whole.append((newest_ns, owner, oldest_ns))
    return tuple(sorted(whole)[-MAX_EPISODES:])


def _open_places(one: Iterable[Place], other: Iterable[Place]) -> tuple[Place, ...]:
    places = united(one, other)
    return () if places == WHOLE else places


def _begun(episode: Episode) -> int:
    return episode[2]


def united(one: Iterable[Place], other: Iterable[Place]) -> tuple[Place, ...]:
    """Places of both, sorted and bounded."""
    places = sorted({*one, *other})
    if len(places) <= MAX_PLACES:
        return tuple(places)
    return tuple(sorted({*places[: MAX_PLACES - 1], MORE_PLACES}))
