"""May a record be cleared, and if not, what is missing? (docs/concepts/safety.md 6)

A clear rule is a conjunction. All of it has to be seen after the last occurrence: the repair that
the fault's step of the ladder asks for, the probes in the current boot, and quiet while the node
was observed. Silence is no proof: a node that is not observed is never quiet.

Invariants:
- What is missing is told by words that do not change with the clock, so that waiting writes
  nothing; the time at which time alone would change the answer is given apart.
- A fault that comes back after it was cleared has to be quiet for twice as long each time, and a
  repair that did not hold raises the step of the ladder. After the last step a person decides.
- What was not measured proves nothing and accuses nobody: a run in which a check ended in an error
  or a time-out has not passed, and breaks no row of passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.core.record import REGISTRATION_NS, WHOLE, Missing, Passes, Record
from konduktor_health.frozen import replace
from konduktor_health.model import Policy, ProbeResult, ProbeStatus, Remedy, RepairSeen
from konduktor_health.timestamps import NS
from konduktor_health.treatment import (
    FOUND_BY,
    PROBE_FAULT,
    TIERS,
    Asked,
    ProbeNeed,
    Repair,
    Treatment,
    repairs_for,
)
from parsers.device import normalise

OPERATOR, REPAIR, QUIET, OBSERVATION = "operator", "repair", "quiet", "observation"
PROBE = "probe:"
_AGENTS = "agents"  # not known yet who has one; never written
#: Visible records of evidence that never acts fade away after so long, observed: 7 days.
SHOWN_DECAY_S = 7 * 86_400.0
LOAD = "+load"

#: Faults whose device is called as a GPU is, by its PCI address, and is none: of NVLink switches
#: and of network adapters.
_OF_NO_GPU = ("sxid/", "kernel/mlx5-")
_MEASURED = frozenset({ProbeStatus.PASS, ProbeStatus.WARN})
_STEPS = (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.POWER_CYCLE, Remedy.INSPECT)
_FIRST_STEP = {Remedy.DRAIN_RESET: Remedy.RESET_GPU, Remedy.DRAIN_INSPECT: Remedy.INSPECT}


@dataclass(frozen=True, slots=True)
class Watch:
    """How well a node was watched. Times are Unix ns."""

    boot_id: str  # the Node's
    noticed_ns: int = 0  # when its present boot was noticed; 0: not known
    observed_from_ns: int | None = None  # None: it is not observed now
    agent: bool | None = False  # a probe agent answers on it; None: not known yet


@dataclass(frozen=True, slots=True)
class Pending:
    """What is missing, and when time alone may change that (Unix ns; None: never)."""

    missing: tuple[str, ...]
    again_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of a probe, as far as it concerns a record. Unix ns."""

    ended_ns: int
    began_ns: int  # when its first check ended
    passed: bool


def step_of(record: Record, treatment: Treatment) -> Remedy:
    """The repair that is due now: each one that did not hold raises the step."""
    ladder = ladder_of(record, treatment)
    return ladder[min(record.attempts, len(ladder) - 1)]


def ladder_of(record: Record, treatment: Treatment) -> tuple[Remedy, ...]:
    """The repairs of the fault, in order: what the policy says, else from its remedy upwards."""
    return treatment.ladder or _ladder(record.remedy)


def _ladder(remedy: Remedy) -> tuple[Remedy, ...]:
    """From the fault's own remedy upwards; what needs no repair has no further step."""
    first = _FIRST_STEP.get(remedy, remedy)
    if first not in _STEPS:
        return (remedy,)
    return (remedy, *_STEPS[_STEPS.index(first) + 1 :])


def seen_repairs(record: Record, watch: Watch) -> Mapping[Repair, int]:
    """Repairs since the last occurrence, and when (Unix ns)."""
    seen = {repair: time_ns for repair, time_ns in record.repairs if time_ns >= record.last_ns}
    rebooted = record.boot_id and watch.boot_id and record.boot_id != watch.boot_id
    if rebooted and not _may_be_of_new_boot(record, watch):
        seen[Repair.BOOT] = max(watch.noticed_ns, record.last_ns)
    return seen


def _may_be_of_new_boot(record: Record, watch: Watch) -> bool:
    """Its last line named no boot, and its boot began so shortly before the Node reported another
    one that it may be that one: the log is faster than the kubelet."""
    if not record.guessed or record.uptime_us is None or not watch.noticed_ns:
        return False
    return record.log_ns - record.uptime_us * 1000 > watch.noticed_ns - REGISTRATION_NS


def is_mended(record: Record, treatment: Treatment, watch: Watch) -> bool:
    """The repair that is due was seen since the last occurrence."""
    due = repairs_for(Asked.REMEDY, step_of(record, treatment)) or frozenset()
    return not due.isdisjoint(seen_repairs(record, watch))


def still_missing(
    record: Record, treatment: Treatment, watch: Watch, policy: Policy, now_ns: int
) -> Pending:
    """What the clear rule still waits for; nothing: the record is proven to be over."""
    rule = treatment.clear
    asked = repairs_for(rule.repair, step_of(record, treatment))
    seen = seen_repairs(record, watch)
    ended = Repair.END in seen
    missing: list[str] = []
    if rule.operator or (asked is None and not ended):
        missing.append(OPERATOR)
    done = [time_ns for repair, time_ns in seen.items() if asked is None or repair in asked]
    if asked and not done:
        missing.append(REPAIR)
    if watch.agent is not False:
        needs = [need for need in needs_of(record, treatment) if not _passed(record, need)]
        missing += [PROBE + key_of(need) for need in needs]
        if needs and watch.agent is None:
            missing.append(_AGENTS)
    elif rule.probes and not rule.log_only:
        missing.append(OPERATOR)  # nobody can prove it: it waits for a person
    since_ns = max([record.last_ns, *done])
    again_ns = None
    if watch.observed_from_ns is None:
        missing.append(OBSERVATION)
    else:
        quiet_ns = int(quiet_s(record, treatment, policy) * NS)
        over_ns = max(since_ns, watch.observed_from_ns) + quiet_ns
        if now_ns < over_ns:
            missing.append(QUIET)
            again_ns = over_ns
    return Pending(tuple(dict.fromkeys(missing)), again_ns)


def fades_at(record: Record, treatment: Treatment, watch: Watch) -> int | None:
    """When a record that asks for nothing goes by itself (Unix ns); None: not while the node is
    not observed."""
    if watch.observed_from_ns is None:
        return None
    seconds = SHOWN_DECAY_S if treatment.decay_s is None else treatment.decay_s
    return max(record.last_ns, watch.observed_from_ns) + int(seconds * NS)


def quiet_s(record: Record, treatment: Treatment, policy: Policy) -> float:
    """How long the fault has to be away: twice as long each time that it came back."""
    longest = max(policy.hold_down_max_s, treatment.clear.quiet_s)
    return min(treatment.clear.quiet_s * 2.0 ** min(record.flaps, 32), longest)


def told(record: Record, found: Pending, now_ns: int) -> Record:
    """The record with what is missing; what was missing before keeps its time."""
    before = {each.what: each.since_ns for each in record.missing}
    names = found.missing
    if _AGENTS in names:
        names = _as_before(tuple(what for what in names if what != _AGENTS), before)
    if OBSERVATION in names and before:  # nothing is known anew: an outage must write no Node
        kept = tuple(what for what in (QUIET, OBSERVATION) if what in before)[:1]
        names = (*(what for what in names if what != OBSERVATION), *kept)
    missing = tuple(Missing(what, before.get(what, now_ns)) for what in names)
    return record if missing == record.missing else replace(record, missing=missing)


def _as_before(names: tuple[str, ...], before: Collection[str]) -> tuple[str, ...]:
    """What is missing while nobody knows who has an agent: of proofs what was told before, if
    anything was. A restart must write no Node only to write it again when the agents are known."""
    if not before:
        return names
    proofs = [what for what in before if what == OPERATOR or what.startswith(PROBE)]
    first = [what.startswith(PROBE) for what in names].index(True)
    rest = [what for what in names[first:] if not what.startswith(PROBE)]
    return tuple(dict.fromkeys((*names[:first], *proofs, *rest)))


def with_repairs(record: Record, repairs: Iterable[RepairSeen]) -> Record:
    """The record once these repairs were seen. Those from before its last occurrence are none."""
    for seen in repairs:
        if seen.event_ns < record.last_ns:
            continue
        if seen.kind is not Repair.END:
            if seen.device in ("", record.device) and record.device:
                record = _repaired(record, seen.kind, seen.event_ns)
        elif seen.device == record.device and record.fault_id in seen.ends:
            places = tuple(place for place in record.places or WHOLE if place != seen.place)
            if not places:
                record = _repaired(replace(record, places=()), seen.kind, seen.event_ns)
            elif record.places:
                record = replace(record, places=places)
    return record


def _repaired(record: Record, kind: Repair, time_ns: int) -> Record:
    repairs = dict(record.repairs)
    if time_ns <= repairs.get(kind, 0):
        return record
    repairs[kind] = time_ns
    # What was proven before the repair was proven of another state of the device.
    passes = tuple(each for each in record.passes if (each.since_ns or each.newest_ns) > time_ns)
    ordered = tuple(sorted(repairs.items(), key=lambda each: each[0].value))
    return replace(record, repairs=ordered, passes=passes)


def with_probes(
    record: Record, treatment: Treatment, results: Iterable[ProbeResult], watch: Watch
) -> Record:
    """The record once these results have been counted, each run once, however often it is read.
    Only passes prove, a failure starts the count again, and what a fake backend says is nothing."""
    usable = [each for each in results if _is_of_this_boot(each, watch) and not each.fake]
    if not usable and not record.passes:
        return record
    # a repair and a new boot start the count anew: what was proven before them proves nothing
    since_ns = max([watch.noticed_ns, *seen_repairs(record, watch).values()])
    passes = {each.name: each for each in record.passes if each.newest_ns > since_ns}
    for need in needs_of(record, treatment):
        row = passes.get(key_of(need), Passes(key_of(need), 0, 0))
        row = _counted(row, _runs(usable, need, record, watch), need.times)
        if row.newest_ns:
            passes[row.name] = row
    counted = tuple(sorted(passes.values(), key=lambda each: each.name))
    return record if counted == record.passes else replace(record, passes=counted)


def _counted(row: Passes, runs: list[_Run], enough: int) -> Passes:
    """The row of passes with these runs. More than are asked for are not counted, so that an agent
    that goes on measuring writes nothing."""
    failed_ns = max((run.ended_ns for run in runs if not run.passed), default=0)
    # also one within the row that is told late
    if failed_ns > row.newest_ns or (row.count and failed_ns >= row.since_ns):
        row = Passes(row.name, 0, failed_ns)
    for run in runs:
        # what overlaps with the newest that was counted may be a part of it, or it again
        if run.passed and run.began_ns > row.newest_ns and row.count < enough:
            since_ns = row.since_ns if row.count else run.began_ns
            row = Passes(row.name, row.count + 1, run.ended_ns, since_ns)
    return row


def needs_of(record: Record, treatment: Treatment) -> tuple[ProbeNeed, ...]:
    """The probes that the clear rule asks for, ``FOUND_BY`` as the check that found this fault. A
    fault that no check has found keeps that name: no probe has it, so that nothing can prove it."""
    if not record.fault_id.startswith(PROBE_FAULT):
        return treatment.clear.probes
    check = record.fault_id.removeprefix(PROBE_FAULT)
    return tuple(
        replace(need, name=check) if need.name == FOUND_BY else need
        for need in treatment.clear.probes
    )


def key_of(need: ProbeNeed) -> str:
    """The name that passes are kept by."""
    return need.name + (LOAD if need.under_load else "")


def _passed(record: Record, need: ProbeNeed) -> bool:
    return any(each.name == key_of(need) and each.count >= need.times for each in record.passes)


def _is_of_this_boot(result: ProbeResult, watch: Watch) -> bool:
    return not (result.boot_id and watch.boot_id) or result.boot_id == watch.boot_id


def _is_measured_whole(record: Record, checks: Iterable[ProbeResult], need: ProbeNeed) -> bool:
    """Whether a run has to find all of the node well: for a record of the node itself, and in a
    run of a tier for a device that is no GPU and that no check of it looks at (a DIMM, a disk, an
    NVLink switch, an adapter by its PCI address)."""
    if not record.device:
        return True
    looked_at = any(each.device == record.device for each in checks)
    return need.name in TIERS and not looked_at and not _may_be_a_gpu(record)


def _may_be_a_gpu(record: Record) -> bool:
    return _is_address(record.device) and not record.fault_id.startswith(_OF_NO_GPU)


def _is_address(device: str) -> bool:
    """As agents and kernel lines call a GPU: the others have other names, or are named alike."""
    return normalise(device) is not None


def _is_after(result: ProbeResult, record: Record, watch: Watch) -> bool:
    """After the last occurrence and all that was repaired since. A result that names the present
    boot is of this boot, also where it ended before we noticed the boot."""
    named = bool(watch.boot_id) and result.boot_id == watch.boot_id
    repairs = seen_repairs(record, watch).items()
    repaired = [time_ns for kind, time_ns in repairs if not (named and kind is Repair.BOOT)]
    return result.time_ns > max([record.last_ns, 0 if named else watch.noticed_ns, *repaired])


def _runs(
    results: Iterable[ProbeResult], need: ProbeNeed, record: Record, watch: Watch
) -> list[_Run]:
    """The runs of the probe that say something of this record, oldest first."""
    runs: dict[str, list[ProbeResult]] = {}
    for each in results:
        name = each.tier if need.name in TIERS else each.check
        if name == need.name and (each.under_load or not need.under_load):
            runs.setdefault(each.run_id or f"{each.check}@{each.time_ns}", []).append(each)
    found = [_run(checks, need, record, watch) for checks in runs.values()]
    known = [run for run in found if run is not None]
    return sorted(known, key=lambda run: (run.ended_ns, run.began_ns))


def _run(checks: list[ProbeResult], need: ProbeNeed, record: Record, watch: Watch) -> _Run | None:
    """What a run says of the record: it failed with one check that did, after the fault and all
    that was repaired since; it passed when all of it was after that, and it proves something.
    None: neither."""
    whole = _is_measured_whole(record, checks, need)
    here = [each for each in checks if whole or each.device in ("", record.device)]
    ran = [each for each in here if each.status is not ProbeStatus.SKIP]
    after = [each for each in ran if _is_after(each, record, watch)]
    failed = [each.time_ns for each in after if each.status is ProbeStatus.FAIL]
    if failed:
        return _Run(max(failed), min(failed), passed=False)
    if len(after) < len(ran) or not _proves(ran, checks, need, record.device, whole=whole):
        return None
    times = [each.time_ns for each in ran]
    return _Run(max(times), min(times), passed=True)


def _proves(
    ran: list[ProbeResult],
    checks: list[ProbeResult],
    need: ProbeNeed,
    device: str,
    *,
    whole: bool,
) -> bool:
    """Of a run without a failure: whether it passed. Something has to have passed, and nothing to
    have been left unmeasured by an error or a time-out, which may hide the failure. A warning is
    measured: of a tier it is no reason against the passes beside it, of the very check it is no
    pass. A run of a tier in which no GPU passed (no driver, all gone) proves nothing of anything,
    and a device's record needs a pass on that one: the passes of the others, and of the node's
    disk, say nothing of a GPU that is busy or gone. A check that looks at no device speaks for
    each."""
    a_tier = need.name in TIERS
    statuses = {each.status for each in ran}
    allowed = _MEASURED if a_tier else {ProbeStatus.PASS}
    if ProbeStatus.PASS not in statuses or not statuses <= allowed:
        return False
    passed = {each.device for each in ran if each.status is ProbeStatus.PASS}
    if whole:
        return not a_tier or any(map(_is_address, passed))
    return device in passed or not (a_tier or any(each.device for each in checks))
