"""``frozen.replace`` is ``dataclasses.replace``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from konduktor_health import frozen
from konduktor_health.core.record import Ledger
from konduktor_health.model import NodeView, Remedy, Severity
from tests.support.builders import node
from tests.support.ledgers import record


@dataclass(frozen=True, slots=True)
class Odd:
    """Of a field that is no argument."""

    one: int = 1
    two: int = field(init=False, default=2)


def test_it_copies_what_the_standard_library_copies() -> None:
    view: NodeView = node("a", labels=(("a", "b"),))
    worse = record(severity=Severity.DEGRADED, remedy=Remedy.NONE)

    assert frozen.replace(view, ledger="x") == dataclasses.replace(view, ledger="x")
    assert frozen.replace(worse, count=7, why="w") == dataclasses.replace(worse, count=7, why="w")
    assert frozen.replace(Ledger(), owned=("a",)) == dataclasses.replace(Ledger(), owned=("a",))
    assert frozen.replace(view) == view


def test_a_field_that_is_none_is_an_error() -> None:
    with pytest.raises(TypeError, match="Ledger has no field 'colour'"):
        frozen.replace(Ledger(), colour="red")  # type: ignore[call-arg]  # mypy sees it too


def test_what_it_cannot_copy_it_does_not_copy_wrongly() -> None:
    with pytest.raises(TypeError, match=r"use dataclasses\.replace"):
        frozen.replace(Odd(), one=3)
