"""Which checks are there?"""

from __future__ import annotations

from probes.check import Check

#: In the order in which a run of a tier goes through them: what is cheap and tells most first.
CHECKS: tuple[Check, ...] = ()
