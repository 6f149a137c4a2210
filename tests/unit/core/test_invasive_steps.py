"""Whatever is on a Node and whatever Job is there: steps keep the rules, and come to rest."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.core.invasive_note import Note, Purpose, Stage
from konduktor_health.core.invasive_step import (
    Judge,
    Look,
    Make,
    Pace,
    Remove,
    Step,
    Subject,
    Write,
    after_judging,
    after_look,
    next_step,
)
from konduktor_health.jobs import InvasiveJob, JobState
from konduktor_health.timestamps import NS
from tests.support.builders import NOW

PACE = Pace()
NOTES = st.none() | st.builds(
    Note,
    st.sampled_from(Stage),
    st.integers(-30_000, 30_000).map(lambda s: NOW + s * NS),
    probes=st.just(("invasive",)),
    purpose=st.sampled_from(Purpose),
    run_id=st.sampled_from(["job-1", "job-2", ""]),
    tries=st.integers(0, 20),
    until_ns=st.just(0) | st.integers(-9000, 9000).map(lambda s: NOW + s * NS),
)
SUBJECTS = st.builds(
    Subject,
    st.just("gpu-1"),
    st.just("uid-1"),
    note=NOTES,
    wanted=st.sampled_from([(), ("invasive",)]),
    asks=st.booleans(),
    alone=st.sampled_from(["", "held"]),
    passed=st.booleans(),
    scheduled=st.booleans(),
).map(lambda each: replace(each, asks=each.asks or bool(each.wanted)))  # what is wanted, asks
JOBS = st.none() | st.builds(
    InvasiveJob,
    st.just("konduktor-invasive-x"),
    st.just("job-uid"),
    st.just("gpu-1"),
    st.sampled_from(["uid-1", "uid-0"]),
    st.sampled_from(["job-1", "job-2"]),
    st.sampled_from(JobState),
    ending=st.booleans(),
)


@given(SUBJECTS, JOBS, st.booleans())
def test_a_job_is_made_only_for_the_run_that_the_node_names_and_where_none_is(
    subject: Subject, job: InvasiveJob | None, was_there: bool
) -> None:
    step = next_step(subject, job, PACE, NOW, was_there=was_there)
    if isinstance(step, Make):
        assert job is None
        assert not was_there
        assert step.note == subject.note
        assert step.note.stage is Stage.TESTING
        assert not subject.alone


@given(SUBJECTS, JOBS, st.booleans())
def test_a_job_of_the_run_that_the_node_names_is_deleted_only_where_nothing_asks(
    subject: Subject, job: InvasiveJob | None, was_there: bool
) -> None:
    step = next_step(subject, job, PACE, NOW, was_there=was_there)
    note = subject.note
    if not isinstance(step, Remove) or note is None or note.stage is not Stage.TESTING:
        return
    assert job is not None
    own = job.run_id == note.run_id and job.node_uid == subject.uid
    assert not own or (note.purpose is Purpose.PROOF and not subject.asks)


@given(SUBJECTS, JOBS, st.booleans())
def test_no_test_begins_where_none_may_or_none_is_asked_for(
    subject: Subject, job: InvasiveJob | None, was_there: bool
) -> None:
    step = next_step(subject, job, PACE, NOW, was_there=was_there)
    if isinstance(step, Look):
        assert not subject.alone
        assert subject.wanted or subject.scheduled
        assert job is None
        then = after_look(subject, step, "", PACE, NOW)
        assert isinstance(then, Write)
        assert then.note is not None
        assert then.note.stage is Stage.TESTING


@settings(max_examples=300)
@given(SUBJECTS, JOBS, st.booleans(), st.sampled_from(["", "GPUs busy (pods a/b)"]))
def test_steps_come_to_rest_while_nothing_else_changes(
    subject: Subject, job: InvasiveJob | None, was_there: bool, held: str
) -> None:
    """Jobs neither begin nor end here; what is being deleted is gone at the next look."""
    steps = 0
    while (step := next_step(subject, job, PACE, NOW, was_there=was_there)) is not None:
        done, subject, job = carried_out(step, subject, job, held)
        if not done:
            return
        steps += 1
        assert steps < 8, step
        was_there = False


def carried_out(
    step: Step, subject: Subject, job: InvasiveJob | None, held: str
) -> tuple[bool, Subject, InvasiveJob | None]:
    match step:
        case Look():
            then = after_look(subject, step, held, PACE, NOW)
        case Judge():
            then = after_judging(step, held, PACE, NOW)
        case Remove():
            return True, subject, None
        case Make(note):
            made = InvasiveJob("x", "new", subject.node, subject.uid, note.run_id)
            return True, subject, made
        case _:
            then = step
    if not isinstance(then, Write):
        return False, subject, job
    return True, replace(subject, note=then.note), job


@given(SUBJECTS, JOBS)
def test_what_came_of_a_test_is_never_tried_again_at_once(
    subject: Subject, job: InvasiveJob | None
) -> None:
    step = next_step(subject, job, PACE, NOW, was_there=True)
    if isinstance(step, Write) and step.note is not None:
        assert step.note.until_ns > NOW
        assert step.note.tries > 0
