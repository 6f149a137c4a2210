"""What may the core do, and how much of it? The policy as the core takes it, pools and pauses.

Part of the vocabulary (``konduktor_health.model`` has it all). ``konduktor_health.policy`` makes it
of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from konduktor_health.selector import Selector
from konduktor_health.treatment import DEFAULT_RULES, Effect, Rule
from konduktor_health.words import Corroborate, InjectionMode, Keys

DEFAULT_POOL = "default"


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes that share a budget. The first pool that takes a node has it; what none takes is in
    the pool ``default``, whose numbers are those of the settings."""

    name: str
    nodes: Selector | None = None  # None with ``label``: every node that has the label
    label: str = ""  # each value of this label is a pool of its own: NAME/VALUE
    percent: float = 10.0  # rounded up: one node may always be tainted
    max_nodes: int = 20
    rate_per_minute: int = 10
    count_unready: bool = False  # nodes that are not Ready take from the budget too,
    count_cordoned: bool = False  # and those that others have cordoned


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """A pool as it is. A node counts in one pool, and there once: tainted or unavailable."""

    managed: int = 0
    # with our key, adopted ones included; not those that a budget holds with ``held_effect``
    tainted: int = 0
    taint_times_ns: tuple[int, ...] = ()  # when we tainted, within the last minute
    unavailable: int = 0  # not tainted by us: in repair, and unready or cordoned where counted


@dataclass(frozen=True, slots=True)
class Window:
    """A declared maintenance window of the policy file, [start, end), Unix ns."""

    name: str
    start_ns: int
    end_ns: int
    nodes: Selector | None = None


@dataclass(frozen=True, slots=True)
class Pauses:
    """When a node is left alone, outside the budget (docs/concepts/safety.md 4). Seconds."""

    start_up_s: float = 300.0  # after the Node object was made
    after_boot_s: float = 0.0  # after a new boot was noticed
    driver_upgrade_label: str = "nvidia.com/gpu-driver-upgrade-state"
    # its values that mean: nobody is at work (GPU operator, upgrade controller)
    driver_idle: tuple[str, ...] = ("", "upgrade-done", "upgrade-required", "upgrade-failed")
    deletion_taints: tuple[str, ...] = (
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
    )
    foreign_cordon: bool = False  # True: a node that somebody cordoned is left alone
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the core may do, with the defaults of the settings (docs/concepts/safety.md 4 and 7)."""

    keys: Keys = field(default_factory=Keys)
    budget_percent: float = 10.0  # of the managed nodes, rounded up
    budget_max_nodes: int = 20
    budget_enabled: bool = True
    rate_per_minute: int = 10  # new taints; 0 switches the limit off
    surge_enabled: bool = True
    surge_min_nodes: int = 5
    surge_percent: float = 3.0
    surge_window_s: float = 600.0
    injection: InjectionMode = InjectionMode.ACT
    corroborate: Corroborate = Corroborate.PREFER
    # fault ids in observation, each with its reason; the settings add those that the rules doubt
    observe: Mapping[str, str] = field(default_factory=dict)
    repeat_write_interval_s: float = 300.0
    reboot_doubt_s: float = 3600.0  # lines without uptime and boot id after a reboot or reset
    rules: tuple[Rule, ...] = DEFAULT_RULES
    pools: tuple[Pool, ...] = ()  # before the pool ``default``
    pauses: Pauses = field(default_factory=Pauses)
    surge_quiet_s: float = 1800.0  # a surge is over after so long without another node
    # labels with the version of a node's driver; the first that a node has counts
    driver_labels: tuple[str, ...] = (
        "nvidia.com/cuda.driver-version.full",
        "nvidia.com/cuda.driver-version.major",
        "nvidia.com/cuda.driver.major",
    )
    held_effect: Effect | None = None  # what a fatal node gets that the budget holds
    domains: tuple[str, ...] = (  # labels whose nodes share a fabric, a rack or a switch
        "nvidia.com/gpu.clique",
        "topology.kubernetes.io/rack",
        "network.topology.nvidia.com/leaf",
    )
    autopilot_labels: bool = False  # autopilot.ibm.com/gpuhealth beside our own label
    history_s: float = 30 * 86_400.0  # what was cleared is remembered so long
    # a fault that returns has to be quiet for twice as long each time, at most this long
    hold_down_max_s: float = 86_400.0
    unobserved_after_s: float = 900.0  # no line and no heartbeat for so long
    unobserved_percent: float = 5.0  # told on the Nodes while it is at most this share of a pool

    def default_pool(self) -> Pool:
        """The pool of what no other pool takes."""
        return _default_pool(self.budget_percent, self.budget_max_nodes, self.rate_per_minute)


@lru_cache(maxsize=16)  # asked for each node that is decided
def _default_pool(percent: float, max_nodes: int, rate_per_minute: int) -> Pool:
    return Pool(DEFAULT_POOL, percent=percent, max_nodes=max_nodes, rate_per_minute=rate_per_minute)
