"""The kernel log that ``benchmarks.scan`` reads: made up, the same in each run.

Half of the lines have dmesg's stamps, a quarter is syslog, a quarter JSON. One line in a thousand
is a fault: an example of one of the rules, or four times as often an Xid (80 %) or an SXid (20 %).
No other line contains a literal of any rule. About 90 bytes a line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

from parsers.rules import kernel_rules

FAULT_SHARE = 0.001
_RULE_SHARE = 0.2  # of the faults
_POOL = 100_000  # different lines; a longer log repeats them

# What kernel logs are full of, some of it near to what rules look for; none has a literal of one.
_ORDINARY = (
    "usb 1-{n}: new high-speed USB device number {n} using xhci_hcd",
    "usb 1-{n}: New USB device found, idVendor=0557",
    "hub 1-{n}:1.0: 4 ports detected",
    "EXT4-fs (nvme{n}n1p2): mounted filesystem with ordered data mode.",
    "XFS (nvme{n}n1): Ending clean mount",
    "XFS (dm-{n}): Mounting V5 Filesystem",
    "nvme nvme{n}: 64/0/0 default/read/poll queues",
    " nvme{n}n1: p1 p2",
    "sd 0:0:{n}:0: [sda] Attached SCSI disk",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth{n:08x}: link becomes ready",
    "cni0: port {n}(veth{n:08x}) entered forwarding state",
    "cni0: port {n}(veth{n:08x}) entered disabled state",
    "device veth{n:08x} left promiscuous mode",
    "eth0: renamed from tmp{n:05x}",
    "docker0: port {n}(veth{n:07x}) entered blocking state",
    "IPVS: rr: TCP 10.96.{n}.1:443 - no destination available",
    "TCP: request_sock_TCP: Possible SYN flooding on port {n}. Sending cookies.",
    "nf_conntrack: automatic helper assignment is off",
    'audit: type=1400 audit(1700000000.{n}:{n}): apparmor="STATUS"',
    "audit: type=1334 audit(1700000000.{n}:{n}): prog-id={n} op=LOAD",
    "audit: type=1327 audit(1700000000.{n}:{n}): proctitle=2F7573722F7362696E2F",
    "systemd[1]: Started Daily rotation.",
    "systemd[1]: run-containerd-runc-k8s.io-{n:08x}.mount: Succeeded.",
    "systemd-journald[{n}]: Journal started",
    "systemd[1]: Mounting Huge Pages File System...",
    "mlx5_core 0000:{n:02x}:00.0 eth{n}: Link up",
    "mlx5_core 0000:{n:02x}:00.0: firmware version: 28.39.1002",
    "mlx5_core 0000:{n:02x}:00.0: E-Switch: Total vports 2",
    "mlx5_core 0000:{n:02x}:00.0: Rate limit: 127 rates are supported",
    "nvidia-nvlink: Nvlink Core is being initialized",
    "nvidia-modeset: Loading NVIDIA Kernel Mode Setting Driver 570.{n}",
    "nvidia 0000:{n:02x}:00.0: enabling device (0140 -> 0142)",
    "nvidia-uvm: Loaded the UVM driver.",
    "[drm] [nvidia-drm] [GPU ID 0x00001b00] Loading driver",
    "pci 0000:{n:02x}:00.0: BAR 0 [mem 0x42000000-0x42ffffff]: assigned",
    "pcieport 0000:{n:02x}:01.0: PME: Signaling with IRQ {n}",
    "perf: interrupt took too long (2{n} > 2500), lowering rate",
    "hrtimer: interrupt took {n}44 ns",
    "clocksource: Switched to clocksource tsc",
    "cgroup: fork of a new namespace by runc ({n}) in kubepods.slice",
    "overlayfs: upper fs does not support xattr",
    "device-mapper: uevent: version 1.0.3",
    "workqueue: drm_fb_helper_damage_work hogged CPU {n} times",
    "python3 ({n}): drop_caches: 3",
    "ice 0000:{n:02x}:00.0 ens{n}: NIC Link is up 100 Gbps Full Duplex",
    "bond0: (slave ens{n}): link status definitely up, 25000 Mbps full duplex",
    "IPMI message handler: version 39.2",
    "Lustre: lustre-OST{n:04x}-osc: Connection restored to 10.0.{n}.7@o2ib",
    "NFS: Registering the id_resolver key type",
    "random: crng init done",
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
    if chance.random() >= fault_share:
        text = chance.choice(_ORDINARY).format(n=chance.randrange(256))
    elif chance.random() < _RULE_SHARE:
        text = chance.choice(_rule_lines())
    else:
        text = _gpu_fault(chance)
    return wrapped(chance, number, text)


def faults(count: int) -> bytes:
    """So many lines, all of them an Xid or an SXid."""
    chance = random.Random(80)
    lines = (wrapped(chance, n, _gpu_fault(chance)) for n in range(count))
    return "".join(f"{each}\n" for each in lines).encode()


def ordinary() -> list[str]:
    """Each kind of ordinary line once, without a wrapper."""
    return [text.format(n=7) for text in _ORDINARY]


def write(path: Path, count: int) -> int:
    """Write the mixed log; returns its bytes."""
    chance = random.Random(79)
    pool = "".join(f"{line(chance, n, FAULT_SHARE)}\n" for n in range(min(count, _POOL))).encode()
    with path.open("wb") as file:
        for _ in range(max(1, count // _POOL)):
            file.write(pool)
    return path.stat().st_size


@cache
def _rule_lines() -> list[str]:
    """What the rules on the rest of the kernel give as examples, but for noise."""
    said = kernel_rules().without_noise().rules
    return [example.text for rule in said for example in rule.examples]


def wrapped(chance: random.Random, number: int, text: str) -> str:
    """A text as one of the shippers gives it."""
    wrappers = chance.choice((DMESG, DMESG, SYSLOG, JSON))
    return chance.choice(wrappers)(text, number / 10)


def _gpu_fault(chance: random.Random) -> str:
    n, link, bus = chance.randrange(4_000_000), chance.randrange(18), chance.randrange(8) * 16
    if chance.random() < 0.8:
        return f"NVRM: Xid (PCI:0000:{bus:02x}:00): " + chance.choice(_XIDS).format(n=n, link=link)
    said = chance.choice(_SXIDS).format(link=link)
    return f"nvidia-nvswitch{n % 6}: SXid (PCI:0000:{bus:02x}:00.0): {said}"
