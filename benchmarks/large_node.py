"""How large is a real GPU node? About 14 KB of JSON, of which labels and images are most."""

from __future__ import annotations

import time
from typing import Any


def large_node(name: str) -> dict[str, Any]:
    """A Node with what GPU discovery, cloud and kubelet put there: about 14 KB of JSON."""
    discovered = {f"feature.node.kubernetes.io/cpu-cpuid.EXT{n:02d}": "true" for n in range(60)}
    gpu = {f"nvidia.com/gpu.property-{n:02d}": "NVIDIA-H100-80GB-HBM3" for n in range(25)}
    capacity = {"cpu": "192", "memory": "2113414388Ki", "pods": "110", "nvidia.com/gpu": "8"}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure")
    conditions = [{"type": kind, "status": "False", "reason": f"No{kind}"} for kind in kinds]
    conditions.append({"type": "Ready", "status": "True", "reason": "KubeletReady"})
    images = [
        {
            "names": [
                f"registry.example/team-{n}/trainer@sha256:{n:064x}",
                f"registry.example/team-{n}/trainer:v{n}",
            ],
            "sizeBytes": 12_345_678_901 + n,
        }
        for n in range(50)
    ]
    return {
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "nvidia.com/gpu.present": "true",
                **discovered,
                **gpu,
            },
            "annotations": {f"example.com/note-{n}": "x" * 100 for n in range(10)},
        },
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                {**each, "message": "kubelet says so", "lastTransitionTime": now}
                for each in conditions
            ],
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": f"10.0.{len(name)}.1"},
            ],
            "nodeInfo": {"bootID": f"boot-of-{name}", "kernelVersion": "5.15.0-1062"},
            "images": images,
        },
    }
