"""What is known of each GPU model, and which limits were published for it? Reads ``hardware.json``.

The file has three tables:

- ``models``: specification of a GPU by PCI id and by the name that the driver gives it.
- ``pcie``: what a link can carry at most, by generation, for 16 lanes.
- ``limits``: the least good value of a measurement, and *when* it holds: model, PCIe generation and
  width, fabric class, number of GPUs. A limit that is derived from another's says so.

Invariants: what is returned is complete and valid; otherwise HardwareError names table, row and
field. Each row names its source. Two limits that hold at once differ in how much they ask for; the
one that asks for more wins (``probes.thresholds.lookup``).
"""

from __future__ import annotations

import json
import math
import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

VERSION = 1
#: Keys that a limit may depend on.
CONDITIONS = ("model", "form", "pcie_generation", "pcie_width", "fabric", "gpus")
FORMS = ("sxm", "pcie", "module")  # module: soldered beside a CPU (GH200, GB200)
FABRICS = ("pcie", "nvlink", "nvswitch", "mnnvl")


class HardwareError(ValueError):
    """The data file is wrong: table, row and field."""


@dataclass(frozen=True, slots=True)
class Model:
    """A GPU model by its specification. Rates in GB/s are of 10^9 bytes, in one direction."""

    model: str  # "H100-SXM"
    title: str
    pci_ids: tuple[str, ...]
    names: tuple[str, ...]  # as NVML tells them
    form: str  # of FORMS
    memory_gb: float
    pcie_generation: int
    pcie_width: int
    nvlinks: int  # that the GPU has; a bridge may use fewer
    nvlink_gb_s: float  # of each
    nvswitches: int  # on a board of eight; 0: none, or not to be seen on PCI
    memory_gb_s: float  # peak of the memory
    fp64_tflops: float  # peak of DGEMM, tensor cores included
    power_w: float
    source: str


@dataclass(frozen=True, slots=True)
class Limit:
    """The least good value of a measurement on some hardware."""

    check: str
    measurement: str
    unit: str
    at_least: float
    when: Mapping[str, tuple[str | int, ...]]  # all of them; any of the values
    source: str
    derived: bool = False  # from another model's or another width's
    note: str = ""

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Whether it is for hardware of these facts."""
        return all(facts.get(key) in values for key, values in self.when.items())


@dataclass(frozen=True, slots=True)
class Hardware:
    """The whole file."""

    models: tuple[Model, ...]
    pcie: Mapping[int, float]  # generation to GB/s of 16 lanes
    limits: tuple[Limit, ...]

    def model_of(self, pci_id: str, name: str) -> Model | None:
        """The model of a GPU: by its PCI id, else by the driver's name; None if unknown."""
        for model in self.models:
            if pci_id and pci_id.lower() in model.pci_ids:
                return model
        wanted = _plain(name)
        for model in self.models:
            if any(_plain(each) == wanted for each in model.names):
                return model
        return None


@cache
def shipped() -> Hardware:
    """What comes with the package. Read once; it never changes."""
    path = os.path.join(os.path.dirname(__file__), "hardware.json")
    with open(path, encoding="utf-8") as file:
        return parse(file.read())


def parse(text: str) -> Hardware:
    """The tables of a data file. Raises HardwareError."""
    try:
        whole = json.loads(text)
        _check_version(whole["version"])
        models = tuple(_model(row, f"models[{i}]") for i, row in enumerate(whole["models"]))
        pcie = {
            _whole(row["pcie_generation"], "pcie"): _positive(row["gb_s"], "pcie")
            for row in whole["pcie"]
        }
        limits = tuple(_limit(row, f"limits[{i}]") for i, row in enumerate(whole["limits"]))
    except HardwareError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HardwareError(f"hardware data: {type(error).__name__}: {error}") from error
    return Hardware(models, pcie, limits)


def _check_version(version: object) -> None:
    if version != VERSION:
        raise HardwareError(f"version {version!r}: this program knows {VERSION}")


def _model(row: Mapping[str, Any], where: str) -> Model:
    if row["form"] not in FORMS:
        raise HardwareError(f"{where}: form {row['form']!r}: one of {', '.join(FORMS)}")
    return Model(
        model=_text(row["model"], where),
        title=_text(row["title"], where),
        pci_ids=tuple(_text(each, where) for each in row["pci_ids"]),
        names=tuple(_text(each, where) for each in row["names"]),
        form=row["form"],
        memory_gb=_positive(row["memory_gb"], where),
        pcie_generation=_whole(row["pcie_generation"], where),
        pcie_width=_whole(row["pcie_width"], where),
        nvlinks=_whole(row["nvlinks"], where),
        nvlink_gb_s=_number(row["nvlink_gb_s"], where),
        nvswitches=_whole(row["nvswitches"], where),
        memory_gb_s=_positive(row["memory_gb_s"], where),
        fp64_tflops=_positive(row["fp64_tflops"], where),
        power_w=_positive(row["power_w"], where),
        source=_text(row["source"], where),
    )


def _limit(row: Mapping[str, Any], where: str) -> Limit:
    when: dict[str, tuple[str | int, ...]] = {}
    for key, wanted in row["when"].items():
        if key not in CONDITIONS:
            raise HardwareError(f"{where}: when.{key}: one of {', '.join(CONDITIONS)}")
        when[key] = tuple(wanted) if isinstance(wanted, list) else (wanted,)
    if not when:
        raise HardwareError(f"{where}: no condition: a limit for all hardware fits none")
    return Limit(
        check=_text(row["check"], where),
        measurement=_text(row["measurement"], where),
        unit=_text(row["unit"], where),
        at_least=_positive(row["at_least"], where),
        when=when,
        source=_text(row["source"], where),
        derived=bool(row.get("derived", False)),
        note=_text(row["note"], where) if "note" in row else "",
    )


def _plain(name: str) -> str:
    """A name without the maker and without punctuation: "NVIDIA A100-SXM4-80GB" in all spellings
    of driver, node label and data sheet."""
    text = "".join(c for c in name.casefold() if c.isalnum())
    return text.removeprefix("nvidia").removeprefix("tesla")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise HardwareError(f"{where}: {value!r} is not a text")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HardwareError(f"{where}: {value!r} is not a number")
    if value < 0:
        raise HardwareError(f"{where}: {value!r} is negative")
    return float(value)


def _positive(value: object, where: str) -> float:
    number = _number(value, where)
    if number == 0:
        raise HardwareError(f"{where}: 0: a limit of nothing judges nothing")
    return number


def _whole(value: object, where: str) -> int:
    number = _number(value, where)
    if number != int(number):
        raise HardwareError(f"{where}: {value!r} is not a whole number")
    return int(number)
