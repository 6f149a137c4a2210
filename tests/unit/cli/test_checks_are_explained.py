"""What is told of checks, of the faults that they find, and of what an agent has measured."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from konduktor_health.cli.agent_measured import (
    MOST,
    MeasuredByAgent,
    checks_of,
    measured_json,
    measured_rows,
)
from konduktor_health.cli.check_told import ACTIONS, check_rows
from konduktor_health.cli.node_explained import render_story, story_as_json
from konduktor_health.cli.node_story import tell
from konduktor_health.core.pair_tests import Kind
from konduktor_health.known_checks import check_of, names
from konduktor_health.model import Policy, Remedy, Severity
from konduktor_health.treatment import ALLOCATABLE, PROBE_FAULT, UNRESPONSIVE
from parsers import catalog
from probes.registry import CHECKS
from probes.report import Limit, Measured, Result
from tests.support.agents import result, slow_link
from tests.support.builders import KEYS, NOW
from tests.support.ledgers import record, sick

MINUTE = 60 * 10**9


def shown(fault_id: str, **fields: Any) -> str:
    stream = io.StringIO()
    view = sick(record(fault_id, remedy=Remedy.INSPECT, **fields))
    render_story(
        tell(view, KEYS, NOW, Policy()), catalog.entry, NOW, Console(file=stream, width=100)
    )
    return " ".join(stream.getvalue().split())


def test_all_checks_that_ship_and_those_of_the_controller_are_known() -> None:
    shipped = {check.spec.name: check.spec for check in CHECKS}
    for name, spec in shipped.items():
        known = check_of(PROBE_FAULT + name)
        assert known is not None
        assert (known.question, known.tier) == (spec.title, spec.tier.value)
        assert known.text
    own = {kind.check for kind in Kind} | {
        each.removeprefix(PROBE_FAULT) for each in (ALLOCATABLE, UNRESPONSIVE)
    }
    assert own | shipped.keys() == set(names())
    assert set(ACTIONS) == set(Remedy)


@pytest.mark.parametrize("name", names())
def test_each_has_something_to_say(name: str) -> None:
    check = check_of(PROBE_FAULT + name)
    assert check is not None
    told = dict(check_rows(check))
    assert told["asks"].endswith("?")
    assert len(told["fails"]) > 40
    assert told["limits"]


def test_a_node_tells_what_the_check_is_and_what_to_do() -> None:
    text = shown("probe/pcie-bandwidth", severity=Severity.DEGRADED, text="h2d 12 GB/s is low")
    assert "meaning Is the PCIe bandwidth of each GPU as its link allows" in text
    assert "fails Pinned memory on the GPU's own NUMA node" in text
    assert "limits by hardware, from AzNHC" in text
    assert "do look at the device, its cables and its slot" in text
    assert "look at konduktor-health explain probe/pcie-bandwidth" in text
    assert "the catalog does not know it" not in text


def test_a_check_of_a_site_says_so() -> None:
    assert "meaning a check of this site: konduktor-health probe list" in shown("probe/site-fan")


def test_json_has_what_is_known_of_the_check() -> None:
    view = sick(record("probe/gpu-memory", remedy=Remedy.REBOOT), record("probe/site-fan"))
    records = story_as_json(tell(view, KEYS, NOW, Policy()), catalog.entry)["records"]
    known = {each["fault_id"]: each["known"] for each in records}
    assert known["probe/gpu-memory"]["action"] == "reboot the node"
    assert known["probe/gpu-memory"]["meaning"].startswith("Does the memory of each GPU keep")
    assert known["probe/site-fan"] is None


def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "konduktor_health", "explain", *arguments],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def test_a_check_is_explained_by_its_fault_id() -> None:
    done = explain("probe/dcgm-3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("probe/dcgm-3\nasks")
    told = json.loads(explain("probe/dcgm-3", "-o", "json").stdout)
    assert (told["fault_id"], told["tier"]) == ("probe/dcgm-3", "invasive")
    wrong = explain("probe/dcgm3")
    assert wrong.returncode == 2
    assert "did you mean probe/dcgm-3?" in wrong.stderr


# ---------------------------------------------------------------- what an agent has measured


def rows(*results: Result, open_checks: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    return list(measured_rows(MeasuredByAgent(results), open_checks, NOW))


def test_what_is_no_pass_comes_with_value_limit_unit_source_and_age() -> None:
    [failed, rest] = rows(
        result("gpu-ecc"),
        result("pcie-bandwidth", "fail", message="slow", measurements=(slow_link(12.0),)),
    )
    assert failed[0] == "fail"
    assert failed[1].startswith("pcie-bandwidth on 0000:3b:00, ")
    assert failed[1].endswith(": slow [h2d 12 GB/s, wanted at least 20 (H100 SXM, PCIe 5 x16)]")
    assert rest[0] == "pass"
    assert rest[1].startswith("1 more results, the newest ")


def test_passes_of_a_check_with_an_open_fault_are_told() -> None:
    told = rows(
        result("pcie-bandwidth", measurements=(slow_link(55.0),)),
        open_checks=checks_of(["probe/pcie-bandwidth", "xid/79"]),
    )
    assert [name for name, _ in told] == ["pass"]
    assert "h2d 55 GB/s, wanted at least 20" in told[0][1]


def test_a_fake_backend_proves_nothing() -> None:
    [(_, text)] = rows(result("gpu-ecc", fake=True))
    assert text.startswith("fake backend, which proves nothing: gpu-ecc")


def test_so_many_are_told_and_no_more() -> None:
    found = tuple(result(f"check-{number}", "error") for number in range(100))
    told = rows(*found)
    assert len(told) == MOST + 1
    assert told[-1][1] == "and 60 more: konduktor-health probe results --node"
    assert rows() == [("", "nothing in this boot yet")]
    why = MeasuredByAgent(why="no agent runs there")
    assert list(measured_rows(why, (), NOW)) == [("", "not known: no agent runs there")]
    assert measured_json(why) == {"unknown_because": "no agent runs there", "results": []}


@given(st.text(max_size=64), st.text(max_size=400))
def test_text_of_an_agent_is_bounded_and_printable(word: str, message: str) -> None:
    limit = Limit(value=1, bound="equal", source=word)
    measured = Measured(name="n", value=2, unit=word, threshold=limit)
    told = rows(
        *(result("any", "fail", message=message, measurements=(measured,) * 64) for _ in range(3))
    )
    for name, text in told:
        assert (name + text).isprintable()
        assert len(text) < 3000
