"""A whole cluster on loopback: Kubernetes API, Loki, simulated GPU nodes and the controller.

Everything listens on loopback with free ports and lives in a temporary folder; the user's
kubeconfig and kernel log are never touched.

What measures the nodes is either simulated (``SimulatedAgents``, however many nodes there are) or
real: with ``measured`` some of the nodes have an agent's process with fake GPUs, the others have no
agent, and the controller asks as it does in a cluster. Only here are fake backends believed, and
addresses of loopback taken for those of pods.
"""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from konduktor_health import settings
from konduktor_health.adapters.probes import AgentHttp
from konduktor_health.clock import NS, Clock, SystemClock
from konduktor_health.runtime.controller import Controller
from konduktor_health.runtime.wiring import build
from konduktor_health.sandbox.agents import Cadences, LocalAgents
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.kubelets import DAEMONSET, Kubelets
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
#: The same for what is measured: three clean rounds of the check, and 2 seconds of quiet.
MEASURED_POLICY = """\
version: 1
rules:
  - name: measured-fatal
    match: {faults: ["probe/*"], severity: [fatal]}
    mode: act
    clear:
      repair: nothing
      probes: [{name: found-by, times: 3}, {name: light, times: 3}]
      quiet: 2s
  - name: measured-degraded
    match: {faults: ["probe/*"], severity: [degraded]}
    mode: act
    effect: PreferNoSchedule
    clear:
      repair: nothing
      probes: [{name: found-by, times: 3}]
      quiet: 2s
budget: {percent: 50}
"""
#: Looks of a check that looks three times before it fails are this far apart, seconds.
AGAIN_S = 0.1
LOOKS_AGAIN = (
    "gpu-temperature", "gpu-power", "gpu-clocks", "gpu-count", "pcie-link", "nvlink-state",
    "fabric-manager",
)  # fmt: skip
LABELS = {"k8s_namespace_name": "dmesg-logging", "k8s_daemonset_name": "dmesg"}


@dataclass(slots=True)
class Sandbox:
    """Started by ``start``, ended by ``stop``; the controller runs in threads of this process.

    ``measured``: nodes with a real agent, and what it runs by itself; ``agent_options``: more
    options of each; ``fake``: by node, variables of the fake backend. ``accept_fake_backend``:
    whether what these agents say is believed.
    """

    nodes: int = 8
    poll_interval_s: float = 0.5
    clock: Clock = field(default_factory=SystemClock)
    measured: Mapping[str, Cadences] = field(default_factory=dict)
    agent_options: tuple[str, ...] = ()
    fake: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    policy: str = ""  # default: POLICY, and MEASURED_POLICY with real agents
    accept_fake_backend: bool = True
    folder: Path = field(init=False)
    api: KubeApi = field(init=False)
    loki: LokiServer = field(init=False)
    agents: SimulatedAgents = field(init=False)
    local: LocalAgents | None = field(init=False, default=None)
    kubelets: Kubelets | None = field(init=False, default=None)
    running: Controller | None = field(init=False, default=None)
    _thread: threading.Thread | None = field(init=False, default=None)
    _booted_ns: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="konduktor-health-demo-"))
        self.api = KubeApi(clock=self.clock, play_actors=True)
        self.loki = LokiServer(clock=self.clock)
        self.agents = SimulatedAgents(self.names(), self.clock)
        if self.measured:
            looks = [f"--option={check}.again_s={AGAIN_S}" for check in LOOKS_AGAIN]
            options = (*looks, *self.agent_options)
            folder = self.folder / "agents"
            self.local = LocalAgents(
                self.measured, folder, self.clock, options=options, fake=self.fake
            )
            self.kubelets = Kubelets(self.api.store, self.local, self.clock, NAMESPACE)
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
        """Start the servers and make the nodes; the controller is started by itself. Agents are
        started, and not waited for (``Kubelets.await_ready``)."""
        if self.local is not None:
            self.local.start()  # the longest start of all
        self.api.start()
        self.loki.start()
        self.api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        for name in self.names():
            self.api.store.create("nodes", gpu_node(name))
        self.api.store.create("nodes", cpu_node("cpu-node-1"))
        self.kubeconfig.write_text(self.api.kubeconfig(), encoding="utf-8")
        policy = self.policy or (MEASURED_POLICY if self.measured else POLICY)
        self.policy_file.write_text(policy, encoding="utf-8")
        for name in self.names():
            self.log(name, "nvidia-nvlink: Nvlink Core is being initialized")
        if self.kubelets is not None:
            self.kubelets.start()

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
        if self.local is not None:
            flags["checkpoint_interval_s"] = 1.0  # explain tells how the agents were then
            flags["probes"] = {
                "daemonset": DAEMONSET,
                "port": self.local.port,
                "interval_s": 1.0,
                "close_interval_s": 1.0,
                "light_interval_s": max(each.light for each in self.measured.values()),
                "peers": 0,  # simulated nodes have no network between them
                "rounds": {"interval_s": 0},
            }
        return settings.load(flags=flags, environ={})

    def start_controller(self) -> Controller:
        """Run the controller in a thread."""
        if self.local is None:
            running = build(self.settings(), clock=self.clock, probes=self.agents)
        else:
            running = build(
                self.settings(),
                clock=self.clock,
                agent_http=AgentHttp(self.clock, may_ask=is_loopback),
                accept_fake_backend=self.accept_fake_backend,
            )
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
        if self.local is not None:
            self.local.terminate()  # meanwhile the others are put down
        if self.running is not None:
            self.running.stop.set()
            self.running.wake.set()
        if self._thread is not None:
            self._thread.join(5.0)
        if self.kubelets is not None:
            self.kubelets.stop()
        if self.local is not None:
            self.local.stop()
        self.loki.stop()
        self.api.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def is_loopback(text: str) -> bool:
    """Whether this is an address of this machine alone."""
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
