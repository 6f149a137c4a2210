"""How many GPUs should a node have, and how many can pods have? Pure.

Expected is what an operator says (label ``<prefix>/expected-gpus``), else the most that the Node
itself tells: its capacity and, where a GPU is one resource (no MIG, no sharing), what GPU feature
discovery has counted, unless the GPU operator's labels say that no device plugin offers them there
(GPUs lent to virtual machines, the plugin switched off). The device plugin takes a GPU that it
holds to be ill out of what is allocatable, and leaves it in the capacity.
"""

from __future__ import annotations

from konduktor_health.model import Keys, NodeView

_COUNT = "nvidia.com/gpu.count"
_REPLICAS = "nvidia.com/gpu.replicas"
_MIG = "nvidia.com/mig.strategy"
_PLUGIN = "nvidia.com/gpu.deploy.device-plugin"
_WORKLOAD = "nvidia.com/gpu.workload.config"
_MOST = 1024


def told_gpus(view: NodeView, keys: Keys) -> int | None:
    """What an operator says that the node has; None: nothing, or nothing that is a number."""
    return _number(view.label(keys.expected_gpus))


def expected_gpus(view: NodeView, keys: Keys) -> int:
    """How many GPUs pods should be able to have."""
    told = told_gpus(view, keys)
    if told is not None:
        return told
    shared = (_number(view.label(_REPLICAS)) or 1) > 1
    divided = (view.label(_MIG) or "none") != "none"
    lent = (view.label(_WORKLOAD) or "container") != "container" or view.label(_PLUGIN) == "false"
    counted = 0 if shared or divided or lent else _number(view.label(_COUNT)) or 0
    return max(view.gpu_capacity, counted)


def missing_gpus(view: NodeView, keys: Keys) -> int:
    """How many GPUs fewer pods can have; 0: none, or it is not told what they can have."""
    if view.gpu_allocatable is None:
        return 0
    return max(0, expected_gpus(view, keys) - view.gpu_allocatable)


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 4:
        return None
    return int(text) if int(text) <= _MOST else None
