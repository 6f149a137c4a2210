"""Which checks are there? All of them, loaded; ``probes.places`` lists them."""

from __future__ import annotations

from probes.check import Check
from probes.places import PLACES
from probes.runner.catalog import load

#: In the order of ``PLACES``.
CHECKS: tuple[Check, ...] = tuple(load(place) for place in PLACES.values())
