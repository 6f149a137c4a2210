"""Is the memory of each GPU as fast as its model's?

STREAM's triad (a = b + s·c) by a kernel; the copy is told beside it. The limits are DCGM's minima
for its memory bandwidth test, about half of the specified peak. Degraded: slow, and right.

Source of the rule: NVIDIA/DCGM ``nvvs/diag-skus.yaml.in``.
"""

from __future__ import annotations

from probes.check import Cadence, CheckSpec, Tier
from probes.measuring.rates import Rate, RateCheck, result_of

CHECK = RateCheck(
    spec=CheckSpec(
        name="hbm-bandwidth",
        title="Is the memory of each GPU as fast as its model's?",
        tier=Tier.LIGHT,
        cadence=Cadence.HOURLY,
        deadline_s=300.0,
    ),
    program="bandwidth",
    arguments=("--tests", "hbm", "--seconds", "60", "--grace", "10"),
    rates=(Rate("hbm", "GB/s", result_of("hbm_triad")),),
    told=("hbm_copy", "d2d"),
)
