"""What is told, and how it fits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.agent.board import Board, Identity, worst
from probes.agent.fitting import MOST_RUN_BYTES, fitted
from probes.agent.listing import Listing
from probes.report import MOST_BODY_BYTES, Report
from tests.support.agent import BOOT, GPU, NODE, SPECS, START_NS, found, gbps, run_of


def board() -> Board:
    return Board(Identity(NODE, BOOT, "1.2.3", 5))


def report(of: Board) -> Report:
    return Report.model_validate_json(of.told.body)


def ids(of: Board) -> list[str]:
    return [run.run_id for run in report(of).runs]


def test_a_report_without_runs_says_who_it_is_of() -> None:
    told = report(board())
    assert (told.node, told.boot_id, told.agent, told.runs) == (NODE, BOOT, "1.2.3", ())


def test_runs_are_told_oldest_first_with_all_that_was_found() -> None:
    here = board()
    bad = found("pcie-bandwidth", "fail", device=GPU, measurements=(gbps("h2d", 11.5),), busy=False)
    here.put(run_of(found("driver", "pass"), run_id="b", cadence="boot"))
    here.put(run_of(bad, run_id="h", cadence="hourly"))
    assert ids(here) == ["b", "h"]
    assert report(here).runs[1].results == (bad,)


def test_the_newest_runs_of_each_cadence_stay_however_many_come() -> None:
    here = board()
    here.put(run_of(run_id="b", cadence="boot"))
    here.put(run_of(run_id="i", cadence="invasive"))
    for number in range(100):
        here.put(run_of(run_id=f"l{number}"))
    assert ids(here) == ["b", "i", "l97", "l98", "l99"]


def test_a_failure_between_two_looks_is_told_though_the_check_passes_again() -> None:
    here = board()
    bad = found("gpu-health", "fail", device=GPU, message="too hot", detail={"uuid": "x"})
    for number in range(20):
        good = found("gpu-health", "pass", message="45 °C", measurements=(gbps("h2d", 50.0),))
        here.put(run_of(good, bad if number == 10 else good, run_id=f"l{number}"))
    assert ids(here) == ["l10", "l17", "l18", "l19"]
    first, _, before, newest = report(here).runs
    assert first.results == (found("gpu-health", "pass"), bad)  # what passed: by its outcome alone
    assert before.results == (found("gpu-health", "pass"),) * 2
    assert newest.results[0].measurements == (gbps("h2d", 50.0),)
    for number in range(20, 23):
        here.put(run_of(found("gpu-health", "pass"), run_id=f"l{number}"))
    assert ids(here) == ["l20", "l21", "l22"]


def test_of_runs_that_were_asked_for_more_are_told_and_the_newest_six_in_full() -> None:
    here = board()
    result = found("iperf3", "pass", measurements=(gbps("rate", 12.0),))
    for number in range(16):
        here.put(run_of(result, run_id=f"r{number}", cadence="requested"))
    measured = [len(run.results[0].measurements) for run in report(here).runs]
    assert measured == [0] * 10 + [1] * 6


def test_a_report_of_a_healthy_node_is_small() -> None:
    """10,000 of them are read in a round."""
    here = board()
    for number in range(12):
        many = [
            found(f"check-{n}", "pass", device=f"0000:{g:02x}:00", message="all is well" * 3,
                  backend="nvml", measurements=(gbps("a", 1.5), gbps("b", 2.5)))
            for n in range(15) for g in range(8)
        ]  # fmt: skip
        here.put(run_of(*many, run_id=f"l{number}"))
    assert len(here.told.body) < 90_000


def test_runs_of_another_boot_are_not_told() -> None:
    here = board()
    here.put(run_of(found("driver", "pass"), run_id="old", boot_id="f" * 32))
    assert ids(here) == []
    assert here.told.checks == {}


def test_the_etag_changes_when_a_run_ends_or_settings_change_and_with_nothing_else() -> None:
    here = board()
    etags = [here.told.etag]
    here.put(run_of(run_id="l1"))
    etags.append(here.told.etag)
    here.settings("0123456789abcdef")
    etags.append(here.told.etag)
    here.settings("0123456789abcdef")
    assert here.told.etag == etags[-1]
    assert len(set(etags)) == 3


def test_backend_and_fake_are_those_of_the_newest_run_that_has_one() -> None:
    here = board()
    here.put(run_of(found("driver", "pass", backend="fake", fake=True), run_id="1"))
    here.put(run_of(found("driver", "error", backend="none"), run_id="2"))
    assert (report(here).backend, report(here).fake) == ("fake", True)


def test_stuck_checks_are_told_until_a_run_finds_none() -> None:
    here = board()
    here.put(run_of(run_id="1"), ["nvidia-smi"])
    here.put(run_of(run_id="2"))  # of a Job: it knows nothing of them
    assert report(here).stuck == ("nvidia-smi",)
    here.put(run_of(run_id="3"), [])
    assert report(here).stuck == ()


def test_unmeasured_runs_in_a_row_are_counted_and_end_with_a_measured_one() -> None:
    here = board()
    counts = []
    for number, outcome in enumerate(["pass", "timeout", "error", "timeout", "fail"]):
        here.put(run_of(found("driver", outcome), run_id=f"r{number}"))  # type: ignore[arg-type]
        counts.append(here.told.checks["driver"].unmeasured)
    assert counts == [0, 1, 2, 3, 0]


def test_a_gpu_is_busy_as_the_newest_look_at_it_says() -> None:
    here = board()
    here.put(run_of(found("a", "pass", 10, device=GPU, busy=True), run_id="1"))
    here.put(run_of(found("b", "pass", 20, device="0000:5e:00", busy=False), run_id="2"))
    assert here.told.busy(20) == (GPU,)
    here.put(run_of(found("b", "pass", 30, device=GPU, busy=False), run_id="3"))
    assert here.told.busy(30) == ()


def test_what_was_seen_long_ago_is_not_known_to_be_busy() -> None:
    here = board()
    here.put(run_of(found("a", "pass", START_NS, device=GPU, busy=True)))
    assert here.told.busy(START_NS + 599 * 10**9) == (GPU,)
    assert here.told.busy(START_NS + 601 * 10**9) == ()


def test_the_worst_of_a_check_is_listed() -> None:
    here = board()
    here.put(
        run_of(
            found("gpu-health", "pass", device=GPU), found("gpu-health", "error", device="0000:5e")
        )
    )
    listed = {info.name: info for info in Listing(SPECS, {"light": 60.0}, here)()}
    assert listed["gpu-health"].last == "error"
    assert listed["driver"].last is None
    assert (listed["gpu-health"].interval_s, listed["driver"].interval_s) == (60.0, 0.0)


@given(st.lists(st.sampled_from(["pass", "fail", "warn", "skip", "timeout", "error"]), min_size=1))
def test_a_check_passes_only_when_all_of_it_passes(outcomes: list[str]) -> None:
    assert (worst(outcomes) == "pass") == (set(outcomes) == {"pass"})  # type: ignore[arg-type]


# ---------------------------------------------------------------- size


def test_a_run_that_fits_is_told_as_it_is() -> None:
    run = run_of(*(found("a", "pass", message="x" * 300) for _ in range(200)))
    assert fitted(run) is run


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2048),
    st.sampled_from(["", "x" * 512, "é" * 512]),
    st.integers(0, 16),
    st.integers(0, 4),
)
def test_a_run_fits_whatever_its_checks_say_and_what_is_left_out_is_an_error(
    count: int, message: str, details: int, fails: int
) -> None:
    detail = {f"k{n}": message for n in range(details)}
    results = [found("a", "pass", message=message, detail=detail) for _ in range(count)]
    results += [found("b", "fail", message=message) for _ in range(fails)]
    told = fitted(run_of(*results[-2048:]))
    assert len(told.model_dump_json(exclude_defaults=True).encode()) <= MOST_RUN_BYTES
    assert sum(each.outcome == "fail" for each in told.results) == fails
    if len(told.results) < min(2048, len(results)):
        assert told.results[-1].outcome == "error"
        assert "left out" in told.results[-1].message


def test_the_largest_report_fits_and_has_the_newest_run_of_each_cadence() -> None:
    here = board()
    for number in range(3):
        for cadence in ("boot", "light", "hourly", "invasive", "requested"):
            results = [found("a", "pass", message="y" * 512) for _ in range(1500)]
            here.put(run_of(*results, run_id=f"{cadence}-{number}", cadence=cadence))
    assert len(here.told.body) <= MOST_BODY_BYTES
    told = ids(here)
    assert {f"{c}-2" for c in ("boot", "light", "hourly", "invasive", "requested")} <= set(told)
