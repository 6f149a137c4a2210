"""The kernel log that ``benchmarks.scan`` reads: made up, the same in each run.

Half of the lines have dmesg's stamps, a quarter is syslog, a quarter JSON. One line in a thousand
is a fault: 80 % Xid, 20 % SXid. About 90 bytes a line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

FAULT_SHARE = 0.001
_POOL = 100_000  # different lines; a longer log repeats them

_ORDINARY = (
    "usb 1-{n}: new high-speed USB device number {n}",
    "EXT4-fs (nvme{n}n1p2): mounted filesystem ro.",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth{n:08x}: link ready",
    "cni0: port {n}(veth{n:08x}) entered forwarding state",
    'audit: type=1400 audit(1700000000.{n}:{n}): apparmor="STATUS"',
    "mlx5_core 0000:{n:02x}:00.0 eth{n}: Link up",
    "nvidia-nvlink: Nvlink Core is being initialized",
    "NVRM: loading NVIDIA UNIX x86_64 Kernel 570.{n}.20",
    "oom-kill:constraint=CONSTRAINT_MEMCG,pid={n},uid=0",
    "nfs: server storage-{n} not responding, trying",
)
_XIDS = (
    "79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    (
        "31, pid={n}, name=python3, Ch 00000010, intr 00000000. MMU Fault: ENGINE GRAPHICS "
        "GPCCLIENT_T1_0 faulted @ 0x7f01_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ"
    ),
    (
        "13, pid={n}, name=train, Graphics SM Warp Exception on (GPC 0, TPC 1, SM 0): "
        "Out Of Range Address"
    ),
    "43, pid={n}, name=pt_main_thread, Ch 00000008",
    "63, pid={n}, Row Remapper: New row marked for remapping, reset gpu to activate.",
    "94, pid={n}, name=ray::WorkerDict, Contained: SM (0x1). RST: No, D-RST: No",
    (
        "119, pid={n}, name=nvidia-smi, Timeout waiting for RPC from GSP1! Expected function 76 "
        "(GSP_RM_CONTROL) (0x2080014b 0x5)."
    ),
    "145, RLW_REMAP Nonfatal XC0 i0 Link {link:02} (0x00000004 0x00000001 0x00000000 0x00000000)",
)
_SXIDS = (
    "12028, Non-fatal, Link {link} egress non-posted PRIV error (First)",
    "20034, Fatal, Link {link} LTSSM Fault Up",
    "22013, Non-fatal, Link {link} Minion Link DLREQ interrupt",
)
Wrapper = Callable[[str, float], str]


def _json(**fields: object) -> str:
    return json.dumps(fields, separators=(",", ":"))


DMESG: tuple[Wrapper, ...] = (
    lambda text, s: f"[{s:12.6f}] {text}",
    lambda text, s: f"[{s:12.6f}] {text}",
    lambda text, s: f"[{s:12.6f}][  T896] {text}",
    lambda text, s: f"<4>[{s:12.6f}] {text}",
)
SYSLOG: tuple[Wrapper, ...] = (
    lambda text, s: f"Jun 29 19:20:26 gpu-7 kernel: [{s:12.6f}] {text}",
    lambda text, _: f"Jun 29 19:20:26 gpu-7 kernel: {text}",
    lambda text, s: f"2026-11-22T05:00:00.123456+00:00 gpu-7 kernel: [{s:12.6f}] {text}",
    lambda text, _: f"<4>1 2026-11-22T05:00:00.123456Z gpu-7 kernel - - - {text}",
)
JSON: tuple[Wrapper, ...] = (
    lambda text, s: _json(
        log=f"[{s:12.6f}] {text}\n", stream="stdout", time="2026-11-22T05:00:00.1Z"
    ),
    lambda text, _: _json(_TRANSPORT="kernel", PRIORITY="4", MESSAGE=text, _HOSTNAME="gpu-7"),
    lambda text, s: _json(
        konduktor="kmsg", v=1, kind="record", uptime_us=int(s * 1e6), facility=0, text=text
    ),
)


def line(chance: random.Random, number: int, fault_share: float) -> str:
    """One line of the mix."""
    text = _fault(chance) if chance.random() < fault_share else _ordinary(chance)
    wrappers = chance.choice((DMESG, DMESG, SYSLOG, JSON))
    return chance.choice(wrappers)(text, number / 10)


def faults(count: int) -> bytes:
    """So many lines, all of them faults."""
    chance = random.Random(80)
    return "".join(f"{line(chance, n, 1.0)}\n" for n in range(count)).encode()


def write(path: Path, count: int) -> int:
    """Write the mixed log; returns its bytes."""
    chance = random.Random(79)
    pool = "".join(f"{line(chance, n, FAULT_SHARE)}\n" for n in range(min(count, _POOL))).encode()
    with path.open("wb") as file:
        for _ in range(max(1, count // _POOL)):
            file.write(pool)
    return path.stat().st_size


def _ordinary(chance: random.Random) -> str:
    return chance.choice(_ORDINARY).format(n=chance.randrange(256))


def _fault(chance: random.Random) -> str:
    n, link, bus = chance.randrange(4_000_000), chance.randrange(18), chance.randrange(8) * 16
    if chance.random() < 0.8:
        return f"NVRM: Xid (PCI:0000:{bus:02x}:00): " + chance.choice(_XIDS).format(n=n, link=link)
    said = chance.choice(_SXIDS).format(link=link)
    return f"nvidia-nvswitch{n % 6}: SXid (PCI:0000:{bus:02x}:00.0): {said}"
