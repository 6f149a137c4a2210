"""What is the next step of a node's invasive test? Node, note and Job in, one step out; pure.

Level-triggered: the note on the Node and the Job that is there decide, so that whoever takes over
after a crash does the same. One write per step, the intent first:

    nothing -> look who holds the GPUs -> note TESTING -> make the Job -> it ends -> note TESTED
                      | somebody            | it does not begin, is gone, or fails
                      v                     v
                 note WAITING           note WAITING or FAILED -> again later, less often each time

Invariants:
- A Job is made only while the note names its run; a Job that no note names, and that has not ended,
  is deleted. So there is one test of a node at a time, also across two controllers.
- Whatever a Job comes to, it is no fault: what it measured comes with the agent's report.
- A test has an end: a Job that does not begin within ``pending_s``, or is still there ``overdue_s``
  after its own deadline, is given up.
- A test that has begun to run is not ended for a hold, an operator's or ours: it ends by itself. It
  is ended where nothing asks for it any more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from konduktor_health.core.invasive_note import Note, Purpose, Stage
from konduktor_health.jobs import InvasiveJob, JobState
from konduktor_health.timestamps import NS
from konduktor_health.treatment import INVASIVE


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take, and how often they are tried. Seconds."""

    pending_s: float = 300.0  # from the intent until the Job's pod runs
    deadline_s: float = 18_000.0  # of the Job from then on; Kubernetes ends it
    overdue_s: float = 600.0  # after that, whatever Kubernetes says
    settle_s: float = 120.0  # from delivery until the agent's report should tell
    retry_s: float = 60.0  # first pause; doubled each time in a row
    retry_most_s: float = 3600.0
    busy_most_s: float = 600.0  # the longest pause where only GPUs are held


@dataclass(frozen=True, slots=True)
class Subject:
    """A node as far as its test goes. Times are Unix ns."""

    node: str
    uid: str
    note: Note | None = None
    wanted: tuple[str, ...] = ()  # probes that clearing waits for, and nothing else (but quiet)
    asks: bool = False  # something on the node still asks for an effect
    alone: str = ""  # why no test may begin now; "" when one may
    passed: bool = False  # an invasive run that ended since the note counts as a pass
    scheduled: bool = False  # a test is due by the site's schedule
    requested: bool = False  # somebody, or a rule that verifies, has asked for one
    verifies: tuple[str, ...] = ()  # probes that such a rule names; (): all of the tier
    untidy: bool = False  # something of a note is on the Node that is none
    since_ns: int = 0  # when the first of ``wanted`` was missing


@dataclass(frozen=True, slots=True)
class Look:
    """See who holds the GPUs; ``after_look`` is the step then."""

    purpose: Purpose
    tries: int


#: What came of a test, or of a look at the node. Labels of a metric.
BEGUN, DELIVERED, WAITING, FAILED, OVER = "begun", "delivered", "waiting", "failed", "over"
OUTCOMES = (BEGUN, DELIVERED, WAITING, FAILED, OVER)
ERROR = "error"  # a step could not be taken


@dataclass(frozen=True, slots=True)
class Write:
    """Put this note on the Node; None: take it away. ``failed``: the Job that could not run, so
    that its pod can be asked why."""

    note: Note | None
    outcome: str = OVER
    failed: InvasiveJob | None = None


@dataclass(frozen=True, slots=True)
class Make:
    """Make the Job of the note."""

    note: Note


@dataclass(frozen=True, slots=True)
class Judge:
    """The Job's pod does not seem to run, and should: see why; ``after_judging`` is the step
    then."""

    note: Note
    job: InvasiveJob


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the Job, and its pod with it."""

    job: InvasiveJob


Step = Look | Write | Make | Judge | Remove


def next_step(
    subject: Subject, job: InvasiveJob | None, pace: Pace, now_ns: int, *, was_there: bool
) -> Step | None:
    """The step, or None: nothing is to be done now. ``was_there``: this process has seen a Job of
    the note's run, so that one that is not there is gone."""
    note = subject.note
    if job is not None and job.ending:
        return None  # its name is taken until it is gone
    if job is not None and job.node_uid != subject.uid:
        return Remove(job)  # of a Node that had the name before
    if subject.untidy:
        return Write(None)
    if note is not None and note.stage is Stage.TESTING:
        return _while_testing(subject, note, job, pace, now_ns, was_there=was_there)
    if job is not None and not job.ended:
        return Remove(job)
    if not subject.wanted:
        if note is not None:
            return Write(None)
        due = (subject.scheduled or subject.requested) and not subject.alone
        purpose = Purpose.REQUEST if subject.requested else Purpose.SCHEDULE
        return (Remove(job) if job else Look(purpose, 0)) if due else None
    if subject.alone or (note is not None and _is_too_early(note, pace, now_ns)):
        return None
    if job is not None:
        return Remove(job)  # an old one, kept for its log: the name is needed
    tries = 0 if note is None or subject.passed else note.tries
    return Look(Purpose.PROOF, tries)


def after_look(subject: Subject, look: Look, held: str, pace: Pace, now_ns: int) -> Step | None:
    """What was seen: ``held`` says why a Job could not begin now, "" that it can. Of a test that
    clearing does not ask for nothing is written: it is tried again."""
    proof = look.purpose is Purpose.PROOF
    probes = subject.wanted if proof else subject.verifies or (INVASIVE,)
    if not held:
        run_id = _run_id(subject.uid, now_ns)
        note = Note(Stage.TESTING, now_ns, probes, look.purpose, run_id, look.tries)
        return Write(note, BEGUN)
    if not proof:
        return None
    before = subject.note
    note = Note(Stage.WAITING, now_ns, probes, tries=look.tries, why=held)
    if before is not None and before.stage is Stage.WAITING:
        note = replace(note, since_ns=before.since_ns)
    return Write(_paused(note, pace, now_ns), WAITING)


def after_judging(judge: Judge, why: str, pace: Pace, now_ns: int) -> Step | None:
    """``why``: the Job's pod does not run, and why; "": it runs or has ended, and the Job will say
    so."""
    if not why:
        return None
    return _given_up(replace(judge.note, stage=Stage.WAITING), why, pace, now_ns)


def leftover(job: InvasiveJob) -> Remove | None:
    """A Job of a node that is not there, or not ours to look after. One that has ended is kept for
    its log; Kubernetes takes it away."""
    return None if job.ended or job.ending else Remove(job)


def _while_testing(
    subject: Subject,
    note: Note,
    job: InvasiveJob | None,
    pace: Pace,
    now_ns: int,
    *,
    was_there: bool,
) -> Step | None:
    if job is not None and job.run_id != note.run_id:
        return Remove(job)
    if note.purpose is Purpose.PROOF and not subject.asks:
        return Remove(job) if job is not None and not job.ended else Write(None)
    late_s = (now_ns - note.since_ns) / NS
    begins = late_s < pace.pending_s
    if job is None:
        if was_there or not begins:
            return _given_up(replace(note, stage=Stage.FAILED), "its Job is gone", pace, now_ns)
        return Write(None) if subject.alone else Make(note)
    if job.state is JobState.DONE:
        return _delivered(note, pace, now_ns)
    if job.state is JobState.FAILED:
        why = job.message or "its Job failed"
        step = _given_up(replace(note, stage=Stage.FAILED), why, pace, now_ns)
        return replace(step, failed=job)
    if late_s > pace.pending_s + pace.deadline_s + pace.overdue_s:
        why = "its Job did not end after its deadline"
        return _given_up(replace(note, stage=Stage.FAILED), why, pace, now_ns)
    if job.state is JobState.PENDING and subject.alone:
        return Write(None)
    if job.state is JobState.PENDING and not begins:
        return Judge(note, job)
    return None


def _delivered(note: Note, pace: Pace, now_ns: int) -> Step:
    if note.purpose is not Purpose.PROOF:
        return Write(None, DELIVERED)
    until_ns = now_ns + int(_pause_s(note.tries, pace) * NS)
    tested = replace(note, stage=Stage.TESTED, tries=note.tries + 1, until_ns=until_ns)
    return Write(tested, DELIVERED)


def _given_up(note: Note, why: str, pace: Pace, now_ns: int) -> Write:
    """Nothing came of it. A test that clearing did not ask for is left until it is due again."""
    outcome = WAITING if note.stage is Stage.WAITING else FAILED
    if note.purpose is not Purpose.PROOF:
        return Write(None, outcome)
    told = replace(note, since_ns=now_ns, run_id="", why=why)
    return Write(_paused(told, pace, now_ns), outcome)


def _paused(note: Note, pace: Pace, now_ns: int) -> Note:
    most_s = pace.busy_most_s if note.stage is Stage.WAITING else pace.retry_most_s
    pause_s = min(pace.retry_s * 2.0 ** min(note.tries, 16), most_s)
    return replace(note, tries=note.tries + 1, until_ns=now_ns + int(pause_s * NS))


def _pause_s(tries: int, pace: Pace) -> float:
    """After a run that was delivered: long enough for the report to tell what came of it."""
    return max(pace.settle_s, min(pace.retry_s * 2.0 ** min(tries, 16), pace.retry_most_s))


def _is_too_early(note: Note, pace: Pace, now_ns: int) -> bool:
    """A time that is further away than any pause is of another clock."""
    longest_ns = int(max(pace.retry_most_s, pace.busy_most_s, pace.settle_s) * NS)
    return now_ns < note.until_ns <= now_ns + longest_ns


def _run_id(uid: str, now_ns: int) -> str:
    return "job-" + hashlib.sha256(f"{uid}\0{now_ns}".encode()).hexdigest()[:16]
