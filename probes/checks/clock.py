"""Is the node's clock right?

Results, log lines and repairs are ordered by it. chronyd is asked where it runs and can be reached,
as it knows the offset; the kernel knows whether anybody disciplines its clock, and how wrong it may
be. An offset fails when it lasts for five minutes: after a start, or when a virtual machine goes
on after a pause, chronyd needs a while to set it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from probes import options
from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Context,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
)
from probes.counters import LASTS_KEY, boot_clock, lasts
from probes.errors import Skipped, ToolMissing, ToolTimeout
from probes.tools.chrony import Tracking, parse_tracking
from probes.tools.kernel_clock import KernelClock, kernel_clock

#: Off by so much fails; the order of events across nodes is wrong then.
OFFSET_S = 1.0
#: May be off by so much: warned of. TLS, leases and tokens take it; traces do not.
WARN_S = 0.5
#: Off for so long fails.
LASTS_S = 300.0


class Clock:
    """Offset, and whether anybody disciplines the clock."""

    def __init__(
        self,
        ask_kernel: Callable[[], KernelClock] = kernel_clock,
        since_boot_s: Callable[[], float] = boot_clock,
    ) -> None:
        self._ask_kernel, self._since_boot_s = ask_kernel, since_boot_s
        self._spec = CheckSpec(
            "clock", "Is the node's clock right?", Tier.LIGHT, Cadence.LIGHT, deadline_s=15.0
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding. Options: ``offset`` (seconds; more fails)."""
        if context.backend.fake:
            raise Skipped("a fake backend: this machine is not the node")
        limit = options.limit(
            context, "clock", "offset", OFFSET_S, Bound.AT_MOST, "OFFSET_S of this check"
        )
        context.keep[LASTS_KEY] = {}
        tracking = _chrony(context)
        if tracking is not None:
            yield self._of_chrony(context, tracking, limit)
        else:
            yield _of_kernel(self._ask_kernel())

    def _of_chrony(self, context: Context, tracking: Tracking, limit: Threshold) -> Finding:
        offset = abs(tracking.offset_s)
        measured = (
            Measurement("offset", offset, "s", limit),
            Measurement("most_error", tracking.most_error_s, "s", _warn_limit()),
        )
        detail = {"by": "chronyd", "source": tracking.source}
        words = f"{offset:.6f} s off, at most {tracking.most_error_s:.6f} s wrong (chronyd)"
        if offset > limit.value:
            off_s = lasts(context, "off", self._since_boot_s())
            outcome = Outcome.FAIL if off_s >= LASTS_S else Outcome.WARN
            message = f"the clock is {words}, for {off_s:.0f} s"
            return Finding(outcome, message, "", measured, detail=detail)
        if not tracking.synchronised:
            message = "chronyd is not synchronised with any source"
            return Finding(Outcome.WARN, message, "", measured, detail=detail)
        outcome = Outcome.WARN if tracking.most_error_s > WARN_S else Outcome.PASS
        return Finding(outcome, f"the clock is {words}", "", measured, detail=detail)


def _chrony(context: Context) -> Tracking | None:
    try:
        return parse_tracking(context.tool(("chronyc", "-n", "tracking"), deadline_s=5.0))
    except (ToolMissing, ToolTimeout, Skipped):
        return None


def _of_kernel(clock: KernelClock) -> Finding:
    """The kernel does not know an offset, so that nothing here accuses the node."""
    measured = (Measurement("most_error", clock.most_error_s, "s", _warn_limit()),)
    detail = {"by": "kernel"}
    if not clock.synchronised:
        message = "nobody tells the kernel that its clock is synchronised (adjtimex)"
        return Finding(Outcome.WARN, message, "", measured, detail=detail)
    outcome = Outcome.WARN if clock.most_error_s > WARN_S else Outcome.PASS
    message = f"the clock is synchronised, at most {clock.most_error_s:.3f} s wrong (kernel)"
    return Finding(outcome, message, "", measured, detail=detail)


def _warn_limit() -> Threshold:
    return Threshold(WARN_S, Bound.AT_MOST, "WARN_S of this check")
