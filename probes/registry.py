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
from probes.checks.clock import Clock
from probes.checks.disk import Disk
from probes.checks.driver import DriverWorks
from probes.checks.fabric_manager import FabricManager
from probes.checks.gpu_clocks import GpuClocks
from probes.checks.gpu_count import GpuCount
from probes.checks.gpu_ecc import GpuEcc
from probes.checks.gpu_persistence import GpuPersistence
from probes.checks.gpu_power import GpuPower
from probes.checks.gpu_processes import GpuProcesses
from probes.checks.gpu_recovery_action import GpuRecoveryAction
from probes.checks.gpu_remapped_rows import GpuRemappedRows
from probes.checks.gpu_retired_pages import GpuRetiredPages
from probes.checks.gpu_temperature import GpuTemperature
from probes.checks.infiniband import InfiniBand
from probes.checks.iperf3_client import Iperf3Client
from probes.checks.iperf3_server import Iperf3Server
from probes.checks.nvlink_errors import NvLinkErrors
from probes.checks.nvlink_fabric import NvLinkFabric
from probes.checks.nvlink_state import NvLinkState
from probes.checks.pcie_errors import PcieErrors
from probes.checks.pcie_link import PcieLinkState
from probes.checks.ping import Ping
from probes.checks.previous_boot import PreviousBoot

#: In the order in which a run of a tier goes through them: what is cheap and tells most first.
CHECKS: tuple[Check, ...] = (
    DriverWorks(),
    GpuCount(),
    GpuRecoveryAction(),
    GpuEcc(),
    GpuRemappedRows(),
    GpuRetiredPages(),
    NvLinkFabric(),
    FabricManager(),
    NvLinkState(),
    NvLinkErrors(),
    PcieErrors(),
    GpuProcesses(),
    GpuPersistence(),
    GpuTemperature(),
    GpuPower(),
    GpuClocks(),
    PcieLinkState(),
    PreviousBoot(),
    InfiniBand(),
    Disk(),
    Clock(),
    Ping(),
    Iperf3Server(),
    Iperf3Client(),
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
