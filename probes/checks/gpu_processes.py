"""Does a dead or stuck process hold a GPU?

A zombie, or a process in uninterruptible sleep, that uses a GPU for more than 300 s (GCM) will not
let go of it: its memory is lost to others, and a reset is refused. Degraded, by reboot, which is
what ends a process that SIGKILL does not. Only seen where the node's processes can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.backends.base import Gpu
from probes.backends.readings import GpuProcess
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import boot_clock
from probes.each_gpu import at_most, each_gpu, of, option_number, settled

_KEY = "stuck"
#: So long may a process be stuck, in seconds. Option ``stuck_s``.
STUCK_S = 300.0
_STUCK_STATES = {"D": "in uninterruptible sleep", "Z": "a zombie"}
_MOST_KEPT = 64


class GpuProcesses:
    """Check ``gpu-processes``."""

    spec = CheckSpec(
        "gpu-processes", "Does a dead or stuck process hold a GPU?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        return each_gpu(context, lambda gpu: [_look(context, gpu, self._clock())])


def _look(context: Context, gpu: Gpu, now_s: float) -> Finding:
    processes = settled(context, lambda: context.backend.processes(gpu), _any_stuck)
    if processes and not any(each.state for each in processes):
        message = f"{len(processes)} processes, whose state cannot be seen from here"
        return of(gpu, Outcome.SKIP, message)
    stuck = [each for each in processes if each.state in _STUCK_STATES]
    if not stuck:
        return of(gpu, Outcome.PASS, f"{len(processes)} processes, none stuck")
    longest, process = max(
        ((now_s - _since(context, each, now_s), each) for each in stuck), key=lambda pair: pair[0]
    )
    limit = option_number(context, "stuck_s", STUCK_S)
    values = [at_most("stuck_for", longest, "s", limit, "GCM")]
    words = f"process {process.pid} is {_STUCK_STATES[process.state]} for {longest:.0f} s"
    outcome = Outcome.FAIL if longest > limit else Outcome.WARN
    return of(gpu, outcome, words, values, remedy="reboot", detail={"pid": str(process.pid)})


def _any_stuck(processes: tuple[GpuProcess, ...]) -> bool:
    """A process that reads and writes sleeps so for moments, too."""
    return any(each.state in _STUCK_STATES for each in processes)


def _since(context: Context, process: GpuProcess, now_s: float) -> float:
    """When it was first seen stuck; pid and start time are its identity within a boot."""
    name = f"{context.boot_id}/{process.pid}/{process.started}"
    before = context.before.get(_KEY)
    at_s = before.get(name) if isinstance(before, dict) else None
    since = min(float(at_s), now_s) if isinstance(at_s, int | float) else now_s
    kept = context.keep.setdefault(_KEY, {})
    if isinstance(kept, dict) and len(kept) < _MOST_KEPT:
        kept[name] = since
    return since
