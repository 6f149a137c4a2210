"""What does NVML say of NVLinks and the fabric?

Functions of the NVML backend (``probes.backends.nvml``). None is "not supported", errors are those
of ``probes.errors``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parsers.printable import printable
from probes.backends.nvml_errors import INVALID_ARGUMENT, NOT_SUPPORTED
from probes.backends.nvml_session import Session
from probes.backends.readings import Fabric, FabricState, NvLink, NvLinkPeer
from probes.errors import BackendError

#: Counters of links up to NVLink 4, by nvmlNvLinkErrorCounter_t.
_OLD_COUNTERS = {"replay": 0, "recovery": 1, "crc_flit": 2, "crc_data": 3}
#: Counters of NVLink 5, by field; the link is the field's scope.
_NEW_COUNTERS = {
    "malformed": "NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS",
    "buffer_overrun": "NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS",
    "link_integrity": "NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS",
    "recovery_failed": "NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS",
    "recovery": "NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS",
    "effective": "NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS",
}
_PEERS = {0: NvLinkPeer.GPU, 1: NvLinkPeer.CPU, 2: NvLinkPeer.SWITCH}
#: Health mask of the fabric: shift, mask, value that is a problem, what it is (nvml.h).
_MASK = (
    (0, 0x3, 1, "degraded bandwidth"),
    (2, 0x3, 1, "route recovery in progress"),
    (4, 0x3, 1, "route unhealthy"),
    (6, 0x3, 1, "access timeout recovery"),
)
_CONFIGURATION = {
    2: "incorrect system GUID", 3: "incorrect chassis serial number", 4: "no partition",
    5: "insufficient NVLinks", 6: "incompatible GPU firmware", 7: "invalid location",
    8: "GPU state invalid",
}  # fmt: skip


def nvlinks(session: Session, device: str) -> tuple[NvLink, ...]:
    """The links that the GPU has, in order; counters of those that are active."""
    links = []
    for index in range(session.nvml.NVML_NVLINK_MAX_LINKS):
        active = _state(session, device, index)
        if active is None:
            continue
        if not active:
            links.append(NvLink(index, active=False))
            continue
        kind = session.of(device, "nvmlDeviceGetNvLinkRemoteDeviceType", index)
        peer = _PEERS.get(kind, NvLinkPeer.UNKNOWN)
        links.append(NvLink(index, True, peer, dict(_counters(session, device, index))))
    return tuple(links)


def _state(session: Session, device: str, index: int) -> bool | None:
    """None: there is no such link."""
    try:
        state = session.of(device, "nvmlDeviceGetNvLinkState", index)
    except BackendError as error:
        if error.code == INVALID_ARGUMENT:
            return None
        raise
    return None if state is None else bool(state)


def _counters(session: Session, device: str, index: int) -> Iterator[tuple[str, int]]:
    for name, counter in _OLD_COUNTERS.items():
        count = session.of(device, "nvmlDeviceGetNvLinkErrorCounter", index, counter)
        if count is None:
            break  # NVLink 5 counts in fields
        yield name, int(count)
    else:
        return
    for name, field in _NEW_COUNTERS.items():
        value = session.field(device, (getattr(session.nvml, field), index))
        if value is not None:
            yield name, int(value)


def fabric(session: Session, device: str) -> Fabric | None:
    """The newest form of the fabric information that the driver knows."""
    for form in ("c_nvmlGpuFabricInfo_v3_t", "c_nvmlGpuFabricInfo_v2_t"):
        info = getattr(session.nvml, form)()
        if session.of(device, "nvmlDeviceGetGpuFabricInfoV", info) is not None:
            return _fabric(session, device, info)
    return None


def _fabric(session: Session, device: str, info: Any) -> Fabric | None:
    if info.state == 0:
        return None
    try:
        state = FabricState(info.state)
    except ValueError:
        raise BackendError(f"{device}: fabric state {info.state} is not known") from None
    failed = state is FabricState.COMPLETED and info.status  # it says nothing before
    if failed and info.status in NOT_SUPPORTED:
        return None
    uuid = bytes(info.clusterUuid)
    return Fabric(
        state,
        printable(session.text(info.status), 80) if failed else "",
        tuple(_problems(info.healthMask)),
        uuid.hex() if any(uuid) else "",
    )


def _problems(mask: int) -> Iterator[str]:
    for shift, width, bad, words in _MASK:
        if mask >> shift & width == bad:
            yield words
    wrong = mask >> 8 & 0xF
    if wrong > 1:
        yield _CONFIGURATION.get(wrong, f"incorrect configuration {wrong}")
