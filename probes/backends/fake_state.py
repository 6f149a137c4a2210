"""Which faults do fake GPUs have now? A JSON file that is read again at each question.

::

    {"node": {"driver_missing": true},
     "gpus": {"3": {"temperature_c": 99}, "0000:3b:00": {"lost": true}, "*": {"busy": true}}}

GPUs are named by index, by PCI address, or ``*`` for all; what is said of one GPU outranks ``*``.
``FAULTS`` and ``NODE_FAULTS`` have all that can be said. ``python -m probes.backends.fake_state
FILE GPU FAULT=VALUE`` writes it, and so does ``inject``.

Invariants: an unknown fault, or a value of the wrong kind, is a SettingError that names it. The
file is replaced as a whole, so that a reader never sees half of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parsers.printable import printable
from probes.backends.readings import ClockReason, FabricState, RecoveryAction
from probes.errors import SettingError

#: Beside the faults of a GPU: when each rate began (Unix seconds), so that its counter starts at 0.
_SINCE = "since"
_ALL = "*"
_NODE = "node"

#: A state file: faults of the node, and of GPUs by their names.
_State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the value of a fault may be."""

    words: str
    fits: Callable[[object], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(fits(each) for each in value)


def _one_of(words: Sequence[str]) -> Callable[[object], bool]:
    return lambda value: value in words


def _is_process(value: object) -> bool:
    if not isinstance(value, dict) or not _is_count(value.get("pid")):
        return False
    rest = {"state": str, "started": int, "instance": int}
    return all(isinstance(value.get(key, kind()), kind) for key, kind in rest.items())


_ACTIONS = [action.name.lower() for action in RecoveryAction]
_STATES = [state.name.lower() for state in FabricState]
_REASONS = [reason.value for reason in ClockReason]

YES = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str))
NUMBER = Kind("a number", _is_number)
COUNT = Kind("a whole number of at least 0", _is_count)
COUNTS = Kind("a list of whole numbers", _is_list_of(_is_count))
TEXTS = Kind("a list of texts", _is_list_of(lambda value: isinstance(value, str)))
REASONS = Kind(f"a list of {', '.join(_REASONS)}", _is_list_of(_one_of(_REASONS)))
ACTION = Kind(f"one of {', '.join(_ACTIONS)}", _one_of(_ACTIONS))
STATE = Kind(f"one of {', '.join(_STATES)}", _one_of(_STATES))
PROCESSES = Kind('a list of {"pid": 1, "state": "D", "started": 1}', _is_list_of(_is_process))

_PLACES = ("dram_corrected", "dram_uncorrected", "sram_corrected", "sram_uncorrected")
#: What can be wrong with a GPU.
FAULTS: Mapping[str, Kind] = {
    "lost": YES,  # on the bus; the driver does not open it
    "off_bus": YES,  # neither on the bus nor in the driver
    "answers_lost": YES,  # opened; each reading says that the GPU is lost
    "error": TEXT,  # each reading fails so
    "hang": YES,  # readings do not come back
    "unsupported": TEXTS,  # readings that this GPU does not have: "temperatures", "ecc" ...
    "temperature_c": NUMBER,
    "memory_temperature_c": NUMBER,
    "power_w": NUMBER,
    "power_limit_w": NUMBER,
    "power_cables_missing": YES,
    "clock_reasons": REASONS,
    "ecc_disabled": YES,
    **{f"ecc_volatile_{place}": COUNT for place in _PLACES},
    **{f"ecc_aggregate_{place}": COUNT for place in _PLACES},
    "sram_threshold_exceeded": YES,
    "remapped_corrected": COUNT,
    "remapped_uncorrected": COUNT,
    "remap_pending": YES,
    "remap_failed": YES,
    "retired_single_bit": COUNT,
    "retired_double_bit": COUNT,
    "retired_pending": YES,
    "recovery_action": ACTION,
    "persistence_off": YES,
    "pcie_generation": COUNT,
    "pcie_width": COUNT,
    "pcie_replays_per_s": NUMBER,
    "aer_correctable_per_s": NUMBER,
    "aer_nonfatal": COUNT,
    "aer_fatal": COUNT,
    "nvlinks_down": COUNTS,
    "nvlink_crc_per_s": NUMBER,
    "nvlink_recoveries_per_s": NUMBER,
    "fabric_state": STATE,
    "fabric_status": TEXT,
    "fabric_problems": TEXTS,
    "busy": YES,
    "processes": PROCESSES,
    "mig": YES,
    "pcie_bandwidth_factor": NUMBER,  # of what a good one reaches
    "nvlink_bandwidth_factor": NUMBER,
    "hbm_bandwidth_factor": NUMBER,
    "compute_factor": NUMBER,
    "wrong_results": COUNT,  # of an arithmetic test
    "memory_errors": COUNT,  # of a memory test
}
#: What can be wrong with the driver, or the node.
NODE_FAULTS: Mapping[str, Kind] = {
    "driver_missing": YES,
    "library_mismatch": YES,
    "driver_wedged": YES,  # the driver answers nothing but time-outs
    "no_permission": YES,
    "backend_error": TEXT,  # each question to the driver fails so
    "driver_version": TEXT,
    "nvswitches": COUNT,  # to be seen on the bus
    "fabric_manager_down": YES,
}


class FakeState:
    """The file's content now. Without a file, or with none yet, there is no fault."""

    def __init__(self, path: str = "") -> None:
        self._path = path

    def of_node(self) -> Mapping[str, object]:
        """Faults of the node. Raises SettingError."""
        faults: Mapping[str, object] = self._read().get(_NODE, {})
        return faults

    def of_gpu(self, index: int, device: str) -> Mapping[str, object]:
        """Faults of one GPU. Raises SettingError."""
        gpus = self._read().get("gpus", {})
        return {**gpus.get(_ALL, {}), **gpus.get(str(index), {}), **gpus.get(device, {})}

    def _read(self) -> _State:
        return read(self._path) if self._path else {}


def read(path: str) -> _State:
    """A checked state file; empty when there is none. Raises SettingError."""
    try:
        with open(path, encoding="utf-8") as file:
            state = json.loads(file.read(1 << 20))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: no state of fake GPUs: {error}") from error
    _check(path, state)
    checked: _State = state
    return checked


def inject(path: str, gpu: str, faults: Mapping[str, object], *, now: float = 0.0) -> None:
    """Add faults of a GPU (index, PCI address, ``*``) or of the ``node``. ``now`` is when rates
    begin, in Unix seconds. Raises SettingError, and then changes nothing."""
    state = read(path)
    mine: dict[str, object] = state.setdefault(_NODE, {}) if gpu == _NODE else _gpu(state, gpu)
    mine.update(faults)
    rates = {name: now for name in faults if name.endswith("_per_s")}
    if rates:
        mine[_SINCE] = {**_since(mine), **rates}
    _check(path, state)
    _write(path, state)


def clear(path: str, gpu: str = "", faults: Sequence[str] = ()) -> None:
    """Take faults away: those named, else all of the GPU, else everything. Raises SettingError."""
    state = read(path)
    if not gpu:
        state = {}
    elif gpu == _NODE:
        state[_NODE] = _without(state.get(_NODE, {}), faults)
    else:
        state.setdefault("gpus", {})[gpu] = _without(_gpu(state, gpu), faults)
    _write(path, state)


def rate_began(faults: Mapping[str, object], name: str) -> float:
    """When a rate was injected, in Unix seconds."""
    began = _since(faults).get(name, 0.0)
    return float(began) if isinstance(began, int | float) else 0.0


def _since(faults: Mapping[str, object]) -> Mapping[str, object]:
    since = faults.get(_SINCE, {})
    return since if isinstance(since, dict) else {}


def _gpu(state: _State, gpu: str) -> dict[str, object]:
    faults: dict[str, object] = state.setdefault("gpus", {}).setdefault(gpu, {})
    return faults


def _without(faults: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    return {name: value for name, value in faults.items() if names and name not in names}


def _check(path: str, state: object) -> None:
    if not isinstance(state, dict) or set(state) - {_NODE, "gpus"}:
        raise SettingError(f'{path}: it has to be {{"node": ..., "gpus": ...}}')
    _check_faults(path, _NODE, state.get(_NODE, {}), NODE_FAULTS)
    gpus = state.get("gpus", {})
    if not isinstance(gpus, dict):
        raise SettingError(f"{path}: gpus: it has to be faults by GPU")
    for gpu, faults in gpus.items():
        _check_faults(path, f"gpus.{gpu}", faults, FAULTS)


def _check_faults(path: str, where: str, faults: object, known: Mapping[str, Kind]) -> None:
    if not isinstance(faults, dict):
        raise SettingError(f"{path}: {printable(where, 64)}: it has to be values by fault")
    for name, value in faults.items():
        told = f"{path}: {printable(where, 64)}.{printable(str(name), 64)}"
        if name == _SINCE:
            continue
        if name not in known:
            raise SettingError(f"{told}: no such fault; there are {', '.join(sorted(known))}")
        if not known[name].fits(value):
            raise SettingError(
                f"{told} = {printable(json.dumps(value), 64)}: it has to be {known[name].words}"
            )


def _write(path: str, state: Mapping[str, object]) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    handle, name = tempfile.mkstemp(dir=folder, prefix=".fake-gpu-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def main(arguments: Sequence[str], now: float) -> int:
    """``FILE GPU FAULT=VALUE...`` injects, ``FILE GPU clear [FAULT...]`` and ``FILE clear`` take
    away. Returns 0; 2 for wrong usage, said on stderr."""
    try:
        if len(arguments) == 2 and arguments[1] == "clear":
            clear(arguments[0])
        elif len(arguments) >= 3 and arguments[2] == "clear":
            clear(arguments[0], arguments[1], arguments[3:])
        elif len(arguments) >= 3:
            inject(arguments[0], arguments[1], dict(map(_pair, arguments[2:])), now=now)
        else:
            raise SettingError(  # noqa: TRY301 - one way out for all wrong usage
                "usage: FILE GPU FAULT=VALUE... | FILE GPU clear [FAULT...] | FILE clear; "
                "GPU is an index, a PCI address, '*' or 'node'"
            )
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _pair(argument: str) -> tuple[str, object]:
    name, equals, value = argument.partition("=")
    if not equals:
        raise SettingError(f"{printable(argument, 64)}: it has to be FAULT=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    import time

    sys.exit(main(sys.argv[1:], time.time()))
