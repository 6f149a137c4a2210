"""How is NVML asked? Loaded when the first question comes, each error translated.

Invariants:
- Each call of the library is through ``ask``: no error of NVML gets out untranslated.
- What is not supported is None. A library that does not start is never "not supported".
- A GPU is found by its PCI address at each question: indexes move when one is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from probes.backends.nvml_errors import INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, translated
from probes.errors import BackendError, BackendMissing, GpuLost

T = TypeVar("T")

#: nvmlValueType_t to the member of the union.
_VALUES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class Session:
    """NVML, initialised once. ``module`` stands for ``pynvml`` (nvidia-ml-py)."""

    def __init__(self, module: Any = None) -> None:
        self._module = module
        self._begun = False

    @property
    def nvml(self) -> Any:
        """The module, loaded and initialised. Raises BackendMissing, BackendError."""
        if self._module is None:
            self._module = _binding()
        if not self._begun:
            try:
                self._module.nvmlInit()
            except self._module.NVMLError as error:
                raise translated(error.value, str(error), "NVML") from error
            self._begun = True
        return self._module

    def ask(self, what: str, function: Callable[..., T], *arguments: object) -> T | None:
        """The answer, or None when it is not supported. Raises the translated error."""
        try:
            return function(*arguments)
        except self._module.NVMLError as error:
            if error.value in NOT_SUPPORTED:
                return None
            raise translated(error.value, str(error), what) from error

    def of(self, device: str, function: str, *arguments: object) -> Any:
        """What a function of NVML says of a GPU; None when it is not supported."""
        ask = getattr(self.nvml, function)
        what = f"GPU {device}: {function.removeprefix('nvmlDeviceGet')}"
        return self.ask(what, ask, self.handle(device), *arguments)

    def handle(self, device: str) -> Any:
        """NVML's handle of a GPU. Raises GpuLost when the driver does not know it any more."""
        what = f"GPU {device}"
        find = self.nvml.nvmlDeviceGetHandleByPciBusId
        try:
            handle = self.ask(what, find, f"{device}.0".encode())
        except BackendError as error:
            if error.code == NOT_FOUND:
                raise GpuLost(
                    f"{what}: the driver does not know it any more", error.code
                ) from error
            raise
        if handle is None:
            raise BackendError(f"{what}: the driver gives no handle of it")
        return handle

    def field(self, device: str, field: int | tuple[int, int]) -> float | None:
        """One field value, or one of a link. Raises BackendError for what is no number."""
        what = f"{device} field {field}"
        values = self.of(device, "nvmlDeviceGetFieldValues", [field])
        if values is None:
            return None
        value = values[0]
        if value.nvmlReturn in NOT_SUPPORTED or value.nvmlReturn == INVALID_ARGUMENT:
            return None  # an older driver does not know the field
        if value.nvmlReturn:
            raise translated(value.nvmlReturn, self.text(value.nvmlReturn), what)
        member = _VALUES.get(value.valueType)
        if member is None:
            raise BackendError(f"{what} has the type {value.valueType}")
        number = float(getattr(value.value, member))
        if not math.isfinite(number):
            raise BackendError(f"{what} is {number}")
        return number

    def text(self, code: int) -> str:
        """NVML's words for a code."""
        return str(self.nvml.NVMLError(code))


def _binding() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise BackendMissing(f"nvidia-ml-py is not installed: {error}") from error
    return pynvml
