"""Which backend was asked for? By environment variables; nothing is guessed.

``KONDUKTOR_FAKE_GPU=true`` is the fake one, ``KONDUKTOR_GPU_BACKEND=sysfs`` the kernel's files,
everything else is NVML. A node without the driver's library gets NVML as well, whose questions then
say that it is missing: there is no fall-back that would make a broken node look like a good one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from parsers.printable import printable
from probes.backends.base import GpuBackend
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.backends.nvml import Nvml
from probes.backends.sysfs import Sysfs
from probes.errors import SettingError

FAKE = "KONDUKTOR_FAKE_GPU"
COUNT = "KONDUKTOR_GPU_COUNT"
TYPE = "KONDUKTOR_GPU_TYPE"
STATE = "KONDUKTOR_FAKE_GPU_STATE"
SEED = "KONDUKTOR_FAKE_GPU_SEED"
BACKEND = "KONDUKTOR_GPU_BACKEND"
#: Most GPUs of a fake node.
MOST_GPUS = 32
_YES = {"true": True, "1": True, "yes": True, "": False, "false": False, "0": False, "no": False}


def choose(environ: Mapping[str, str], root: str = "/") -> GpuBackend:
    """The backend; ``root`` is where the node's /sys and /proc are. Asks no driver yet.
    Raises SettingError for a value that cannot be."""
    if _yes(environ, FAKE):
        return FakeBackend(
            environ.get(TYPE, "") or "H100",
            _number(environ, COUNT, 8, MOST_GPUS),
            state=FakeState(environ.get(STATE, "")),
            seed=_number(environ, SEED, 0, 2**63),
            clock=time.time,
        )
    sysfs = Sysfs(root)
    name = environ.get(BACKEND, "").strip().lower()
    if name == "sysfs":
        return sysfs
    if name not in {"", "nvml"}:
        raise SettingError(f"{BACKEND}={printable(name, 40)}: it has to be nvml or sysfs")
    return Nvml(sysfs)


def _yes(environ: Mapping[str, str], variable: str) -> bool:
    text = environ.get(variable, "").strip().lower()
    if text not in _YES:
        raise SettingError(f"{variable}={printable(text, 40)}: it has to be true or false")
    return _YES[text]


def _number(environ: Mapping[str, str], variable: str, usual: int, most: int) -> int:
    text = environ.get(variable, "").strip()
    if not text:
        return usual
    if not text.isdecimal() or len(text) > 19 or int(text) > most:
        raise SettingError(f"{variable}={printable(text, 40)}: it has to be a number up to {most}")
    return int(text)
