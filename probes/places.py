"""Which checks are there, and where is each?

By name, so that a process imports the modules of the checks that it is to run and no others: a run
of some checks is started each minute on each node. ``probes.registry`` has all of them.

Invariant: the name is that of the check's spec (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping

#: "module:attribute" of each: a check, or its class, which is called. In the order in which a run
#: of a tier goes through them: what is cheap and tells most first.
PLACES: Mapping[str, str] = {
    "driver": "probes.checks.driver:DriverWorks",
    "gpu-count": "probes.checks.gpu_count:GpuCount",
    "gpu-recovery-action": "probes.checks.gpu_recovery_action:GpuRecoveryAction",
    "gpu-ecc": "probes.checks.gpu_ecc:GpuEcc",
    "gpu-remapped-rows": "probes.checks.gpu_remapped_rows:GpuRemappedRows",
    "gpu-retired-pages": "probes.checks.gpu_retired_pages:GpuRetiredPages",
    "nvlink-fabric": "probes.checks.nvlink_fabric:NvLinkFabric",
    "fabric-manager": "probes.checks.fabric_manager:FabricManager",
    "nvlink-state": "probes.checks.nvlink_state:NvLinkState",
    "nvlink-errors": "probes.checks.nvlink_errors:NvLinkErrors",
    "pcie-errors": "probes.checks.pcie_errors:PcieErrors",
    "gpu-processes": "probes.checks.gpu_processes:GpuProcesses",
    "gpu-persistence": "probes.checks.gpu_persistence:GpuPersistence",
    "gpu-temperature": "probes.checks.gpu_temperature:GpuTemperature",
    "gpu-power": "probes.checks.gpu_power:GpuPower",
    "gpu-clocks": "probes.checks.gpu_clocks:GpuClocks",
    "pcie-link": "probes.checks.pcie_link:PcieLinkState",
    "previous-boot": "probes.checks.previous_boot:PreviousBoot",
    "infiniband": "probes.checks.infiniband:InfiniBand",
    "disk": "probes.checks.disk:Disk",
    "clock": "probes.checks.clock:Clock",
    "ping": "probes.checks.ping:Ping",
    "iperf3-server": "probes.checks.iperf3_server:Iperf3Server",
    "iperf3-client": "probes.checks.iperf3_client:Iperf3Client",
    "nvidia-smi": "probes.checks.nvidia_smi:CHECK",
    "dcgm-1": "probes.checks.dcgm:LEVEL_1",
    "pcie-bandwidth": "probes.checks.pcie_bandwidth:CHECK",
    "hbm-bandwidth": "probes.checks.hbm_bandwidth:CHECK",
    "gpu-arithmetic": "probes.checks.gpu_arithmetic:CHECK",
    "gpu-memory": "probes.checks.gpu_memory:CHECK",
    "p2p-bandwidth": "probes.checks.p2p_bandwidth:CHECK",
    "nccl-node": "probes.checks.nccl_node:CHECK",
    "nccl-pair": "probes.checks.nccl_pair:CHECK",
    "dcgm-2": "probes.checks.dcgm:LEVEL_2",
    "dcgm-3": "probes.checks.dcgm:LEVEL_3",
    "dcgm-4": "probes.checks.dcgm:LEVEL_4",
}
