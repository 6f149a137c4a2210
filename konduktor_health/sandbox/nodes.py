"""What does a node look like? Realistic but compact Node objects for the sandbox and for tests."""

from __future__ import annotations

import ipaddress
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_EPOCH = "2026-01-01T00:00:00Z"
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ("Ready", "True", "KubeletReady"),
)


def gpu_node(
    name: str,
    *,
    gpus: int = 8,
    model: str = "NVIDIA-H100-80GB-HBM3",
    boot_id: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Json:
    """A Ready node with GPUs as the device plugin and GPU feature discovery describe them.

    ``boot_id`` defaults to one derived from the name, so that the same node stays the same.
    """
    node = cpu_node(name, boot_id=boot_id)
    node["metadata"]["labels"] |= {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": model,
        "nvidia.com/gpu.count": str(gpus),
        **(labels or {}),
    }
    for key in ("capacity", "allocatable"):
        node["status"][key] |= {"nvidia.com/gpu": str(gpus)}
    return node


def cpu_node(name: str, *, boot_id: str | None = None) -> Json:
    """A Ready node without GPUs."""
    size = {"cpu": "192", "memory": "2113532000Ki", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
        "spec": {"providerID": f"sandbox://{name}"},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": address(name)},
            ],
            "capacity": dict(size),
            "allocatable": dict(size),
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": reason,
                    "lastHeartbeatTime": _EPOCH,
                    "lastTransitionTime": _EPOCH,
                }
                for kind, status, reason in _CONDITIONS
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": boot_id or stable_uuid(name, "boot"),
                "containerRuntimeVersion": "containerd://2.1.9",
                "kernelVersion": "6.8.0-60-generic",
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.4",
                "machineID": stable_uuid(name, "machine").replace("-", ""),
                "operatingSystem": "linux",
                "osImage": "Ubuntu 24.04.3 LTS",
                "systemUUID": stable_uuid(name, "system"),
            },
        },
    }


def stable_uuid(name: str, what: str) -> str:
    """A UUID that depends on the node's name and on what it is for."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{what}.{name}.sandbox.invalid"))


def address(name: str) -> str:
    """An address in 10.0.0.0/8 that depends on the name (no two of 1,000 nodes need differ)."""
    return str(ipaddress.IPv4Address(0x0A00_0000 + zlib.crc32(name.encode()) % 0xFF_FFFE + 1))
