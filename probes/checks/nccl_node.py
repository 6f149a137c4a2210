"""Does an all-reduce over all GPUs of the node give right sums, fast enough?

``all_reduce_perf`` of nccl-tests, one process for all GPUs. Where it is not on the node, the check
is skipped. Wrong sums are fatal; a bus bandwidth below its limit is degraded.

Source of the rule: Azure/azurehpc-health-checks (431 GB/s on 8 x H200), oracle-quickstart/oci-hpc
(440 on 8 x H100).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from probes.check import Cadence, CheckSpec, Context, Finding, Tier
from probes.errors import Skipped
from probes.measuring.nccl_run import PROGRAM, SIZES, finding_of_runs, ready_gpus
from probes.tools.nccl_tests import NcclRun, parse_run
from probes.tools.programs import run_program

_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class NcclNode:
    """All GPUs of the node."""

    spec: CheckSpec
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding, of the node."""
        gpus = ready_gpus(context)
        if len(gpus) < 2:
            raise Skipped("one GPU: there is nothing to reduce")
        arguments = (*SIZES, "-g", str(len(gpus)))
        end = self.monotonic() + self.spec.deadline_s - _MARGIN_S

        def once() -> NcclRun:
            left = end - self.monotonic()
            return parse_run(run_program(context, PROGRAM, arguments, deadline_s=left))

        yield finding_of_runs(context, self.spec.name, gpus[0], len(gpus), once)


CHECK = NcclNode(
    CheckSpec(
        name="nccl-node",
        title="Does an all-reduce over the GPUs of the node give right sums, fast enough?",
        tier=Tier.INVASIVE,
        cadence=Cadence.INVASIVE,
        deadline_s=600.0,
        needs_idle_gpus=True,
    )
)
