"""In which namespaces does a real node run, and what is laid out there?

``tests/servers/node/namespaces.sh`` makes them (network, mounts, processes): all that a node
leaves behind ends with them. In the network: loopback with the API's service address, and a
bridge with the node's own. In the file system: the folders in which containerd, kubelet and CNI
keep state at fixed places are covered by empty ones, so that the host's are not touched.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NODE_ADDRESS = "10.250.0.1"  # of the node, and of what tests run beside it; pods reach it
SERVICE_ADDRESS = "10.99.0.1"  # of the API server, first of --service-cluster-ip-range
HINT = "make e2e-node"
_BRIDGE = "node0"
# State at fixed places: shim sockets, network namespaces, log links, CNI results, plug-ins.
_COVERED = ("/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet")


class NamespaceError(Exception):
    """The namespaces are not there, or a command in them failed."""


def why_not_own() -> str:
    """Why this process is not in namespaces made for a node; "" when it is."""
    outside = os.environ.get("NODE_TESTS_OUTSIDE", "").split()
    inside = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt")]
    if len(outside) == 2 and not set(outside) & set(inside):
        return ""
    return "a real node needs a network and a mount namespace of its own"


def lay_out() -> list[Path]:
    """Addresses, bridge and covered folders; what is there already stays.

    Returns the folders that had to be made on the host to be covered: see uncover().
    Raises NamespaceError outside of own namespaces: nothing has been changed then.
    """
    if reason := why_not_own():
        raise NamespaceError(f"{reason}: {HINT}")
    _command("ip", "link", "set", "lo", "up")
    if not Path(f"/proc/sys/net/ipv4/conf/{_BRIDGE}").exists():
        _command("ip", "link", "add", _BRIDGE, "type", "bridge")
        _command("ip", "addr", "add", f"{NODE_ADDRESS}/16", "dev", _BRIDGE)
        _command("ip", "link", "set", _BRIDGE, "up")
        # No kube-proxy is needed: the API server listens on its service's address.
        _command("ip", "addr", "add", f"{SERVICE_ADDRESS}/32", "dev", "lo")
        _command("ip", "route", "add", "default", "dev", _BRIDGE)
    mounted = Path("/proc/self/mounts").read_text(encoding="utf-8")
    made = []
    for folder in _COVERED:
        if f"konduktor-node {folder} " in mounted:
            continue
        if not Path(folder).exists():
            Path(folder).mkdir()
            made.append(Path(folder))
        _command("mount", "-t", "tmpfs", "-o", "mode=755", "konduktor-node", folder)
    return made


def uncover(made: list[Path]) -> None:
    """Remove the folders that lay_out() made on the host. NamespaceError: still in use."""
    for folder in made:
        _command("umount", "-l", str(folder))
        folder.rmdir()


def _command(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise NamespaceError(f"{' '.join(words)}: {done.stderr.strip()[:500]}")
