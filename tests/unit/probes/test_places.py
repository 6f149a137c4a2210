"""The table of checks: complete, true, and loaded no further than is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from probes.check import CheckSpec
from probes.places import PLACES
from probes.registry import CHECKS
from probes.runner.catalog import Catalog
from probes.userchecks.definition import UserCheck
from tests.support.probe_checks import REFERENCE

ROOT = Path(__file__).parents[3]
OURS = UserCheck("ours", "Is it?", "/bin/true")


def test_each_check_has_the_name_of_its_place() -> None:
    assert [check.spec.name for check in CHECKS] == list(PLACES)
    assert all(isinstance(check.spec, CheckSpec) and callable(check.run) for check in CHECKS)


def test_each_module_of_the_checks_is_in_the_table() -> None:
    """None is forgotten: what lies in probes/checks is listed."""
    modules = {path.stem for path in (ROOT / "probes/checks").glob("*.py")} - {"__init__"}
    assert {place.partition(":")[0].rpartition(".")[2] for place in PLACES.values()} == modules


def test_the_catalog_tells_all_of_them_and_those_of_the_site() -> None:
    assert [spec.name for spec in Catalog().specs()] == list(PLACES)
    assert [spec.name for spec in Catalog(user_checks=(OURS,)).specs()] == [*PLACES, "ours"]


@pytest.mark.parametrize("names", [(), ("clock",), ("ours", "clock", "gpu-ecc"), ("no-such",)])
def test_named_checks_are_the_same_checks(names: tuple[str, ...]) -> None:
    catalog = Catalog(user_checks=(OURS,))
    wanted = [spec.name for spec in catalog.specs() if spec.name in names]
    assert [check.spec.name for check in catalog.named(names)] == wanted


def test_a_tuple_of_checks_is_a_registry_too() -> None:
    catalog = Catalog(REFERENCE)
    (first, *_) = catalog.specs()
    assert [check.spec.name for check in catalog.named([first.name])] == [first.name]


def test_a_process_loads_the_modules_of_its_checks_alone() -> None:
    program = (
        "import json, sys, probes.runner.child\n"
        "from probes.runner.catalog import Catalog\n"
        "Catalog().named(['clock'])\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    checks = [name for name in json.loads(loaded.stdout) if name.startswith("probes.checks.")]
    assert checks == ["probes.checks.clock"]
