"""Does each GPU get its data over PCIe, to it and from it, as fast as its link allows?

Pinned memory on the GPU's own NUMA node, one GPU after the other, by the copy engine, as
nvbandwidth measures. The limits are those for generation and width that GPU and slot have, so that
a link that came up too slow or too narrow fails here too. Degraded: it computes right, and slowly.

Source of the rule: Azure/azurehpc-health-checks, ``conf`` (48 GB/s on PCIe 5, 21 on PCIe 4); both
tell more than Autopilot's floor of 4 GB/s, a quarter of PCIe 3.
"""

from __future__ import annotations

from probes.check import Cadence, CheckSpec, Tier
from probes.measuring.rates import Rate, RateCheck, result_of

CHECK = RateCheck(
    spec=CheckSpec(
        name="pcie-bandwidth",
        title="Is the PCIe bandwidth of each GPU as its link allows, in both directions?",
        tier=Tier.LIGHT,
        cadence=Cadence.HOURLY,
        deadline_s=300.0,
    ),
    program="bandwidth",
    arguments=("--tests", "h2d,d2h", "--seconds", "60", "--grace", "10"),
    rates=(Rate("h2d", "GB/s", result_of("h2d")), Rate("d2h", "GB/s", result_of("d2h"))),
)
