"""Which nodes take part in tests in pairs now? Those with an agent, but for those to be left alone.

A node takes part while its kubelet says that it is ready, and while nothing pauses it: what is in
maintenance, being removed or upgraded is no evidence of a broken network. Whether its agent answers
does not matter: another node measures the way to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from konduktor_health.clock import Clock
from konduktor_health.core.invasive_note import is_testing
from konduktor_health.core.pair_tests import Kind, Member
from konduktor_health.core.pauses import pause_of
from konduktor_health.model import NodeView, Policy
from konduktor_health.selector import Selector

MOST_INTERFACES = 12
#: NCCL chooses its interfaces itself: the pair has one way.
NCCL_WAY = ("nccl",)
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}", re.ASCII)


class HasInterfaces(Protocol):
    """An agent's pod (``adapters.probes.pods.AgentPod``)."""

    @property
    def interfaces(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Its interfaces and their addresses."""
        ...


@dataclass(frozen=True, slots=True)
class Taker:
    """A node that takes part."""

    member: Member
    uid: str
    boot_id: str

    @property
    def identity(self) -> tuple[str, str]:
        """Another one: what was measured before says nothing of it any more."""
        return (self.uid, self.boot_id)


class Takers:
    """Who takes part. ``now`` may be called from any thread."""

    def __init__(
        self,
        nodes: Callable[[], Mapping[str, NodeView]],
        agent_of: Callable[[str], HasInterfaces | None],
        policy: Policy,
        clock: Clock,
        *,
        selector: Selector | None = None,
    ) -> None:
        """``selector``: only nodes with such labels; None: all."""
        self._nodes = nodes
        self._agent_of = agent_of
        self._policy = policy
        self._clock = clock
        self._selector = selector

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on."""
        self._policy = policy

    def now(self, kind: Kind) -> dict[str, Taker]:
        """By name, those that can do this with others."""
        found = {}
        now_ns, policy = self._clock.now_ns(), self._policy
        for name, view in self._nodes().items():
            pod = self._agent_of(name)
            if kind is not Kind.PING and is_testing(view.testing):
                continue  # what loads the network or the GPUs would disturb it
            if pod is None or not view.ready or pause_of(view, policy, now_ns) is not None:
                continue
            labels = dict(view.labels)
            if self._selector is not None and not self._selector.matches(labels):
                continue
            if interfaces := _interfaces(kind, view, pod):
                domains = tuple((key, labels[key]) for key in policy.domains if labels.get(key))
                member = Member(name, interfaces, domains)
                found[name] = Taker(member, view.uid, view.boot_id)
        return found


def _interfaces(kind: Kind, view: NodeView, pod: HasInterfaces) -> tuple[str, ...]:
    if kind is Kind.NCCL:
        return NCCL_WAY if view.gpu_capacity else ()
    names = (name for name, addresses in pod.interfaces if addresses and _INTERFACE.fullmatch(name))
    return tuple(names)[:MOST_INTERFACES]
