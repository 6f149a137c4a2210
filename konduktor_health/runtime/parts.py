"""What does a loop need of those that carry out and tell? Protocols, so that a past can be played.

Live they are ``apply.Applier`` and ``report.Report``; where history is played they are
``replay.past_nodes.PastNodes`` and ``replay.timeline.Timeline``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from konduktor_health.model import Plan, Policy, Surge
from konduktor_health.ports import SourceStatus

if TYPE_CHECKING:
    from konduktor_health.runtime.apply import Outcome
    from konduktor_health.runtime.fleet import Fleet
    from konduktor_health.runtime.observe import Observer


class CarriesOut(Protocol):
    """Carries out Plans."""

    def apply(self, plan: Plan) -> Outcome:
        """Carry out a Plan; what became of it."""
        ...


class FollowsPolicy(Protocol):
    """Goes by the policy beside the decision."""

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on."""
        ...


class Tells(Protocol):
    """Is told what the loop did."""

    def source(self, status: SourceStatus) -> None:
        """A source was polled."""
        ...

    def plan(self, plan: Plan, outcome: Outcome, *, dry_run: bool) -> None:
        """A Plan was carried out, or only shown."""
        ...

    def surges(self, surges: Iterable[Surge]) -> None:
        """The mass events that there are now."""
        ...

    def cycle(self, seconds: float, observer: Observer, fleet: Fleet) -> None:
        """A cycle has ended."""
        ...

    def cycle_failed(self) -> None:
        """A cycle ended in an error."""
        ...
