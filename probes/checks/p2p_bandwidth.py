"""Do GPUs reach each other as fast as their NVLinks (or PCIe) allow?

Each GPU writes to and reads from each other one; of both the slower counts. A GPU is judged by the
median of its pairs: one that is slow towards most others is to blame, and those are not. A single
slow pair is a warning of both its ends, since it may be either, or the bridge between them; with
two GPUs there is no other pair to tell. Degraded.

It loads links and memory of both GPUs, so it waits until all are idle.

Source of the rule: Azure/azurehpc-health-checks, ``conf`` (335 GB/s on H100 SXM; NVL cards have 12
of 18 links and measure 257, issue 162 there).
"""

from __future__ import annotations

from statistics import median

from probes.check import Cadence, CheckSpec, Tier
from probes.measuring.rate_finding import Value
from probes.measuring.rates import Rate, RateCheck
from probes.tools.cuda_json import CudaGpu

_WRITE, _READ = "p2p_write", "p2p_read"


def pairs(answer: CudaGpu) -> Value | None:
    """The median of its pairs and all of them, GB/s; None for a GPU without peers."""
    peers = {result.peer for result in answer.results if result.name == _WRITE and result.peer}
    rates: dict[str, float] = {}
    for peer in peers:
        write, read = answer.result(_WRITE, peer), answer.result(_READ, peer)
        if write is None or read is None:
            return None
        rates[peer] = min(write.value, read.value)
    if not rates:
        return None
    return Value(median(rates.values()), rates)


CHECK = RateCheck(
    spec=CheckSpec(
        name="p2p-bandwidth",
        title="Do the GPUs reach each other as fast as NVLink or PCIe allow?",
        tier=Tier.INVASIVE,
        cadence=Cadence.INVASIVE,
        deadline_s=900.0,
        needs_idle_gpus=True,
    ),
    program="bandwidth",
    arguments=("--tests", "p2p", "--seconds", "400", "--grace", "20"),
    rates=(Rate("p2p", "GB/s", pairs),),
    least_gpus=2,
    tries=2,
)
