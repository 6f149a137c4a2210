"""The data: every row can be true, has a source, and none of the known slips is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.thresholds.facts import Facts
from probes.thresholds.hardware import HardwareError, Limit, Model, parse, shipped
from probes.thresholds.lookup import SOURCE_LIMIT, peak, published

HARDWARE = shipped()
TEXT = (Path(__file__).parents[4] / "probes/thresholds/hardware.json").read_text()
#: Our own plausibility: a limit of less than this share of the peak asks for nothing.
LEAST_SHARE = 0.3
UNITS = {
    "pcie-bandwidth": "GB/s", "hbm-bandwidth": "GB/s", "p2p-bandwidth": "GB/s",
    "nvlink-bandwidth": "GB/s", "nccl-node": "GB/s",
}  # fmt: skip


def name(limit: Limit) -> str:
    return f"{limit.check}/{limit.measurement} {dict(limit.when)}"


def facts_for(limit: Limit) -> Facts:
    """Hardware that the limit is for."""
    wanted = {key: values[0] for key, values in limit.when.items()}
    models = {model.model: model for model in HARDWARE.models}
    model = models[str(wanted["model"])] if "model" in wanted else None
    fabric = wanted.get("fabric") or ("nvswitch" if model and model.nvlinks else "pcie")
    return Facts(
        model,
        int(wanted.get("pcie_generation") or (model.pcie_generation if model else 0)),
        int(wanted.get("pcie_width") or 16),
        str(fabric),
        int(wanted.get("gpus") or 8),
    )


@pytest.mark.parametrize("limit", HARDWARE.limits, ids=name)
def test_a_limit_is_below_the_peak_and_not_absurdly_low(limit: Limit) -> None:
    most = peak(facts_for(limit), HARDWARE, limit.check, limit.measurement)

    assert most is not None, "a limit without a peak cannot be checked"
    assert LEAST_SHARE * most <= limit.at_least < most / 1.05


@pytest.mark.parametrize("limit", HARDWARE.limits, ids=name)
def test_a_limit_has_a_source_that_fits_into_a_report_and_the_right_unit(limit: Limit) -> None:
    assert len(limit.source) > 8
    assert limit.unit == UNITS.get(limit.check, limit.unit)
    found = published(facts_for(limit), HARDWARE, limit.check, limit.measurement, limit.unit)
    assert found is not None
    assert found.value == limit.at_least
    assert limit.source[:20] in found.source
    assert len(found.source) < SOURCE_LIMIT, "the source would be cut"
    assert ("derived" in found.source) is limit.derived


@pytest.mark.parametrize("limit", HARDWARE.limits, ids=name)
def test_no_two_limits_that_hold_at_once_ask_for_the_same(limit: Limit) -> None:
    conditions = facts_for(limit).conditions()
    same = [
        other for other in HARDWARE.limits
        if (other.check, other.measurement) == (limit.check, limit.measurement)
        and other.holds(conditions) and len(other.when) == len(limit.when)
    ]  # fmt: skip
    assert same == [limit]


@pytest.mark.parametrize("limit", HARDWARE.limits, ids=name)
def test_a_limit_is_for_hardware_that_is_in_the_tables(limit: Limit) -> None:
    known = {model.model for model in HARDWARE.models}

    assert set(limit.when.get("model", ())) <= known
    assert set(limit.when.get("fabric", ())) <= {"pcie", "nvlink", "nvswitch", "mnnvl"}


@pytest.mark.parametrize("model", HARDWARE.models, ids=lambda model: model.model)
def test_a_model_can_be_true(model: Model) -> None:
    assert 3 <= model.pcie_generation <= 6
    assert model.pcie_width in (8, 16)
    assert model.pcie_generation in HARDWARE.pcie
    assert 100 <= model.memory_gb_s <= 10_000
    assert 8 <= model.memory_gb <= 300
    assert 0.1 <= model.fp64_tflops <= 80
    assert 50 <= model.power_w <= 1500
    assert model.nvlinks <= 18
    assert (model.nvlinks == 0) == (model.nvlink_gb_s == 0)
    assert model.source
    assert all(each.startswith("10de:") and len(each) == 9 for each in model.pci_ids)


def test_models_names_and_ids_are_there_once() -> None:
    for values in (
        [model.model for model in HARDWARE.models],
        [each for model in HARDWARE.models for each in model.pci_ids],
        [each for model in HARDWARE.models for each in model.names],
    ):
        assert len(values) == len(set(values))


def test_slips_of_the_dcgm_file_are_not_in_it() -> None:
    slips = {2.333, 2333.0, 49.05, 49050.0, 137.5, 127.5, 2602.5}

    assert not slips & {limit.at_least for limit in HARDWARE.limits}
    assert all(1 not in limit.when.get("pcie_width", ()) for limit in HARDWARE.limits)


def test_a_bridge_of_nvl_cards_is_not_asked_for_what_a_board_has() -> None:
    by_model = {
        limit.when["model"][0]: limit.at_least
        for limit in HARDWARE.limits
        if limit.check == "p2p-bandwidth"
    }
    assert by_model["H100-SXM"] == 335
    assert by_model["H100-NVL"] < 257, "257 is what a good bridge measures"


def test_the_same_numbers_in_other_units_are_those_of_the_sources() -> None:
    hbm = {
        limit.when["model"][0]: limit.at_least
        for limit in HARDWARE.limits
        if limit.check == "hbm-bandwidth"
    }
    assert (hbm["T4"], hbm["H100-SXM"], hbm["B200"]) == (183.0, 1905.0, 4072.5)


# ---------------------------------------------------------------- the reader


def changed(path: tuple[Any, ...], value: object) -> str:
    whole = json.loads(TEXT)
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("models", 0, "form"), "round"),
        (("models", 0, "source"), ""),
        (("models", 0, "memory_gb_s"), 0),
        (("models", 0, "nvlinks"), 1.5),
        (("models", 0, "pci_ids"), 7),
        (("limits", 3, "at_least"), 0),
        (("limits", 3, "at_least"), -48),
        (("limits", 3, "at_least"), "48"),
        (("limits", 3, "at_least"), float("nan")),
        (("limits", 3, "at_least"), True),
        (("limits", 3, "source"), " "),
        (("limits", 3, "unit"), None),
        (("limits", 3, "when"), {}),
        (("limits", 3, "when"), {"colour": "green"}),
        (("pcie", 0, "gb_s"), 0),
        (("limits",), {}),
    ],
)
def test_a_wrong_row_is_named(path: tuple[Any, ...], value: object) -> None:
    if path == ("limits",):
        assert parse(changed(path, value)).limits == ()
        return
    with pytest.raises(HardwareError):
        parse(changed(path, value))


@given(st.text(max_size=50) | st.sampled_from([TEXT[:cut] for cut in range(0, len(TEXT), 997)]))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(HardwareError):
        parse(text)
