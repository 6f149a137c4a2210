"""A network of network namespaces: nodes in leaves, joined by a spine, on this machine alone.

Each namespace belongs to a process that sleeps: when that ends, the namespace and all in it are
gone, however the test ends. Nothing has a name that outlives it. Needs root.

All nodes are in one subnet; a node's interface is ``eth0``. A leaf is a bridge of its own, and so
is the spine; they stand in a namespace of their own.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

PROGRAMS = ("ip", "tc", "iptables", "ping", "iperf3", "unshare", "nsenter")
HINT = "make packages (as root)"
_CLONE_NEWNET = 0x40000000
_LONGEST_S = "300"  # whatever happens to pytest, the namespaces end

Result = TypeVar("Result")


def why_not() -> str:
    """Why namespaces cannot be made here; "" when they can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed: {HINT}"
    made = subprocess.run(("unshare", "--net", "true"), capture_output=True, timeout=10)
    return "" if made.returncode == 0 else "network namespaces cannot be made here"


class Namespace:
    """A network namespace that lives as long as its process."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", f"echo ready; exec sleep {_LONGEST_S}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid

    def command(self, *words: str) -> None:
        """Run a program in it; what fails is an error with its words."""
        done = subprocess.run(
            ("nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *words),
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"

    def call(self, work: Callable[[], Result]) -> Result:
        """Call a function whose thread is in the namespace, and with it all that it starts."""
        with ThreadPoolExecutor(1, initializer=self._enter) as pool:
            future: Future[Result] = pool.submit(work)
            return future.result()

    def end(self) -> None:
        """The namespace and its interfaces are gone when this returns."""
        self._holder.kill()
        self._holder.wait(10)
        if self._holder.stdout is not None:
            self._holder.stdout.close()

    def _enter(self) -> None:
        fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(fd, _CLONE_NEWNET) != 0:  # of this thread only
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)


class NetWorld:
    """Nodes by name, each in its leaf; what is wrong is done to it later."""

    def __init__(self, leaf_of: dict[str, str]) -> None:
        self.leaf_of = leaf_of
        self.address = {name: f"10.77.0.{number}" for number, name in enumerate(leaf_of, 1)}
        self._namespaces: list[Namespace] = []
        self._fabric = self._namespace()
        self._node = {name: self._namespace() for name in leaf_of}
        self._lay_out()

    def __enter__(self) -> NetWorld:
        return self

    def __exit__(self, *error: object) -> None:
        for each in self._namespaces:
            each.end()

    def call(self, node: str, work: Callable[[], Result]) -> Result:
        """Call a function as if on the node."""
        return self._node[node].call(work)

    def break_pair(self, one: str, other: str) -> None:
        """Nothing comes through between the two."""
        self._rule(one, "-s", self.address[other], "-j", "DROP")

    def lose(self, one: str, other: str, share: float) -> None:
        """Packets between the two are lost at random."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share}")
        self._rule(one, "-s", self.address[other], *chance, "-j", "DROP")

    def slow_pair(self, one: str, other: str) -> None:
        """From one to the other 100 Mbit/s come through: on a second cable that only they use."""
        node = self._node[one]
        self._plug(one, f"s-{one}", "slow0")
        for name in ("all", "eth0"):  # answers come in by the other cable
            rp_filter = f"/proc/sys/net/ipv4/conf/{name}/rp_filter"
            node.command("sh", "-c", f"echo 0 > {rp_filter}")
        node.command("ip", "link", "set", "slow0", "up")
        route = (f"{self.address[other]}/32", "dev", "slow0", "src", self.address[one])
        node.command("ip", "route", "add", *route)
        tbf = ("tbf", "rate", "100mbit", "burst", "32kbit", "latency", "50ms")
        node.command("tc", "qdisc", "add", "dev", "slow0", "root", *tbf)

    def lose_node(self, node: str) -> None:
        """The node's cable is out, at the switch."""
        self._fabric.command("ip", "link", "set", f"p-{node}", "down")

    def kill_leaf(self, leaf: str) -> None:
        """The switch forwards nothing any more."""
        self._fabric.command("ip", "link", "set", f"l-{leaf}", "down")

    def _namespace(self) -> Namespace:
        made = Namespace()
        self._namespaces.append(made)
        return made

    def _rule(self, node: str, *match: str) -> None:
        self._node[node].command("iptables", "-A", "INPUT", *match)

    def _lay_out(self) -> None:
        fabric = self._fabric
        for bridge in ("spine", *(f"l-{leaf}" for leaf in self._leaves())):
            fabric.command("ip", "link", "add", bridge, "type", "bridge")
            fabric.command("ip", "link", "set", bridge, "up")
        for leaf in self._leaves():
            ends = (f"u-{leaf}", f"d-{leaf}")
            fabric.command("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            for end, bridge in zip(ends, (f"l-{leaf}", "spine"), strict=True):
                fabric.command("ip", "link", "set", end, "master", bridge, "up")
        for name, node in self._node.items():
            self._plug(name, f"p-{name}", "eth0")
            node.command("ip", "addr", "add", f"{self.address[name]}/24", "dev", "eth0")
            node.command("ip", "link", "set", "lo", "up")
            node.command("ip", "link", "set", "eth0", "up")
            # Who is not there is known after 0.3 s, not 3 s: tests wait for it.
            retransmit = "/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms"
            node.command("sh", "-c", f"echo 100 > {retransmit}")

    def _plug(self, name: str, port: str, interface: str) -> None:
        """A cable from a port of the leaf to an interface of the node."""
        peer = ("peer", "name", interface, "netns", str(self._node[name].pid))
        self._fabric.command("ip", "link", "add", port, "type", "veth", *peer)
        self._fabric.command("ip", "link", "set", port, "master", f"l-{self.leaf_of[name]}", "up")

    def _leaves(self) -> Sequence[str]:
        return sorted(set(self.leaf_of.values()))
