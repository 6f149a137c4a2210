"""Does the NVIDIA driver work, and do its library and its kernel module fit each other?

On a node with an NVIDIA GPU on the PCI bus a missing driver is a fault, not a reason to skip: no
workload runs there. So is a library of another version than the loaded module (NVML error 18, after
an upgrade without reload), and a driver that answers with time-outs only. All fatal, by reboot: the
module cannot be exchanged under processes that use it.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.errors import (
    BackendError,
    BackendMissing,
    BackendTimeout,
    DriverMismatch,
    NoPermission,
    Skipped,
)


class DriverWorks:
    """Check ``driver``."""

    spec = CheckSpec(
        "driver", "Does the driver work, and do library and kernel module fit?",
        Tier.BOOT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding, of the node."""
        on_bus = [each for each in context.backend.pci_gpus() if not each.lent]
        try:
            driver = context.backend.driver()
            count = len(context.backend.gpus())
        except DriverMismatch as error:
            yield _failed(str(error))
        except BackendMissing as error:
            if not on_bus:
                raise Skipped(f"no NVIDIA GPU on the PCI bus, and no driver ({error})") from error
            yield _failed(f"{len(on_bus)} NVIDIA GPUs on the PCI bus, and no driver: {error}")
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


def _failed(message: str) -> Finding:
    return Finding(Outcome.FAIL, message, severity="fatal", remedy="reboot")
