"""Which thresholds are shipped, and whose are they? Read from probes.thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from docs.pages.tables import code, table
from probes.thresholds import baseline
from probes.thresholds.hardware import Limit, shipped
from probes.thresholds.judge import WARN_BAND

_SIBLINGS = baseline.LEAST_SIBLINGS + 1
_TEXT = f"""
# Thresholds

What a measured bandwidth or rate has to reach. The first of these that there is:

1. the controller's override for "check/measurement", from a node label or the policy. 0: the value
   is told and not judged. A value that no hardware reaches is refused: it is in another unit.
2. a published limit for this hardware, below. Generation and width of PCIe are read from the
   device: the highest that GPU and slot allow, not what the link came up with.
3. the GPU's own baseline: its first {baseline.RUNS} values are learned, then less than
   {baseline.SHARE:.0%} of their median fails. Where there are at least {_SIBLINGS}
   GPUs of one name, {baseline.SHARE:.0%} of the median of the others counts too, and a GPU that is
   slow from the beginning teaches nothing. The threshold's source says `baseline`.

Below the threshold is a failure, less than {WARN_BAND:g} times it a warning. A value that cannot be
(not a number, zero, negative, above the specified peak) is no measurement: an error. Without any
threshold a value is told, as `skip`.

Limits that checks of GPU state use (temperatures, ECC counts, error rates) are with the checks:
[Checks](checks.md).

Sources: **AzNHC** is Azure/azurehpc-health-checks, by VM size. **OCI** is
oracle-quickstart/oci-hpc, by shape. **DCGM diag-skus.yaml.in** is NVIDIA/DCGM's table for its
memory bandwidth test, by PCI device id. **Autopilot gpucheck.cu** is IBM/autopilot. *Derived*
limits are another model's or another width's. Hardware that is not in a table is judged by its
baseline.

"""
_FOOT = """
## Models

Specified peaks bound what can be true, and what the fake backend measures. Rates are in one
direction.

"""


def thresholds_page() -> str:
    """The page's text."""
    return _TEXT + "".join(_limits()) + _FOOT + _models() + "\n## PCIe\n\n" + _pcie()


def _limits() -> Iterator[str]:
    limits = sorted(shipped().limits, key=lambda limit: (limit.check, limit.measurement))
    for check, of_check in groupby(limits, key=lambda limit: limit.check):
        yield f"## {check}\n\n"
        yield table(["measurement", "hardware", "at least", "source"], map(_row, of_check))
        yield "\n"


def _row(limit: Limit) -> list[str]:
    source = f"derived: {limit.source}" if limit.derived else limit.source
    return [
        code(limit.measurement),
        ", ".join(f"{_WORDS[key]}{' or '.join(map(str, limit.when[key]))}" for key in limit.when),
        f"{limit.at_least:g} {limit.unit}",
        f"{source} ({limit.note})" if limit.note else source,
    ]


_WORDS = {
    "model": "",
    "form": "form ",
    "pcie_generation": "PCIe ",
    "pcie_width": "x",
    "fabric": "",
    "gpus": "GPUs: ",
}


def _models() -> str:
    return table(
        [
            "model",
            "PCI ids",
            "driver's names",
            "form",
            "PCIe",
            "NVLinks",
            "memory",
            "FP64",
            "power",
        ],
        (
            [
                code(model.model),
                ", ".join(map(code, model.pci_ids)),
                ", ".join(map(code, model.names)),
                model.form,
                f"{model.pcie_generation} x{model.pcie_width}",
                f"{model.nvlinks} of {model.nvlink_gb_s:g} GB/s" if model.nvlinks else "",
                f"{model.memory_gb_s:g} GB/s",
                f"{model.fp64_tflops:g} TFLOPS",
                f"{model.power_w:g} W",
            ]
            for model in shipped().models
        ),
    )


def _pcie() -> str:
    rows = ([str(generation), f"{rate:g} GB/s"] for generation, rate in shipped().pcie.items())
    return table(["generation", "x16, one direction"], rows)
