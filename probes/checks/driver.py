"""Does the NVIDIA driver work, and do its library and its kernel module fit each other?

On a node with an NVIDIA GPU on the PCI bus a missing driver is a fault, not a reason to skip: no
workload runs there. So is a library of another version than the loaded module (NVML error 18, after
an upgrade without reload). Both are fatal, by reboot, when they last for 20 minutes: a driver that
is installed or upgraded by an operator is away for as long as it takes to build its modules, and
nothing can be scheduled meanwhile. Until then they warn. A driver that answers with time-outs only
fails at once.

An agent that started before the driver, or runs on while the driver is exchanged, has no library,
or an old one, while the node has the right one: that is an error of this agent, not a fault of the
node; its pod is to be started anew. GPUs that another driver holds (`vfio-pci`, `nouveau`) are not
the NVIDIA driver's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.backends.sysfs import Sysfs
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import LASTS_KEY, boot_clock, lasts
from probes.each_gpu import option_number
from probes.errors import (
    BackendError,
    BackendMissing,
    BackendTimeout,
    DriverMismatch,
    NoPermission,
    Skipped,
)
from probes.tools.driver_files import library_versions

#: So long may a driver be away, in seconds. Option ``start_s``.
START_S = 1200.0


class DriverWorks:
    """Check ``driver``."""

    spec = CheckSpec(
        "driver", "Does the driver work, and do library and kernel module fit?",
        Tier.BOOT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding, of the node. Option ``start_s``: so long may the driver be away."""
        context.keep[LASTS_KEY] = {}  # what does not last any more is forgotten
        on_bus = [each for each in context.backend.pci_gpus() if not each.foreign]
        try:
            driver = context.backend.driver()
            count = len(context.backend.gpus())
        except DriverMismatch as error:
            yield self._away(context, "mismatch", str(error))
        except BackendMissing as error:
            if not on_bus:
                raise Skipped(f"no NVIDIA GPU on the PCI bus, and no driver ({error})") from error
            words = f"{len(on_bus)} NVIDIA GPUs on the PCI bus, and no driver: {error}"
            yield self._away(context, "missing", words)
        except BackendTimeout as error:
            yield _failed(f"the driver is wedged: {error}")
        except NoPermission:
            raise
        except BackendError as error:
            yield Finding(Outcome.ERROR, f"the driver does not answer: {error}")
        else:
            versions = {"driver": driver.version, "cuda": driver.cuda}
            message = f"driver {driver.version}, CUDA up to {driver.cuda or '?'}, {count} GPUs"
            yield Finding(Outcome.PASS, message, detail=versions)

    def _away(self, context: Context, what: str, words: str) -> Finding:
        if not context.backend.fake and (version := _whole_on_the_node(context.root)):
            message = (
                f"the node has driver {version} and its library, this agent has not: it started"
                f" before; start its pod anew ({words})"
            )
            return Finding(Outcome.ERROR, message)
        away_s = lasts(context, what, self._clock())
        most_s = option_number(context, "start_s", START_S)
        if away_s >= most_s:
            return _failed(words)
        message = f"{words}; for {away_s:.0f} s, it may be on its way ({most_s:.0f} s)"
        return Finding(Outcome.WARN, message)


def _whole_on_the_node(root: str) -> str:
    """The version of a driver of which the node has module and library; "" where it has not."""
    version = Sysfs(root).module_version()
    return version if version and version in library_versions(root) else ""


def _failed(message: str) -> Finding:
    return Finding(Outcome.FAIL, message, severity="fatal", remedy="reboot")
