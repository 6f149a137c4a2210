"""Which checks are there?"""

from __future__ import annotations

from probes.check import Check
from probes.checks import (
    dcgm,
    gpu_arithmetic,
    gpu_memory,
    hbm_bandwidth,
    nccl_node,
    nccl_pair,
    nvidia_smi,
    p2p_bandwidth,
    pcie_bandwidth,
)

#: In the order in which a run of a tier goes through them: what is cheap and tells most first.
CHECKS: tuple[Check, ...] = (
    nvidia_smi.CHECK,
    dcgm.LEVEL_1,
    pcie_bandwidth.CHECK,
    hbm_bandwidth.CHECK,
    gpu_arithmetic.CHECK,
    gpu_memory.CHECK,
    p2p_bandwidth.CHECK,
    nccl_node.CHECK,
    nccl_pair.CHECK,
    dcgm.LEVEL_2,
    dcgm.LEVEL_3,
    dcgm.LEVEL_4,
)
