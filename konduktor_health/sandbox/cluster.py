"""A whole cluster on loopback: Kubernetes API, Loki, simulated GPU nodes and the controller.

Everything listens on 127.0.0.1 with free ports and lives in a temporary folder; the user's
kubeconfig and kernel log are never touched.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from konduktor_health import settings
from konduktor_health.clock import NS, Clock, SystemClock
from konduktor_health.runtime.controller import Controller
from konduktor_health.runtime.wiring import build
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.loki import LokiServer
from konduktor_health.sandbox.nodes import cpu_node, gpu_node
from konduktor_health.sandbox.probes import SimulatedAgents

NAMESPACE = "konduktor-health"
UPTIME_S = 5 * 86_400  # the simulated nodes have been up for five days
#: The preset ``default``, but for the patience of its audience: 3 seconds of quiet, not 10 minutes.
POLICY = """\
version: 1
rules:
  - name: fatal-in-the-demo
    match: {severity: [fatal], trust: [attested, kernel]}
    mode: act
    clear:
      probes: [{name: boot}, {name: light, times: 3}, {name: invasive}]
      quiet: 3s
"""
LABELS = {"k8s_namespace_name": "dmesg-logging", "k8s_daemonset_name": "dmesg"}


@dataclass(slots=True)
class Sandbox:
    """Started by ``start``, ended by ``stop``; the controller runs in threads of this process."""

    nodes: int = 8
    poll_interval_s: float = 0.5
    clock: Clock = field(default_factory=SystemClock)
    folder: Path = field(init=False)
    api: KubeApi = field(init=False)
    loki: LokiServer = field(init=False)
    agents: SimulatedAgents = field(init=False)
    running: Controller | None = field(init=False, default=None)
    _thread: threading.Thread | None = field(init=False, default=None)
    _booted_ns: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="konduktor-health-demo-"))
        self.api = KubeApi(clock=self.clock, play_actors=True)
        self.loki = LokiServer(clock=self.clock)
        self.agents = SimulatedAgents(self.names(), self.clock)
        self._booted_ns = self.clock.now_ns() - UPTIME_S * NS

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of its own."""
        return self.folder / "kubeconfig"

    @property
    def policy_file(self) -> Path:
        """The policy of its controller."""
        return self.folder / "policy.yaml"

    def names(self) -> list[str]:
        """The simulated GPU nodes."""
        return [f"gpu-node-{number}" for number in range(1, self.nodes + 1)]

    def start(self) -> None:
        """Start the servers and make the nodes; the controller is started by itself."""
        self.api.start()
        self.loki.start()
        self.api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        for name in self.names():
            self.api.store.create("nodes", gpu_node(name))
        self.api.store.create("nodes", cpu_node("cpu-node-1"))
        self.kubeconfig.write_text(self.api.kubeconfig(), encoding="utf-8")
        self.policy_file.write_text(POLICY, encoding="utf-8")
        for name in self.names():
            self.log(name, "nvidia-nvlink: Nvlink Core is being initialized")

    def settings(self) -> settings.Settings:
        """What the controller in the sandbox runs with; the environment has no say."""
        flags = {
            "loki": {"url": self.loki.url},
            "sources": [{"preset": "konduktor-otel"}],
            "reading": {"poll_interval_s": self.poll_interval_s},
            "cluster": {"kubeconfig": self.kubeconfig, "namespace": NAMESPACE},
            "policy_file": self.policy_file,
            "policy": {"start_up_grace_s": 0},  # the simulated Nodes have just been made
            "http": {"host": "127.0.0.1", "port": 0},
        }
        return settings.load(flags=flags, environ={})

    def start_controller(self) -> Controller:
        """Run the controller in a thread."""
        running = build(self.settings(), clock=self.clock, probes=self.agents)
        self.running = running
        self._thread = threading.Thread(target=running.run, name="controller", daemon=True)
        self._thread.start()
        return running

    def log(self, node: str, text: str, uptime_s: float | None = None) -> str:
        """A kernel line of a node, as Konduktor's OpenTelemetry stack would deliver it."""
        now_ns = self.clock.now_ns()
        uptime_us = int(uptime_s * 1e6) if uptime_s is not None else self.uptime_us(now_ns)
        line = f"[{uptime_us // 1_000_000:5d}.{uptime_us % 1_000_000:06d}] {text}"
        self.loki.push(LABELS, [(now_ns, line, {"k8s_node_name": node})])
        return line

    def uptime_us(self, now_ns: int) -> int:
        """Kernel uptime of the simulated nodes."""
        return (now_ns - self._booted_ns) // 1000

    def stop(self) -> None:
        """End everything and remove the folder."""
        if self.running is not None:
            self.running.stop.set()
            self.running.wake.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.loki.stop()
        self.api.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
