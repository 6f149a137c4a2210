"""Is the whole board of the GPUs on this node, and only on this node?

Boards of eight and four GPUs are split between virtual machines: then NVLinks to GPUs and switches
of other machines are inactive for ever, and a GPU may have no fabric to join. Only on a whole board
can be said how many links there have to be; elsewhere a GPU is compared with itself.

Signs of a whole board: eight GPUs, all NVSwitches that the model has, or four GPUs of which one has
all links that the model has (on boards of four each link goes to a GPU of the board). A node that
has given a GPU to a virtual machine has no whole board.
"""

from __future__ import annotations

from probes.backends.base import GpuBackend
from probes.thresholds.hardware import Model

_BOARD = 8
_SMALL_BOARD = 4


def is_whole(backend: GpuBackend, model: Model | None, gpus: int, most_links: int = 0) -> bool:
    """``gpus``: how many the driver has; ``most_links``: the most that are active at one of them.
    Raises BackendError."""
    there = backend.pci_gpus()
    if any(each.lent for each in there):
        return False
    count = max(len(there), gpus)
    if count >= _BOARD:
        return True
    if model is None:
        return False
    if model.nvswitches:
        switches = backend.nvswitches()
        if len(switches) >= model.nvswitches and not any(each.lent for each in switches):
            return True
    return bool(model.nvlinks) and count == _SMALL_BOARD and most_links >= model.nvlinks
