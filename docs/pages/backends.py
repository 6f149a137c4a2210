"""Where do facts about GPUs come from, and which faults can fake ones have?"""

from __future__ import annotations

from collections.abc import Mapping

from docs.pages.tables import code, table
from probes.backends import choose
from probes.backends.fake_state import FAULTS, NODE_FAULTS, Kind

_TEXT = f"""
# GPU backends

Each report names the backend that its facts are from. There is no fall-back from one to another: a
GPU node whose driver is missing fails the check [driver](checks.md#driver).

- `nvml`, the default: the driver's library (libnvidia-ml.so.1) through nvidia-ml-py, and what
  `sysfs` knows.
- `sysfs`: the PCI bus, links, error counters and the loaded module; everything else is "not
  supported".
- `fake`: GPUs that are not there. It proves nothing, and the controller counts none of it unless
  told so.

A GPU is busy when a process that is not the check's own uses it. Where other containers' processes
cannot be seen, GPU time or more than 256 MiB of used memory say so.

## Variables

- `{choose.BACKEND}`: `nvml` or `sysfs`.
- `{choose.FAKE}`: `true` for fake GPUs, whatever the one above says.
- `{choose.COUNT}`: how many of them, up to {choose.MOST_GPUS}; by default 8.
- `{choose.TYPE}`: their model, by any name in [Thresholds](thresholds.md#models), or short (`H100`,
  `A100`); another name is hardware that nobody knows. By default `H100`.
- `{choose.SEED}`: UUIDs, serial numbers and noise follow from it; by default 0.
- `{choose.STATE}`: the file with their faults.

## Faults of fake GPUs

The state file is JSON, and read again at each question, so that a fault comes and goes while the
agent runs:

```json
{{"node": {{"fabric_manager_down": true}},
 "gpus": {{"3": {{"temperature_c": 99}}, "0000:18:00": {{"lost": true}}, "*": {{"busy": true}}}}}}
```

A GPU is named by its index, its PCI address, or `*` for all. An unknown fault or a wrong value is
an error of the checks, not a healthy GPU. The file can be written by hand (replace it as a whole),
by `probes.backends.fake_state.inject`, or with

```sh
python -m probes.backends.fake_state state.json 3 temperature_c=99
python -m probes.backends.fake_state state.json node driver_missing=true
python -m probes.backends.fake_state state.json 3 clear temperature_c
python -m probes.backends.fake_state state.json clear
```

which ends with 0, or with 2 and one line on stderr for wrong usage. Names that end in `_per_s` are
rates: their counter starts when they are injected. A file that is written by hand says when, in
Unix seconds, beside the rate: `"since": {{"pcie_replays_per_s": 1780000000}}`; else it counts from
1970 on.

"""


def backends_page() -> str:
    """The page's text."""
    return _TEXT + _table(FAULTS) + "\nOf the node (`node`):\n\n" + _table(NODE_FAULTS)


def _table(faults: Mapping[str, Kind]) -> str:
    return table(["fault", "value"], ([code(name), kind.words] for name, kind in faults.items()))
