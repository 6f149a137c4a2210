"""Ill nodes are asked often, silent ones less and less, and no agent twice at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.probes.schedule import Schedule


def schedule(jitter: float = 0.5) -> Schedule:
    return Schedule(close_s=30, wide_s=300, jitter=lambda: jitter)


def after(failures: int = 0, *, closely: bool = False, jitter: float = 0.5) -> float:
    """How long until the next question."""
    found = schedule(jitter)
    found.add("a", 0.0, closely=True)
    assert found.take(0.0) == ["a"]
    found.asked("a", 0.0, closely=closely, failures=failures)
    return found.next_s()


def test_healthy_nodes_are_asked_every_five_minutes_and_ill_ones_every_half() -> None:
    assert (after(), after(closely=True)) == (300, 30)


def test_a_silent_agent_is_asked_less_and_less() -> None:
    assert [after(n) for n in (1, 2, 3, 4, 5, 50)] == [30, 60, 120, 240, 300, 300]
    assert [after(n, closely=True) for n in (1, 2, 50)] == [30, 60, 300]


def test_questions_are_spread() -> None:
    assert (after(jitter=0.0), after(jitter=1.0)) == (270, 330)
    found = schedule()
    found.add("healthy", 0.0, closely=False)
    found.add("ill", 0.0, closely=True)
    assert found.take(0.0) == ["ill"]
    assert found.take(15.0) == ["healthy"]


def test_an_agent_that_is_being_asked_is_asked_again_when_that_is_over() -> None:
    found = schedule()
    found.add("a", 0.0, closely=True)
    found.take(0.0)
    found.hasten("a", 1.0)
    assert found.take(9.0) == []
    found.asked("a", 10.0, closely=False, failures=0)
    assert found.take(10.0) == ["a"]


def test_one_that_is_dropped_while_it_is_asked_is_not_asked_again() -> None:
    found = schedule()
    found.add("a", 0.0, closely=True)
    found.take(0.0)
    found.drop("a")
    found.asked("a", 1.0, closely=True, failures=0)
    assert (len(found), found.take(1e9)) == (0, [])


NAMES = st.sampled_from("abc")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), NAMES),
            st.tuples(st.just("hasten"), NAMES),
            st.tuples(st.just("drop"), NAMES),
            st.tuples(st.just("asked"), NAMES),
            st.tuples(st.just("take"), st.just("")),
        ),
        max_size=60,
    )
)
def test_nobody_is_asked_twice_at_a_time_and_nobody_is_forgotten(
    steps: list[tuple[str, str]],
) -> None:
    found, asking, wanted = schedule(), set[str](), set[str]()
    for now, (step, name) in enumerate(steps):
        if step == "add":
            found.add(name, now, closely=True)
            wanted.add(name)
        elif step == "hasten" and name in wanted:
            found.hasten(name, now)
        elif step == "drop":
            found.drop(name)
            wanted.discard(name)
            asking.discard(name)
        elif step == "asked" and name in asking:
            found.asked(name, now, closely=True, failures=0)
            asking.discard(name)
        elif step == "take":
            taken = found.take(float(now))
            assert not asking & set(taken)
            assert set(taken) <= wanted
            asking |= set(taken)
    assert set(found.take(1e9)) == wanted - asking
