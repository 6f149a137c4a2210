"""What is told of one open record, and of one that was cleared? Rows of a name and a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from konduktor_health.cli.check_told import fault_rows
from konduktor_health.cli.node_course import Course, Proof
from konduktor_health.cli.node_story import Story
from konduktor_health.cli.times import ago, span
from konduktor_health.core.operators_record import is_operators
from konduktor_health.core.reasons import MEANINGS, named
from konduktor_health.core.record import MAX_EPISODES, Past, Record
from konduktor_health.core.states import MEANING
from konduktor_health.core.wording import describe
from konduktor_health.known_checks import check_of
from konduktor_health.treatment import PROBE_FAULT
from parsers.catalog import Entry

Row = tuple[str, str]


def record_rows(story: Story, course: Course, entry: Entry | None, now_ns: int) -> Iterator[Row]:
    """One open record: what it means, where it is on its way, its evidence, and what to do."""
    record = course.record
    yield "meaning", _meaning(record, entry)
    yield "severity", record.severity.value
    yield "remedy", record.remedy.value
    yield "state", f"{course.state.value}: {MEANING[course.state]}"
    if record.rule:
        yield "rule", record.rule + ("" if course.known else ", not in the policy read here")
    yield "acting", _acting(record)
    if record.asks:
        yield "effect", f"{record.effect}, granted" if record.effect else "none was granted"
    if record.root:
        fault_id, _, device = record.root.partition("|")
        yield "follows", describe(fault_id, device)
    yield from _clearing(course, now_ns)
    yield "first seen", ago(record.first_ns, now_ns)
    yield "last seen", ago(record.last_ns, now_ns)
    yield "count", str(record.count) + _episodes(record)
    yield "trust", record.trust.value + (f", source {record.source}" if record.source else "")
    if record.injected:
        yield "injected", "a program wrote the line into the kernel log"
    if record.boot_id:
        this = record.boot_id == story.boot_id
        yield "boot", "the present one" if this else f"{record.boot_id}, not the present one"
    if record.text:
        yield "evidence", record.text
    check = check_of(record.fault_id)
    if check is not None:
        yield from fault_rows(check, record.remedy)
    if entry and entry.action:
        yield "do", entry.action
    if entry and entry.investigation:
        yield "look at", entry.investigation
    if entry and entry.note:
        yield "note", entry.note


def _clearing(course: Course, now_ns: int) -> Iterator[Row]:
    """What is missing, what was seen, and which repair is next."""
    record = course.record
    for wait in course.waits:
        waited = f", waited for since {ago(wait.since_ns, now_ns)}" if wait.since_ns else ""
        yield "missing", wait.text + waited
    if record.asks and not course.waits:
        yield "missing", "not told: not decided yet, or no room for it in the annotation"
    for repair, time_ns in course.repairs:
        yield "repair", f"{repair.value}, seen {ago(time_ns, now_ns)}"
    for proof in course.proofs:
        if proof.passed or proof.newest_ns:
            yield "probe", _proof(proof, now_ns)
    if course.step is not None:
        tried = f"; {_failed(record.attempts)}" if record.attempts else ""
        after = f"; if it does not hold: {course.next_step.value}" if course.next_step else ""
        yield "step", f"{course.step.value}{after}{tried}"
    if course.fades_s is not None:
        yield "fades", f"after {span(course.fades_s)} without it while the node is observed"
    if record.flaps:
        yield (
            "came back",
            f"{record.flaps} times after it was cleared: it has to be quiet for longer",
        )


def _proof(proof: Proof, now_ns: int) -> str:
    of = "" if proof.needed is None else f" of {proof.needed}"
    newest = f", newest run {ago(proof.newest_ns, now_ns)}" if proof.newest_ns else ""
    return f"{proof.probe}: passed {proof.passed}{of} times in a row{newest}"


def _episodes(record: Record) -> str:
    many = len(record.episodes)
    at_least = "at least " if many >= MAX_EPISODES else ""
    return f", in {at_least}{many} episode{'' if many == 1 else 's'}" if many else ""


def _failed(attempts: int) -> str:
    return f"{attempts} repair{'' if attempts == 1 else 's'} did not hold"


def past_rows(past: Past, now_ns: int) -> Iterator[Row]:
    """A record that was cleared."""
    told = f"{describe(past.fault_id, past.device)}: "
    told += "cleared" if past.times else "faded away"
    told += f" {ago(past.cleared_ns, now_ns)}"
    if past.times > 1:
        told += f", {past.times} times in all"
    if past.repaired_ns:
        told += f"; repaired {ago(past.repaired_ns, now_ns)}"
    if past.attempts:
        told += f"; {_failed(past.attempts)}"
    yield "", f"{told}; last seen {ago(past.last_ns, now_ns)}, {past.count} lines"


def reason_in_words(name: str) -> str:
    """A hold reason, its meaning, and what ends it; one that we do not know as it is."""
    known = named(name)
    if known is None:
        return name
    meaning = MEANINGS[known]
    return f"{name}: {meaning.text}; ends: {meaning.ends}"


def _acting(record: Record) -> str:
    why = reason_in_words(record.why)
    if not record.acting:
        return f"no: {why or 'no reason is told'}"
    return f"not yet: {why}" if why else "yes"


def _meaning(record: Record, entry: Entry | None) -> str:
    if is_operators(record):
        return "an operator's own word (konduktor-health taint), not a fault that was seen"
    if record.fault_id.startswith(PROBE_FAULT):
        check = check_of(record.fault_id)
        return check.question if check else "a check of this site: konduktor-health probe list"
    return entry.meaning if entry else "the catalog does not know it"
