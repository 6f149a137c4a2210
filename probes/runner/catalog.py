"""Which checks can be run: the shipped ones, and those of the site?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from probes.check import Cadence, Check, CheckSpec, Tier
from probes.runner.job import resolve
from probes.userchecks.definition import UserCheck

SHIPPED = "probes.places:PLACES"


def load(place: str) -> Check:
    """The check at "module:attribute", which is a check or its class. Raises ImportError,
    AttributeError."""
    found = resolve(place)
    check: Check = found() if isinstance(found, type) else found
    return check


@dataclass(frozen=True, slots=True)
class Catalog:
    """Names are unique: ``probes.userchecks.definition`` sees to it."""

    #: "module:attribute" of a tuple of checks, or of a table as ``probes.places`` has it.
    registry: str = SHIPPED
    user_checks: tuple[UserCheck, ...] = ()

    def checks(self) -> tuple[Check, ...]:
        """In the order in which a run goes through them; those of the site come last."""
        return (*self._shipped(None), *self._of_the_site(self.user_checks))

    def named(self, names: Collection[str]) -> tuple[Check, ...]:
        """Those of these names alone, without loading others of a table."""
        its = [each for each in self.user_checks if each.name in names]
        shipped = (check for check in self._shipped(names) if check.spec.name in names)
        return (*shipped, *self._of_the_site(its))

    def specs(self) -> tuple[CheckSpec, ...]:
        """What is known of them before they run."""
        return tuple(check.spec for check in self.checks())

    def _shipped(self, names: Collection[str] | None) -> Iterator[Check]:
        listed: Mapping[str, str] | Iterable[Check] = resolve(self.registry)
        if not isinstance(listed, Mapping):
            yield from listed
            return
        for name, place in listed.items():
            if names is None or name in names:
                yield load(place)

    def _of_the_site(self, checks: Collection[UserCheck]) -> tuple[Check, ...]:
        if not checks:
            return ()
        from probes.userchecks.check import UserProgram  # most sites have none

        return tuple(UserProgram(each) for each in checks)

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
