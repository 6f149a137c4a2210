"""A stand-in for ``pynvml``: constants and structures are the real ones, answers are a test's.

The values of ``H100`` are those that an H100 SXM answers with drivers of 2024 and 2025 (nvidia-smi
-q of public reports): synthetic as a set, each of the right form.
"""

# ruff: noqa: N802 - names of NVML

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml

NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED


class Fails:
    """An answer that is an error."""

    def __init__(self, code: int) -> None:
        self.code = code


H100: dict[str, Any] = {
    "nvmlSystemGetDriverVersion": "570.124.06",
    "nvmlSystemGetCudaDriverVersion": 12080,
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetSerial": "1654922006536",
    "nvmlDeviceGetMigMode": [0, 0],
    "nvmlDeviceGetVirtualizationMode": 0,
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=85520809984, used=4 * 1024**2, free=0),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=0),
    "nvmlDeviceGetComputeRunningProcesses": [],
    "nvmlDeviceGetGraphicsRunningProcesses": [],
    "nvmlDeviceGetTemperature": 34,
    "nvmlDeviceGetTemperatureThreshold": Fails(NOT_SUPPORTED),
    "nvmlDeviceGetMarginTemperature": 51,
    "nvmlDeviceGetPowerUsage": 71330,
    "nvmlDeviceGetEnforcedPowerLimit": 700000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700000,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x1,
    "nvmlDeviceGetClockInfo": 345,
    "nvmlDeviceGetMaxClockInfo": 1980,
    "nvmlDeviceGetEccMode": [1, 1],
    "nvmlDeviceGetMemoryErrorCounter": 0,
    "nvmlDeviceGetTotalEccErrors": 0,
    "nvmlDeviceGetSramEccErrorStatus": 0,
    "nvmlDeviceGetRemappedRows": (0, 0, 0, 0),
    "nvmlDeviceGetRetiredPages": Fails(NOT_SUPPORTED),
    "nvmlDeviceGetRetiredPagesPendingStatus": Fails(NOT_SUPPORTED),
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetGpuMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetPcieReplayCounter": 0,
    "nvmlDeviceGetNvLinkState": lambda handle, link: (
        1 if link < 18 else Fails(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    ),
    "nvmlDeviceGetNvLinkRemoteDeviceType": 2,
    "nvmlDeviceGetNvLinkErrorCounter": 0,
    "nvmlDeviceGetMaxMigDeviceCount": 7,
    "nvmlDeviceGetMigDeviceHandleByIndex": Fails(pynvml.NVML_ERROR_NOT_FOUND),
}
#: Field values: number of the field to value and type.
FIELDS: dict[int, tuple[float, int]] = {
    pynvml.NVML_FI_DEV_MEMORY_TEMP: (43, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT),
    pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT: (-2, pynvml.NVML_VALUE_TYPE_SIGNED_INT),
    pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: (0, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT),
}
_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class FakeNvml:
    """``answers`` by function: a value, ``Fails``, or a callable that gets the arguments."""

    def __init__(self, *buses: str, **answers: Any) -> None:
        self.buses = list(buses)
        self.answers = {**H100, **answers}
        self.fields: dict[Any, tuple[float, int] | Fails] = dict(FIELDS)
        self.fabric: dict[str, Any] = {"state": 3, "status": 0, "healthMask": 0, "uuid": bytes(16)}
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        if name in self.answers:
            return self._function(name)
        if name.startswith(("nvmlDevice", "nvmlSystem")):
            raise AttributeError(name)
        return getattr(pynvml, name)

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            answer = self.answers[name]
            if callable(answer):
                answer = answer(*arguments)
            if isinstance(answer, Fails):
                raise pynvml.NVMLError(answer.code)
            return answer

        return call

    def nvmlInit(self) -> None:
        self.begun += 1
        answer = self.answers.get("nvmlInit")
        if isinstance(answer, Fails):
            raise pynvml.NVMLError(answer.code)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.buses)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        answer = self.answers.get(f"index {index}")
        if isinstance(answer, Fails):
            raise pynvml.NVMLError(answer.code)
        return self.buses[index]

    def nvmlDeviceGetHandleByPciBusId(self, bus: bytes) -> str:
        for known in self.buses:
            if known.lower().endswith(bus.decode().lower()[4:]):
                answer = self.answers.get(f"handle {known}")
                if isinstance(answer, Fails):
                    raise pynvml.NVMLError(answer.code)
                return known
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetPciInfo(self, handle: str) -> Any:
        info = pynvml.nvmlPciInfo_t()
        info.busId = handle.encode()
        info.pciDeviceId = self.answers.get("pciDeviceId", 0x233010DE)
        return info

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{self.buses.index(handle):08x}-0000-4000-8000-000000000000"

    def nvmlDeviceGetFieldValues(self, handle: str, fields: list[Any]) -> Any:
        array = (pynvml.c_nvmlFieldValue_t * len(fields))()
        for value, field in zip(array, fields, strict=True):
            answer = self.fields.get(field, Fails(pynvml.NVML_ERROR_INVALID_ARGUMENT))
            if isinstance(answer, Fails):
                value.nvmlReturn = answer.code
                continue
            value.valueType = answer[1]
            if answer[1] in _MEMBERS:
                number = answer[0] if answer[1] == 0 else int(answer[0])
                setattr(value.value, _MEMBERS[answer[1]], number)
        return array

    def nvmlDeviceGetGpuFabricInfoV(self, handle: str, info: Any) -> int:
        if isinstance(info, self.fabric.get("unknown", ())):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
        answer = self.fabric.get("fails")
        if isinstance(answer, Fails):
            raise pynvml.NVMLError(answer.code)
        info.state, info.status = self.fabric["state"], self.fabric["status"]
        info.healthMask = self.fabric["healthMask"]
        ctypes.memmove(info.clusterUuid, self.fabric["uuid"], 16)
        return 0
