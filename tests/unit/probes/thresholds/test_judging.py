"""Overrides, published limits, baselines, and what is no measurement at all."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.check import Bound, Context, NodeFacts, Outcome, Threshold
from probes.errors import CheckError
from probes.thresholds import baseline
from probes.thresholds.facts import facts_of
from probes.thresholds.hardware import shipped
from probes.thresholds.judge import Judgement, judge, outcome_of
from probes.thresholds.lookup import limit_for
from tests.support.gpus import BOOT, Node, no_tool

H2D = ("pcie-bandwidth", "h2d", "GB/s")


def context(
    backend: FakeBackend,
    before: Mapping[str, object] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Context:
    return Context(
        backend, no_tool(), before=before or {}, boot_id=BOOT,
        node=NodeFacts(thresholds=thresholds or {}),
    )  # fmt: skip


def every(backend: FakeBackend, value: float) -> dict[Gpu, float]:
    return dict.fromkeys(backend.gpus(), value)


def only(judgements: Mapping[Gpu, Judgement]) -> set[Outcome]:
    return {each.outcome for each in judgements.values()}


# ---------------------------------------------------------------- facts


@pytest.mark.parametrize(
    ("model", "count", "fabric"),
    [
        ("H100", 8, "nvswitch"), ("A100", 8, "nvswitch"), ("H100", 1, "pcie"), ("L4", 4, "pcie"),
        ("H100-NVL", 2, "nvlink"), ("V100", 8, "nvlink"), ("GB200", 4, "mnnvl"),
        ("B200", 8, "nvswitch"),
    ],
)  # fmt: skip
def test_the_fabric_class_is_read_from_the_links(model: str, count: int, fabric: str) -> None:
    backend = FakeBackend(model, count)

    assert facts_of(backend, backend.gpus()[0], shipped()).fabric == fabric


def test_a_link_that_came_up_narrow_is_judged_by_what_it_should_be() -> None:
    node = Node("H100", 2)
    try:
        node.inject(0, pcie_width=8, pcie_generation=3)
        limit = limit_for(context(node.backend), node.backend.gpus()[0], *H2D)
    finally:
        node.close()
    assert limit is not None
    assert limit.value == 48


# ---------------------------------------------------------------- published limits


@pytest.mark.parametrize(
    ("model", "wanted"), [("H100", 48), ("A100", 21), ("V100", 9), ("L4", 21), ("T4", 9)]
)
def test_copies_are_judged_by_generation_and_width(model: str, wanted: float) -> None:
    backend = FakeBackend(model, 1)
    limit = limit_for(context(backend), backend.gpus()[0], *H2D)

    assert limit is not None
    assert (limit.value, limit.bound) == (wanted, Bound.AT_LEAST)
    assert f"PCIe {backend.model.pcie_generation} x16" in limit.source


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (47.9, Outcome.FAIL), (48, Outcome.WARN), (50.3, Outcome.WARN), (50.5, Outcome.PASS),
        (62, Outcome.PASS), (80, Outcome.ERROR), (0, Outcome.ERROR), (-3, Outcome.ERROR),
        (float("nan"), Outcome.ERROR), (float("inf"), Outcome.ERROR),
    ],
)  # fmt: skip
def test_a_value_fails_warns_passes_or_was_never_measured(value: float, outcome: Outcome) -> None:
    backend = FakeBackend("H100", 2)

    judged = judge(context(backend), *H2D, every(backend, value))

    assert only(judged) == {outcome}
    for each in judged.values():
        assert each.message
        json.dumps(each.measurement.value, allow_nan=False)


def test_one_implausible_value_is_an_error_of_its_gpu_only() -> None:
    backend = FakeBackend("H100", 2)
    one, two = backend.gpus()

    judged = judge(context(backend), *H2D, {one: 5000.0, two: 55.0})

    assert (judged[one].outcome, judged[two].outcome) == (Outcome.ERROR, Outcome.PASS)


def test_a_limit_in_another_unit_is_a_slip_of_the_check() -> None:
    backend = FakeBackend("H100", 1)

    with pytest.raises(CheckError, match="GB/s"):
        limit_for(context(backend), backend.gpus()[0], "pcie-bandwidth", "h2d", "MB/s")


# ---------------------------------------------------------------- overrides


def test_an_override_is_what_counts_and_names_itself() -> None:
    backend = FakeBackend("H100", 1)
    mine = context(backend, thresholds={"pcie-bandwidth/h2d": 20.0})
    limit = limit_for(mine, backend.gpus()[0], *H2D)

    assert limit == Threshold(20.0, Bound.AT_LEAST, "override pcie-bandwidth/h2d")
    d2h = limit_for(mine, backend.gpus()[0], "pcie-bandwidth", "d2h", "GB/s")
    assert d2h is not None
    assert d2h.value == 48


def test_an_override_of_0_means_told_and_not_judged() -> None:
    backend = FakeBackend("H100", 1)

    judged = judge(
        context(backend, thresholds={"pcie-bandwidth/h2d": 0.0}), *H2D, every(backend, 1)
    )

    assert only(judged) == {Outcome.SKIP}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 48_000.0])
def test_an_override_that_cannot_be_meant_is_an_error_with_its_value(value: float) -> None:
    backend = FakeBackend("H100", 1)

    with pytest.raises(CheckError, match="pcie-bandwidth/h2d"):
        limit_for(
            context(backend, thresholds={"pcie-bandwidth/h2d": value}), backend.gpus()[0], *H2D
        )


# ---------------------------------------------------------------- baselines

DAXPY = ("gpu-arithmetic", "daxpy", "GB/s")


class Runs:
    """Runs of a check on unknown hardware, each with what the one before kept."""

    def __init__(self, count: int) -> None:
        self.backend = FakeBackend("Acme X1", count, state=FakeState())
        self.before: dict[str, object] = {}

    def __call__(self, *values: float) -> list[Judgement]:
        now = context(self.backend, self.before)
        judged = judge(now, *DAXPY, dict(zip(self.backend.gpus(), values, strict=True)))
        self.before = json.loads(json.dumps(now.keep))
        return list(judged.values())


def test_an_unknown_gpu_learns_for_five_runs_and_is_judged_by_80_percent_then() -> None:
    runs = Runs(1)
    for value in (990, 1010, 1000, 1020, 980):
        (learning,) = runs(value)
        assert learning.outcome is Outcome.SKIP
        assert "learning" in learning.message

    (good,) = runs(900)
    (near,) = runs(810)
    (bad,) = runs(799)

    assert [each.outcome for each in (good, near, bad)] == [
        Outcome.PASS, Outcome.WARN, Outcome.FAIL
    ]  # fmt: skip
    assert bad.measurement.threshold is not None
    assert bad.measurement.threshold.value == pytest.approx(800)
    assert "baseline" in bad.measurement.threshold.source


def test_a_baseline_does_not_follow_a_gpu_that_gets_slower() -> None:
    runs = Runs(1)
    found = [runs(1000 - 20 * step)[0].outcome for step in range(30)]

    assert Outcome.FAIL in found
    assert found[-1] is Outcome.FAIL


def test_a_gpu_that_was_always_slow_is_found_by_its_siblings_and_teaches_nothing() -> None:
    runs = Runs(4)
    for _ in range(6):
        judged = runs(1000, 1000, 400, 1000)
        assert [each.outcome for each in judged] == [
            Outcome.PASS, Outcome.PASS, Outcome.FAIL, Outcome.PASS
        ]  # fmt: skip

    slow = runs.backend.gpus()[2]
    assert baseline.runs_left(context(runs.backend, runs.before), slow, "daxpy") == 5


def test_a_whole_node_that_gets_slow_is_found_by_its_own_past() -> None:
    runs = Runs(4)
    for _ in range(5):
        runs(1000, 1000, 1000, 1000)

    assert {each.outcome for each in runs(700, 700, 700, 700)} == {Outcome.FAIL}


def test_two_gpus_cannot_say_which_of_them_is_slow() -> None:
    assert [each.outcome for each in Runs(2)(1000, 400)] == [Outcome.SKIP, Outcome.SKIP]


def test_an_exchanged_gpu_learns_anew() -> None:
    runs = Runs(1)
    for _ in range(5):
        runs(1000)
    runs.backend = FakeBackend("Acme X1", 1, seed=99)

    assert runs(300)[0].outcome is Outcome.SKIP


def test_two_measurements_of_a_check_are_learned_beside_each_other() -> None:
    backend = FakeBackend("Acme X1", 1)
    before: Mapping[str, object] = {}
    for _ in range(5):
        now = context(backend, before)
        judge(now, *DAXPY, every(backend, 1000))
        judge(now, "gpu-arithmetic", "dgemm", "TFLOPS", every(backend, 20))
        before = json.loads(json.dumps(now.keep))
    now = context(backend, before)
    gpu = backend.gpus()[0]

    limits = [baseline.limit_of(now, gpu, each) for each in ("daxpy", "dgemm")]

    assert [limit and limit.value for limit in limits] == [800, 16]


_NUMBERS = st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=3)


@given(
    kept=st.dictionaries(
        st.just("baseline"),
        st.none()
        | st.integers()
        | st.dictionaries(st.text(max_size=60), _NUMBERS | st.lists(_NUMBERS)),
    ),
    value=st.floats(),
)
def test_whatever_was_kept_the_judgement_is_sane(kept: dict[str, object], value: float) -> None:
    backend = FakeBackend("Acme X1", 1)
    gpu = backend.gpus()[0]
    table = kept.get("baseline")
    if isinstance(table, dict):
        table[f"{gpu.uuid} daxpy"] = [*table.values()]
    now = context(backend, kept)

    (judged,) = judge(now, *DAXPY, {gpu: value}).values()

    if not value > 0 or value == float("inf"):
        assert judged.outcome is Outcome.ERROR
    if judged.outcome in (Outcome.PASS, Outcome.WARN):
        assert judged.measurement.threshold is not None
        assert judged.measurement.value >= judged.measurement.threshold.value > 0
    json.dumps(now.keep, allow_nan=False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0.1, 1e9))
def test_no_value_passes_beyond_its_threshold(value: float, limit: float) -> None:
    for bound in Bound:
        outcome = outcome_of(value, Threshold(limit, bound, "test"))
        beyond = {
            Bound.AT_LEAST: value < limit,
            Bound.AT_MOST: value > limit,
            Bound.EQUAL: value != limit,
        }[bound]
        assert (outcome is Outcome.FAIL) == beyond
