"""Which checks can be run: the shipped ones, and those of the site?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from probes.check import Cadence, Check, CheckSpec, Tier
from probes.runner.job import resolve
from probes.userchecks.definition import UserCheck

SHIPPED = "probes.registry:CHECKS"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Names are unique: ``probes.userchecks.definition`` sees to it."""

    registry: str = SHIPPED  # "module:attribute"
    user_checks: tuple[UserCheck, ...] = ()

    def checks(self) -> tuple[Check, ...]:
        """In the order in which a run goes through them; those of the site come last."""
        shipped: tuple[Check, ...] = tuple(resolve(self.registry))
        if not self.user_checks:
            return shipped
        from probes.userchecks.check import UserProgram  # most sites have none

        return (*shipped, *(UserProgram(each) for each in self.user_checks))

    def specs(self) -> tuple[CheckSpec, ...]:
        """What is known of them before they run."""
        return tuple(check.spec for check in self.checks())

    def chosen(self, names: Collection[str] = (), tier: Tier | None = None) -> tuple[str, ...]:
        """The named checks and those of a tier, in order. Raises KeyError: no such check.

        What is only run when asked for (``Cadence.NEVER``) has to be named: it needs a partner, or
        takes hours, and is no part of its tier.
        """
        specs = self.specs()
        if unknown := set(names) - {spec.name for spec in specs}:
            raise KeyError(min(unknown))
        return tuple(
            spec.name
            for spec in specs
            if spec.name in names or (spec.tier is tier and spec.cadence is not Cadence.NEVER)
        )
